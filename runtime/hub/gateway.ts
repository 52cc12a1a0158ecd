import { EmpError, toEmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';
import {
  decodeFrame,
  type Envelope,
  frameLimitBytes,
  type HubNotice,
  type HubNoticeType,
  LINK_REQUESTS,
  type LinkBody,
  type LinkRequestType,
  linkVersion,
  MACHINE_NOTICES,
  type MachineNoticeType,
} from '#protocol/link.ts';
import { machineKey } from '#protocol/names.ts';
import type { PeerLink } from '#protocol/peer.ts';
import { beatMsOf } from '#runtime/hub-config.ts';
import { beat } from './beat.ts';
import { claimJob } from './claim.ts';
import { completeJob } from './complete.ts';
import { exitForMachine } from './exit.ts';
import type { Hub } from './hub.ts';
import { joinMachine } from './join.ts';
import { leaveHub } from './leave.ts';
import { linkEnded } from './link-ended.ts';
import { linkCloseCodes, RateLimit, SilenceLimit } from './link-limits.ts';
import { heardAtMs, type MachineLink } from './links.ts';
import { reportLost } from './lost.ts';
import { takeNotice } from './notices.ts';
import { fieldErrors, summary } from './problem.ts';
import { signFor } from './sign.ts';
import type { Bearer } from './tokens.ts';

/** A machine beats several times a lease: after this many leases without a frame nobody is there. */
const silentLeases = 2;
/** Requests beyond the limit of a link that only beats may take. */
const beatPlaces = 8;

export interface LinkOptions {
  /** The bearer token of the upgrade, null if it had none. */
  token: string | null;
  /** How the machine reached this hub, e.g. `http://127.0.0.1:7700`. */
  baseUrl: string;
  /** Called once when the link is gone, by whichever side. */
  ended?: () => void;
}

/**
 * One link of a machine: frames in, answers out. It checks everything, knows who speaks, keeps the
 * limits, and leaves the deciding to the verbs. Requests run side by side; each gets one answer.
 */
export class LinkSession {
  readonly #hub: Hub;
  readonly #link: PeerLink;
  readonly #baseUrl: string;
  readonly #ended: () => void;
  readonly #frames: RateLimit;
  readonly #malformed: RateLimit;
  readonly #incidents: RateLimit;
  readonly #silence: SilenceLimit;
  readonly #token: string | null;
  #bearer: Bearer | null = null;
  #machine: MachineLink | null = null;
  #joining = false;
  #requests = 0;
  #superseded = false;
  readonly #talking = new Set<Promise<unknown>>();
  #left = false;
  #over = false;

  constructor(hub: Hub, link: PeerLink, options: LinkOptions) {
    const { clock } = hub.env;
    const { linkFramesPerSecond, linkMalformedLimit, leaseTtlMs } = hub.config;
    this.#hub = hub;
    this.#link = link;
    this.#baseUrl = options.baseUrl;
    this.#ended = options.ended ?? (() => {});
    this.#frames = new RateLimit({ clock, perSecond: linkFramesPerSecond, burst: 2 * linkFramesPerSecond });
    this.#malformed = new RateLimit({ clock, perSecond: linkMalformedLimit / 60, burst: linkMalformedLimit });
    this.#incidents = new RateLimit({ clock, perSecond: 1, burst: 60 });
    const silent = () => this.#closeSilent();
    this.#silence = new SilenceLimit({ clock, limitMs: silentLeases * leaseTtlMs, silent });
    this.#token = options.token;
  }

  get machine(): MachineLink | null {
    return this.#machine;
  }

  /** True once the link is gone. */
  get over(): boolean {
    return this.#over;
  }

  /** Checks the token; closes the link if it is not good. Call once, before the first frame. */
  begin(): void {
    const token = this.#token;
    this.#silence.start();
    try {
      if (token === null)
        throw new EmpError('UNAUTHORIZED', { detail: 'Send a join token as Authorization: Bearer' });
      this.#bearer = this.#hub.tokens.check(token, this.#hub.env.clock.now());
    } catch (error) {
      this.close(linkCloseCodes.unauthorized, toEmpError(error).message);
    }
  }

  /** One frame as text. Never throws. */
  message(text: string): void {
    if (this.#over) return;
    this.#hub.counters.framesIn++;
    this.#silence.heard();
    if (!this.#frames.take()) return this.#closeByLimit('more frames per second than allowed');
    const decoded = decodeFrame(text);
    if (decoded.kind === 'invalid') return this.#countMalformed(decoded.detail);
    const { frame } = decoded;
    if ('re' in frame) return this.#countMalformed('an answer to a request that the hub never made');
    if ('id' in frame) return this.#request(frame);
    this.#notice(frame.type, frame.body);
  }

  #request(frame: { id: number; type: string; body: JsonObject }): void {
    if (!Object.hasOwn(LINK_REQUESTS, frame.type)) {
      this.#hub.counters.framesUnknown++;
      const detail = `requests of type ${frame.type} are not known to version ${linkVersion}`;
      return this.#refuse(frame.id, new EmpError('FRAME_INVALID', { detail }));
    }
    const type = frame.type as LinkRequestType;
    const parsed = LINK_REQUESTS[type].body.safeParse(frame.body);
    if (!parsed.success) {
      const detail = summary(`The request ${type}`, fieldErrors(parsed.error));
      this.#refuse(frame.id, new EmpError('FRAME_INVALID', { detail }));
      return this.#countMalformed(detail);
    }
    // Leases live by beats: they have places of their own beside requests that wait for a slow store.
    const limit = this.#hub.config.linkRequestsLimit + (type === 'beat' ? beatPlaces : 0);
    if (this.#requests >= limit) {
      const detail = `${this.#requests} requests of this link wait already`;
      return this.#refuse(frame.id, new EmpError('INBOX_FULL', { detail }));
    }
    this.#requests++;
    const answering = this.#answer(type, parsed.data)
      .then((body) => this.#send({ v: linkVersion, re: frame.id, body }))
      .catch((error: unknown) => this.#answerError(frame.id, type, error))
      .finally(() => {
        this.#requests--;
        // The last answer out: one that is under way would not be sent any more.
        if (this.#left && this.#requests === 0) this.close(1_000, 'left');
      });
    this.#hub.background('link.request', answering);
  }

  async #answer(type: LinkRequestType, body: unknown): Promise<JsonObject> {
    if (type === 'hello') return await this.#hello(body as LinkBody<'hello'>);
    const machine = this.#machine;
    if (this.#superseded) return this.#supersededAnswer(type);
    if (machine === null) throw new EmpError('UNAUTHORIZED', { detail: `Say hello before ${type}` });
    switch (type) {
      case 'claim':
        return await this.#talk(claimJob(this.#hub, machine, body as LinkBody<'claim'>));
      case 'beat':
        return await this.#talk(beat(this.#hub, machine, body as LinkBody<'beat'>));
      case 'complete':
        return await this.#talk(completeJob(this.#hub, machine, body as LinkBody<'complete'>));
      case 'exit':
        return await exitForMachine(this.#hub, machine, body as LinkBody<'exit'>);
      case 'sign':
        return await signFor(this.#hub, machine, body as LinkBody<'sign'>);
      case 'leave':
        return await this.#leave(machine, body as LinkBody<'leave'>);
    }
  }

  /** What may make the Broker know this incarnation: a farewell waits for it. */
  async #talk<T>(work: Promise<T>): Promise<T> {
    this.#talking.add(work);
    return await work.finally(() => this.#talking.delete(work));
  }

  /** An older incarnation is told what it is; nothing that it says is done. */
  #supersededAnswer(type: LinkRequestType): JsonObject {
    if (type === 'claim' || type === 'beat') return { kind: 'superseded' };
    throw new EmpError('LEASE_LOST', {
      detail: 'A newer incarnation speaks for this machine',
      retryable: false,
    });
  }

  async #hello(hello: LinkBody<'hello'>): Promise<JsonObject> {
    const hub = this.#hub;
    if (this.#bearer === null) throw new EmpError('UNAUTHORIZED');
    if (this.#machine !== null || this.#joining)
      throw new EmpError('CONFLICT', { detail: 'This link has said hello before' });
    this.#joining = true;
    try {
      const joined = await joinMachine(hub, this.#bearer, hello);
      if (joined.kind === 'superseded') {
        this.#superseded = true;
        return { kind: 'superseded' };
      }
      const { row } = joined;
      const machine = this.#makeMachine(row);
      if (!this.#over) this.#adopt(machine);
      hub.env.log.info('machine.joined', {
        machine: machineKey(row),
        pool: row.machineClass.pool,
        resumed: joined.resumed,
      });
      hub.poke.recorder();
      return {
        kind: 'welcome',
        incarnation: row.incarnation,
        machineToken: hub.tokens.machine(row, hub.env.clock.now()),
        leaseTtlMs: hub.config.leaseTtlMs,
        beatMs: beatMsOf(hub.config),
        cordoned: row.cordoned || row.draining,
        hubId: hub.hubId,
      };
    } catch (error) {
      const failure = toEmpError(error);
      if (failure.code === 'FORBIDDEN')
        hub.background('link.forbid', this.#closeAfterAnswer(linkCloseCodes.forbidden, failure.message));
      throw failure;
    } finally {
      this.#joining = false;
    }
  }

  /** After the microtasks that send the answer. */
  async #closeAfterAnswer(code: number, reason: string): Promise<void> {
    await new Promise<void>((resolve) => this.#hub.env.clock.setTimeout(resolve, 0));
    this.close(code, reason);
  }

  #makeMachine(
    row: Pick<
      MachineLink,
      'machineId' | 'incarnation' | 'classId' | 'machineClass' | 'cordoned' | 'draining'
    >,
  ): MachineLink {
    const { machineId, incarnation, classId, machineClass, cordoned, draining } = row;
    return {
      machineId,
      incarnation,
      classId,
      machineClass,
      baseUrl: this.#baseUrl,
      cordoned,
      draining,
      residency: new Map(),
      granted: new Map(),
      running: [],
      free: new Set(),
      groups: new Set(),
      idle: false,
      leasedRequest: null,
      claiming: 0,
      told: null,
      report: null,
      reportedAtMonotonicMs: Number.NEGATIVE_INFINITY,
      cordonTold: cordoned || draining,
      drainTold: false,
      leaving: false,
      silentMs: () => this.#silence.silentMs,
      notify: (type, body) => this.#notify(type, body),
      supersede: () => this.#supersede(),
      close: (code, reason) => this.close(code, reason),
    };
  }

  #adopt(machine: MachineLink): void {
    this.#machine = machine;
    const older = this.#hub.links.put(machine);
    if (older === null) return;
    if (older.incarnation < machine.incarnation) older.supersede();
    else older.close(linkCloseCodes.superseded, 'this incarnation has another link');
  }

  async #leave(machine: MachineLink, { reason }: LinkBody<'leave'>): Promise<JsonObject> {
    await leaveHub(this.#hub, machine, { reason, underWay: this.#talking });
    this.#left = true;
    return { kind: 'ok' };
  }

  #notice(type: string, body: JsonObject): void {
    if (!Object.hasOwn(MACHINE_NOTICES, type)) {
      this.#hub.counters.framesUnknown++;
      return;
    }
    const parsed = MACHINE_NOTICES[type as MachineNoticeType].safeParse(body);
    if (!parsed.success)
      return this.#countMalformed(summary(`The notice ${type}`, fieldErrors(parsed.error)));
    const machine = this.#machine;
    if (machine === null || this.#superseded) return;
    if (type === 'incident' && !this.#incidents.take()) return;
    this.#hub.background(
      `notice.${type}`,
      takeNotice(this.#hub, machine, type as MachineNoticeType, parsed.data),
    );
  }

  #notify<T extends HubNoticeType>(type: T, body: HubNotice<T>): boolean {
    return this.#send({ v: linkVersion, type, body });
  }

  #send(frame: Envelope): boolean {
    if (this.#over) return false;
    if (this.#link.bufferedBytes() > this.#hub.config.sendBufferLimitBytes) {
      this.#hub.counters.linksClosedByLimit++;
      this.close(linkCloseCodes.tooSlow, 'the machine does not read fast enough');
      return false;
    }
    const text = JSON.stringify(frame);
    if (text.length > frameLimitBytes)
      throw new EmpError('INTERNAL', { detail: `a frame of ${text.length} characters was made` });
    return this.#link.send(text);
  }

  #refuse(id: number, { code, message, retryable }: EmpError): void {
    this.#send({ v: linkVersion, re: id, error: { code, message: message.slice(0, 2_000), retryable } });
  }

  #answerError(id: number, type: LinkRequestType, error: unknown): void {
    const failure = toEmpError(error);
    const machine = this.#machine === null ? null : machineKey(this.#machine);
    if (failure.code === 'INTERNAL')
      this.#hub.env.log.error('link.request.failed', {
        type,
        machine,
        detail: failure.message,
        stack: failure.stack ?? null,
      });
    else this.#hub.env.log.info('link.request.refused', { type, machine, code: failure.code });
    this.#refuse(id, failure);
  }

  #countMalformed(detail: string): void {
    this.#hub.counters.framesMalformed++;
    const machine = this.#machine === null ? null : machineKey(this.#machine);
    this.#hub.env.log.info('frame.malformed', { machine, detail: detail.slice(0, 300) });
    if (!this.#malformed.take()) this.#closeByLimit('too many malformed frames');
  }

  #closeByLimit(reason: string): void {
    this.#hub.counters.linksClosedByLimit++;
    this.close(linkCloseCodes.limit, reason);
  }

  /** The network may keep a dead link open for hours: whoever is shown as joined can be reached. */
  #closeSilent(): void {
    const machine = this.#machine;
    const lastMs = machine === null ? null : heardAtMs(this.#hub.env.clock, machine);
    this.close(linkCloseCodes.silent, 'nothing was heard for two lease times');
    if (machine !== null) this.#hub.background('link.lost', reportLost(this.#hub, machine, lastMs));
  }

  #supersede(): void {
    if (this.#superseded) return;
    this.#superseded = true;
    this.#notify('superseded', {});
    if (this.#machine !== null) this.#hub.links.remove(this.#machine);
    this.#hub.background(
      'link.supersede',
      this.#closeAfterAnswer(linkCloseCodes.superseded, 'a newer incarnation speaks for this machine'),
    );
  }

  /** Closes from this side; `reason` reaches the machine. */
  close(code: number, reason: string): void {
    if (this.#over) return;
    this.#link.close(code, reason.slice(0, 120));
    this.closed();
  }

  /** The link is gone, by whichever side. Idempotent. */
  closed(): void {
    if (this.#over) return;
    this.#over = true;
    this.#silence.stop();
    this.#ended();
    const machine = this.#machine;
    if (machine === null || this.#left || this.#superseded || !this.#hub.links.remove(machine)) return;
    this.#hub.background('link.ended', linkEnded(this.#hub, machine));
  }
}
