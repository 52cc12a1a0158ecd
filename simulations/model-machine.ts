import { LinkClient } from '#actors/link-client.ts';
import type { Clock, Env, TimerId } from '#protocol/env.ts';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import type {
  Assignment,
  ClaimResult,
  HubNoticeType,
  LinkAnswer,
  LinkBody,
  LinkRequestType,
} from '#protocol/link.ts';
import type { PeerDialer } from '#protocol/peer.ts';
import type { MachineClass } from '#protocol/requirements.ts';

/** What a run of the model does, as asked by the payload of its job; the rest of the payload is ignored. */
export interface ModelPayload {
  durationMs: number;
  /** How the run ends instead of a completion. */
  failWith?: 'retryable' | 'permanent';
  /** Only the first so many runs fail. */
  failRuns?: number;
}

type Ending = 'complete' | LinkBody<'exit'>['cause'];

interface Run {
  assignment: Assignment;
  timer: TimerId;
  /** How the run ended; null while it works. Given to the hub until it is answered. */
  ending: Ending | null;
  sending: boolean;
}

export interface ModelMachineOptions {
  env: Env;
  dialer: PeerDialer;
  /** Hubs to dial, in turn. */
  urls: string[];
  joinToken: string;
  machineId: string;
  machineClass: MachineClass;
  /** Told of every committed, refused or abandoned run. */
  onRun?: (event: {
    kind: 'started' | 'committed' | 'refused' | 'fenced' | 'dropped' | 'exited';
    jobId: string;
    token: string;
  }) => void;
}

const requestDeadlineMs = 10_000;
const reconnectLimitMs = 2_000;
/** The machine fences itself this share of a TTL before the hub may hand its jobs on. */
const fenceMarginShare = 1 / 10;

/**
 * The protocol of a machine without its insides: it joins, beats, claims, works by the clock and
 * gives results back, and keeps every rule of docs/protocol.md §3 that binds a machine. A thousand of
 * them cost little; whatever concerns disks, models, cards or supervision needs the real machine.
 */
export class ModelMachine {
  readonly #options: ModelMachineOptions;
  readonly #clock: Clock;
  readonly #client: LinkClient;
  readonly #runs = new Map<string, Run>();
  #incarnation: number | null = null;
  #state: 'connecting' | 'joined' | 'stopped' = 'connecting';
  #urlAt = 0;
  #draining = false;
  #cordoned = false;
  #beatMs = 0;
  #leaseTtlMs = 0;
  #requestId = 0;
  #openClaim: number | null = null;
  #claiming = false;
  #wanted = false;
  #beating = false;
  #beatTimer: TimerId = null;
  #fenceTimer: TimerId = null;
  #hangUp: () => void = () => {};

  constructor(options: ModelMachineOptions) {
    this.#options = options;
    this.#clock = options.env.clock;
    const { dialer, joinToken, env } = options;
    this.#client = new LinkClient({
      clock: env.clock,
      log: env.log,
      dialer,
      joinToken,
      onDeadLetter: (letter) => env.log.warn('link.dead_letter', { ...letter }),
    });
  }

  get running(): { jobId: string; token: string }[] {
    return [...this.#runs.values()].map(({ assignment: { jobId, token } }) => ({ jobId, token }));
  }

  get state(): 'connecting' | 'joined' | 'stopped' {
    return this.#state;
  }

  start(): void {
    const urls = this.#options.urls;
    const url = urls[this.#urlAt++ % urls.length] as string;
    this.#state = 'connecting';
    // A dead router answers no dial.
    const unanswered = this.#clock.setTimeout(
      () => this.#reconnect(new EmpError('TIMEOUT', { detail: 'the hub did not answer the dial' })),
      requestDeadlineMs,
    );
    this.#hangUp = this.#client.connect({
      url,
      opened: () => {
        this.#clock.clearTimeout(unanswered);
        this.#spawn(this.#hello().catch((error: unknown) => this.#reconnect(error)));
      },
      closed: () => {
        this.#clock.clearTimeout(unanswered);
        this.#closed();
      },
      notice: ({ notice, body }) => this.#notice(notice, body),
    });
  }

  /** Stops claiming, gives back what runs, and leaves. */
  async drain(): Promise<void> {
    this.#draining = true;
    // A hub that does not answer does not keep it: it leaves all the same.
    const anyway = (error: unknown) => this.#log('drain.unanswered', error);
    await this.#beat().catch(anyway);
    for (const run of [...this.#runs.values()])
      await this.#end(run, { kind: 'release', reason: 'the machine drains' }).catch(anyway);
    await this.#ask('leave', { reason: 'drained' }).catch(anyway);
    this.#stop();
  }

  #stop(): void {
    this.#state = 'stopped';
    this.#hangUp();
    for (const run of [...this.#runs.values()]) this.#forget(run, 'dropped');
    this.#clock.clearTimeout(this.#beatTimer);
    this.#clock.clearTimeout(this.#fenceTimer);
  }

  #closed(): void {
    this.#clock.clearTimeout(this.#beatTimer);
    if (this.#state === 'stopped') return;
    this.#state = 'connecting';
    this.#clock.setTimeout(() => {
      if (this.#state === 'connecting') this.start();
    }, this.#options.env.rng.next() * reconnectLimitMs);
  }

  /** The link is open and of no use: a hub that hangs, a dead router, a hello that failed. */
  #reconnect(error: unknown): void {
    this.#log('link.useless', error);
    this.#hangUp();
    this.#closed();
  }

  async #hello(): Promise<void> {
    const { machineId, machineClass } = this.#options;
    const answer = await this.#ask('hello', {
      machineId,
      incarnation: this.#incarnation,
      machineClass,
      software: 'model',
    });
    if (answer.kind === 'superseded') return this.#stop();
    this.#incarnation = answer.incarnation;
    this.#client.machineToken = answer.machineToken;
    this.#beatMs = answer.beatMs;
    this.#leaseTtlMs = answer.leaseTtlMs;
    this.#cordoned = answer.cordoned;
    this.#state = 'joined';
    await this.#beat();
  }

  #notice(type: HubNoticeType, body: unknown): void {
    const jobId = (body as { jobId?: string }).jobId ?? '';
    const run = this.#runs.get(jobId);
    if (type === 'wake') this.#want();
    if (type === 'drop' && run) this.#forget(run, 'dropped');
    if (type === 'cancel' && run) this.#spawn(this.#end(run, { kind: 'cancel', reason: 'asked to' }));
    if (type === 'cordon') this.#cordoned = (body as { cordoned: boolean }).cordoned;
    if (type === 'superseded') this.#stop();
    if (type === 'drain') this.#spawn(this.drain());
  }

  #free(): LinkBody<'beat'>['free'] {
    return this.#options.machineClass.services.map(({ service, slots }) => {
      const busy = [...this.#runs.values()].filter((run) => run.assignment.service === service).length;
      return { service, slots: this.#draining || this.#cordoned ? 0 : Math.max(0, slots - busy) };
    });
  }

  async #beat(): Promise<void> {
    if (this.#state !== 'joined') return;
    this.#clock.clearTimeout(this.#beatTimer);
    this.#beatTimer = this.#clock.setTimeout(() => this.#spawn(this.#beat()), this.#beatMs);
    if (this.#beating) return;
    this.#beating = true;
    const sentMs = this.#clock.monotonic();
    try {
      const answer = await this.#ask('beat', {
        running: this.running,
        highestRequestId: this.#requestId,
        openRequestId: this.#openClaim,
        free: this.#free(),
        report: {
          state: this.#draining ? 'draining' : 'ready',
          reasons: [],
          diskFreeBytes: 0,
          loopDelayMs: 0,
          rssBytes: 0,
          deadLetters: 0,
          restarts: 0,
        },
      });
      this.#beaten(answer, sentMs);
    } catch (error) {
      if (toEmpError(error).code !== 'TIMEOUT') throw error;
      if (this.#state === 'joined') this.#reconnect(error);
    } finally {
      this.#beating = false;
    }
  }

  #beaten(answer: LinkAnswer<'beat'>, sentMs: number): void {
    if (answer.kind === 'superseded') return this.#stop();
    if (answer.kind === 'lapsed') {
      for (const run of [...this.#runs.values()]) this.#forget(run, 'fenced');
      return;
    }
    this.#clock.clearTimeout(this.#fenceTimer);
    const heardMs = sentMs - (answer.ageMs ?? 0);
    const fenceMs = heardMs + this.#leaseTtlMs * (1 - fenceMarginShare) - this.#clock.monotonic();
    this.#fenceTimer = this.#clock.setTimeout(() => this.#fence(), fenceMs);
    for (const jobId of answer.drop) {
      const run = this.#runs.get(jobId);
      if (run) this.#forget(run, 'dropped');
    }
    for (const jobId of answer.cancel) {
      const run = this.#runs.get(jobId);
      if (run) this.#spawn(this.#end(run, { kind: 'cancel', reason: 'asked to' }));
    }
    for (const run of this.#runs.values()) if (run.ending !== null) this.#spawn(this.#deliver(run));
    if (answer.work || this.#openClaim !== null) this.#want();
  }

  /** No beat was acknowledged in time: others may hold these jobs now. */
  #fence(): void {
    for (const run of [...this.#runs.values()]) this.#forget(run, 'fenced');
  }

  #want(): void {
    this.#wanted = true;
    if (!this.#claiming) this.#spawn(this.#claimAll());
  }

  async #claimAll(): Promise<void> {
    this.#claiming = true;
    try {
      while (this.#wanted && this.#state === 'joined') {
        this.#wanted = false;
        if (this.#openClaim === null && this.#free().every(({ slots }) => slots === 0)) return;
        if (this.#draining || this.#cordoned) return;
        this.#openClaim ??= ++this.#requestId;
        const answer = await this.#ask('claim', {
          requestId: this.#openClaim,
          free: this.#free(),
          resident: [],
        });
        this.#openClaim = null;
        this.#take(answer);
      }
    } finally {
      this.#claiming = false;
    }
  }

  #take(answer: ClaimResult): void {
    if (answer.kind === 'superseded') return this.#stop();
    if (answer.kind !== 'leased') return;
    this.#wanted = true;
    const { assignment } = answer;
    const { jobId, token } = assignment;
    // The answer to its end is still on its way here.
    const older = this.#runs.get(jobId);
    if (older) this.#forget(older, 'dropped');
    const run: Run = { assignment, timer: null, ending: null, sending: false };
    this.#runs.set(jobId, run);
    this.#options.onRun?.({ kind: 'started', jobId, token });
    const { durationMs } = assignment.payload as unknown as ModelPayload;
    run.timer = this.#clock.setTimeout(() => this.#spawn(this.#end(run, endingOf(assignment))), durationMs);
  }

  /** The first end stands: a cancel that comes while a result is on its way changes nothing. */
  async #end(run: Run, ending: Ending): Promise<void> {
    this.#clock.clearTimeout(run.timer);
    run.ending ??= ending;
    await this.#deliver(run);
  }

  /** Repeated after every beat until it is answered or the lease is lost. */
  async #deliver(run: Run): Promise<void> {
    if (run.sending || run.ending === null) return;
    run.sending = true;
    try {
      const { jobId, token } = run.assignment;
      let outcome: 'committed' | 'refused' | 'exited' = 'exited';
      if (run.ending === 'complete') {
        const answer = await this.#ask('complete', { jobId, token, outputs: [], data: null, next: null });
        outcome = answer.kind === 'committed' ? 'committed' : 'refused';
      } else await this.#ask('exit', { jobId, token, cause: run.ending });
      if (this.#runs.get(jobId) === run) this.#forget(run, outcome);
      this.#want();
    } finally {
      run.sending = false;
    }
  }

  #forget(run: Run, kind: 'committed' | 'refused' | 'fenced' | 'dropped' | 'exited'): void {
    const { jobId, token } = run.assignment;
    this.#clock.clearTimeout(run.timer);
    this.#runs.delete(jobId);
    this.#options.onRun?.({ kind, jobId, token });
  }

  #ask<T extends LinkRequestType>(type: T, body: LinkBody<T>): Promise<LinkAnswer<T>> {
    return this.#client.request(type, body, { deadlineMs: requestDeadlineMs });
  }

  /** Work that nobody waits for: what fails on the link is repeated after the next beat. */
  #spawn(work: Promise<void>): void {
    work.catch((error: unknown) => this.#log('model.failed', error));
  }

  #log(event: string, error: unknown): void {
    const failure = error instanceof EmpError ? error : toEmpError(error);
    this.#options.env.log.debug(event, { code: failure.code, detail: failure.message });
  }
}

function endingOf({ payload, run }: Assignment): Ending {
  const { failWith, failRuns = Number.POSITIVE_INFINITY } = payload as unknown as ModelPayload;
  if (failWith === undefined || run > failRuns) return 'complete';
  const retryable = failWith === 'retryable';
  const code = retryable ? 'CONNECTOR_FAILED' : 'JOB_FAILED';
  return { kind: 'fail', error: { code, message: 'as its payload asked', retryable } };
}
