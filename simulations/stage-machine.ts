import type { EmpError } from '#protocol/errors.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { JobError } from '#protocol/job.ts';
import {
  decodeFrame,
  type HubNoticeType,
  type LinkAnswer,
  type LinkBody,
  type LinkRequestType,
  linkVersion,
} from '#protocol/link.ts';
import type { PeerLink } from '#protocol/peer.ts';
import type { MachineClass } from '#protocol/requirements.ts';
import type { HubCore } from '#runtime/compose-hub.ts';
import type { LinkSession } from '#runtime/hub/gateway.ts';

export const stageClass: MachineClass = {
  pool: 'standard',
  services: [{ service: 'simulation', version: '1', slots: 4 }],
  vramMb: 0,
  ramMb: 16_000,
  diskMb: 100_000,
  cpuCores: 8,
  tags: [],
  region: null,
};

/** A refusal of the hub as a machine receives it. */
export class LinkRefusal extends Error {
  readonly code: EmpError['code'];

  constructor(error: JobError) {
    super(error.message);
    this.name = 'LinkRefusal';
    this.code = error.code;
  }
}

interface Waiting {
  resolve: (body: never) => void;
  reject: (error: LinkRefusal) => void;
}

const report = {
  state: 'ready',
  reasons: [],
  diskFreeBytes: 0,
  loopDelayMs: 0,
  rssBytes: 0,
  deadLetters: 0,
  restarts: 0,
} as const;

/** One link of a stage machine: frames go straight to the hub's session and back, as text. */
class StageLink implements PeerLink {
  readonly notices: { type: HubNoticeType; body: unknown }[] = [];
  readonly #waiting = new Map<number, Waiting>();
  #session: LinkSession | null = null;
  #nextId = 1;

  open(core: HubCore, token: string): void {
    this.#session = core.connect(this, { token, baseUrl: 'http://hub.sim' });
  }

  send(text: string): boolean {
    const decoded = decodeFrame(text);
    if (decoded.kind === 'invalid') throw new Error(`the hub sent ${decoded.detail}`);
    const { frame } = decoded;
    if ('type' in frame) this.notices.push({ type: frame.type as HubNoticeType, body: frame.body });
    if (!('re' in frame)) return true;
    const waiting = this.#waiting.get(frame.re);
    this.#waiting.delete(frame.re);
    if ('error' in frame) waiting?.reject(new LinkRefusal(frame.error));
    else waiting?.resolve(frame.body as never);
    return true;
  }

  bufferedBytes(): number {
    return 0;
  }

  close(): void {
    this.#session = null;
  }

  ask<T extends LinkRequestType>(type: T, body: LinkBody<T>): Promise<LinkAnswer<T>> {
    const session = this.#session;
    if (!session)
      return Promise.reject(
        new LinkRefusal({ code: 'LINK_CLOSED', message: 'the link is closed', retryable: true }),
      );
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      session.message(JSON.stringify({ v: linkVersion, id, type, body }));
    });
  }
}

/**
 * A machine that does nothing by itself: a scenario says every word of it, in any order, to any hub,
 * stale ones included. It keeps what it holds as a real one would.
 */
export class StageMachine {
  readonly machineId: string;
  readonly held = new Map<string, string>();
  readonly #links = new Map<HubCore, StageLink>();
  #machineToken: string | null = null;
  #requestId = 0;
  incarnation = 0;

  constructor(machineId: string) {
    this.machineId = machineId;
  }

  /** Joins a hub: the first time with a new incarnation, afterwards on with the same. */
  async join(core: HubCore): Promise<LinkAnswer<'hello'>['kind']> {
    const link = new StageLink();
    this.#links.set(core, link);
    const { hub } = core;
    const joinToken = hub.tokens.join({ id: 'stage', nowMs: hub.env.clock.now(), ttlMs: 3_600_000 }).token;
    link.open(core, this.#machineToken ?? joinToken);
    const incarnation = this.incarnation === 0 ? null : this.incarnation;
    const answer = await link.ask('hello', {
      machineId: this.machineId,
      incarnation,
      machineClass: stageClass,
      software: 'stage',
    });
    if (answer.kind === 'superseded') return answer.kind;
    this.incarnation = answer.incarnation;
    this.#machineToken = answer.machineToken;
    return answer.kind;
  }

  /** What the hub said unasked on its link with this machine, by type. */
  notices(core: HubCore): HubNoticeType[] {
    return this.#link(core).notices.map((notice) => notice.type);
  }

  /** Claims; a new request unless `requestId` repeats an old one. `heard: false`: the answer never arrived here. */
  async claim(
    core: HubCore,
    options: { requestId?: number; heard?: boolean } = {},
  ): Promise<LinkAnswer<'claim'>> {
    const requestId = options.requestId ?? ++this.#requestId;
    this.#requestId = Math.max(this.#requestId, requestId);
    const answer = await this.#link(core).ask('claim', {
      requestId,
      free: [{ service: 'simulation', slots: 4 - this.held.size }],
      resident: [],
    });
    if (answer.kind === 'leased' && options.heard !== false)
      this.held.set(answer.assignment.jobId, answer.assignment.token);
    return answer;
  }

  /** Beats with what it holds, or with what `stale` says that an older beat carried. */
  async beat(core: HubCore, stale: Partial<LinkBody<'beat'>> = {}): Promise<LinkAnswer<'beat'>> {
    const answer = await this.#link(core).ask('beat', {
      running: [...this.held].map(([jobId, token]) => ({ jobId, token })),
      highestRequestId: this.#requestId,
      openRequestId: null,
      free: [{ service: 'simulation', slots: 4 - this.held.size }],
      report: { ...report, reasons: [...report.reasons] },
      ...stale,
    });
    if (answer.kind === 'ok') for (const jobId of answer.drop) this.held.delete(jobId);
    return answer;
  }

  /** Completes with the token it holds, or with `token`; `next` also claims. */
  async complete(core: HubCore, jobId: string, token?: string): Promise<LinkAnswer<'complete'>['kind']> {
    const own = token ?? this.held.get(jobId);
    if (own === undefined) throw new Error(`${this.machineId} does not hold ${jobId}`);
    const answer = await this.#link(core).ask('complete', {
      jobId,
      token: own,
      outputs: [],
      data: null,
      next: null,
    });
    this.held.delete(jobId);
    return answer.kind;
  }

  async exit(
    core: HubCore,
    jobId: string,
    cause: LinkBody<'exit'>['cause'],
  ): Promise<LinkAnswer<'exit'>['kind']> {
    const token = this.held.get(jobId);
    if (token === undefined) throw new Error(`${this.machineId} does not hold ${jobId}`);
    this.held.delete(jobId);
    return (await this.#link(core).ask('exit', { jobId, token, cause })).kind;
  }

  async release(core: HubCore, jobId: string): Promise<LinkAnswer<'exit'>['kind']> {
    return await this.exit(core, jobId, { kind: 'release', reason: 'given back' });
  }

  #link(core: HubCore): StageLink {
    const link = this.#links.get(core);
    if (!link) throw toEmpError(new Error(`${this.machineId} has not joined ${core.hub.hubId}`));
    return link;
  }
}
