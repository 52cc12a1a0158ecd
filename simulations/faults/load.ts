import { type Clock, type Rng, sleep } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { JobSubmissionInput } from '#protocol/job.ts';
import type { HubClient } from '#runtime/client.ts';
import { HubUnreachable } from '#runtime/client-http.ts';
import { pick } from '#simulations/seeded-rng.ts';
import type { Cluster } from './cluster.ts';
import type { OpLine } from './history.ts';
import { Pace } from './pace.ts';

/** What clients do in a run, and how it is told. */
export interface LoadOptions {
  cluster: Cluster;
  jobs: number;
  /** Ids are this and a number: those of no other run on the cluster begin with it. */
  prefix: string;
  rng: Rng;
  clock: Clock;
  signal: AbortSignal;
  tell: (line: Omit<OpLine, 'kind' | 'tMs'>) => void;
}

/** Enough that the pace, and not the answers, says how fast jobs come; a hub that is silent holds its own back. */
export const loadClients = 24;
/** Tries of one submit under its id. */
const submitTries = 12;
const pauseMs = { min: 50, max: 600 };

/** Whether a call that failed was refused for certain, or nobody knows. */
function fateOf(error: unknown): 'fail' | 'info' {
  if (error instanceof HubUnreachable) return error.reason === 'ECONNREFUSED' ? 'fail' : 'info';
  if (!(error instanceof EmpError)) return 'info';
  const status = error.fields['status'];
  return typeof status === 'number' && status >= 400 && status < 500 ? 'fail' : 'info';
}

/** Submits jobs over HTTP under ids of its own, with some cancels, requeues and looks between them. */
export class Load {
  /** When jobs may go; none does before it is set. */
  readonly pace: Pace;
  readonly #options: LoadOptions;
  #taken = 0;
  #submitted = 0;
  #calls = 0;
  readonly #extras = new Set<Promise<void>>();
  readonly #failures: unknown[] = [];

  constructor(options: LoadOptions) {
    this.#options = options;
    this.pace = new Pace(options.clock, options.signal);
  }

  /** Jobs whose submit has begun. */
  get submitted(): number {
    return this.#submitted;
  }

  /** Resolves when every client has done its part. */
  async run(): Promise<void> {
    const lanes = Array.from({ length: loadClients }, (_, index) => this.#lane(`client-${index + 1}`));
    await Promise.all(lanes);
    while (this.#extras.size > 0) await Promise.all(this.#extras);
    if (this.#failures.length > 0) throw new AggregateError(this.#failures, 'calls beside the load failed');
  }

  async #lane(client: string): Promise<void> {
    const { jobs, rng } = this.#options;
    while (this.#taken < jobs) {
      this.#taken += 1;
      const number = this.#taken;
      await this.pace.turn(number);
      this.#submitted += 1;
      await this.#job(client, rng.fork(`job ${number}`), number);
    }
  }

  async #job(client: string, rng: Rng, number: number): Promise<void> {
    const jobId = `${this.#options.prefix}${number}`;
    const job = jobOf(jobId, rng);
    const patient = rng.next() < 0.8;
    const wanted = rng.next();
    const extra = rng.fork('extra');
    if (!(await this.#submit(client, rng, { job, jobId, patient }))) return;
    if (wanted < 0.08) this.#also(this.#cancel(client, extra, jobId));
    else if (wanted < 0.15) this.#also(this.#look(client, extra, jobId));
  }

  /** Goes on beside the lanes; a failure is told when they are through. */
  #also(work: Promise<void>): void {
    const failed = (error: unknown) => void this.#failures.push(error);
    const done = work.catch(failed).finally(() => this.#extras.delete(done));
    this.#extras.add(done);
  }

  /** Repeats under one id until it is accepted; an impatient client gives up on an unknown outcome. */
  async #submit(
    client: string,
    rng: Rng,
    { job, jobId, patient }: { job: JobSubmissionInput; jobId: string; patient: boolean },
  ): Promise<boolean> {
    const what = { op: 'submit', jobId, ...askedOf(job) } as const;
    for (let tries = 1; tries <= submitTries; tries++) {
      const end = await this.#call(client, rng, what, async (hub, signal) => {
        return (await hub.submit(job, { signal })).job.state;
      });
      if (end === 'ok') return true;
      if (end === 'info' && !patient) return false;
      await this.#pause(rng);
    }
    return false;
  }

  async #cancel(client: string, rng: Rng, jobId: string): Promise<void> {
    await this.#pause(rng);
    const end = await this.#call(client, rng, { op: 'cancel', jobId }, async (hub, signal) => {
      return (await hub.cancel(jobId, { signal })).state;
    });
    if (end !== 'ok' || rng.next() < 0.6) return;
    await this.#pause(rng);
    await this.#call(client, rng, { op: 'requeue', jobId }, async (hub, signal) => {
      return (await hub.requeue(jobId, { signal })).state;
    });
  }

  async #look(client: string, rng: Rng, jobId: string): Promise<void> {
    await this.#pause(rng);
    await this.#call(client, rng, { op: 'get', jobId }, async (hub, signal) => {
      return (await hub.get(jobId, { signal })).state;
    });
  }

  #pause(rng: Rng): Promise<void> {
    return sleep(this.#options.clock, rng.int(pauseMs.min, pauseMs.max), this.#options.signal);
  }

  /** One call to a hub drawn at random, told before it is sent and after its end. */
  async #call(
    client: string,
    rng: Rng,
    what: Pick<OpLine, 'op' | 'jobId'> & Partial<Asked>,
    send: (hub: HubClient, signal: AbortSignal) => Promise<string>,
  ): Promise<'ok' | 'fail' | 'info'> {
    const { cluster, tell, signal } = this.#options;
    this.#calls += 1;
    const { op, jobId } = what;
    const base = { client, call: this.#calls, op, jobId };
    const hub = pick(rng, cluster.hubs);
    tell({ ...what, ...base, type: 'invoke' });
    try {
      tell({ ...base, type: 'ok', state: await send(cluster.client(hub), signal) });
      return 'ok';
    } catch (error) {
      signal.throwIfAborted();
      const type = fateOf(error);
      const detail = `${hub.name}: ${error instanceof Error ? error.message : String(error)}`;
      tell({ ...base, type, detail: detail.slice(0, 500) });
      return type;
    }
  }
}

/** What the checker must know of a job to tell a right end from a wrong one. */
type Asked = Required<Pick<OpLine, 'outputs' | 'failWith' | 'maxAttempts'>>;

function askedOf({ payload, maxAttempts = 3 }: JobSubmissionInput): Asked {
  const { outputs, failWith } = (payload ?? {}) as { outputs?: number; failWith?: Asked['failWith'] };
  return { outputs: outputs ?? 0, failWith: failWith ?? 'none', maxAttempts };
}

/** Short runs of many kinds: quick and slow ones, with and without files, some that fail once or for good. */
function jobOf(id: string, rng: Rng): JobSubmissionInput {
  const kind = rng.next();
  const durationMs = rng.next() < 0.1 ? rng.int(800, 2_000) : rng.int(10, 300);
  const outputs = rng.next() < 0.4 ? rng.int(1, 2) : 0;
  const failure =
    kind < 0.03 ? { failWith: 'permanent' } : kind < 0.12 ? { failWith: 'retryable', failRuns: 1 } : {};
  return {
    id,
    service: 'simulation',
    payload: { durationMs, progressSteps: 4, outputs, outputBytes: 512, ...failure },
    // Faults may end many runs of one job by expiry; a job that dies of them is no finding, but says little.
    maxAttempts: 12,
    labels: { kind: 'chaos' },
  };
}
