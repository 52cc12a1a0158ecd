import type { GroupId } from '#protocol/broker.ts';
import type { Env } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';
import {
  type AnyHubFrame,
  type HubFrame,
  type HubFrameType,
  type HubRole,
  hubLinkPath,
  linkedPageLimit,
} from '#protocol/hub-link.ts';
import type { HubId, MachineRef } from '#protocol/names.ts';
import type { PeerDialer, PeerLink } from '#protocol/peer.ts';
import type { HubRow, Records } from '#protocol/records.ts';
import { hubsLimit } from '#protocol/records-hubs.ts';
import type { HubConfig } from '#runtime/hub-config.ts';
import { hubVersion } from '#runtime/hub-version.ts';
import type { BrokerIdentity } from './broker-identity.ts';
import { linkCloseCodes } from './link-limits.ts';
import { PeerDials } from './peer-dials.ts';
import { PeerDirectory } from './peer-directory.ts';
import { PeerPokes } from './peer-pokes.ts';
import { PeerSession } from './peer-session.ts';
import { PokedTask } from './poked-task.ts';
import { BrokerWatch } from './same-broker.ts';
import type { Tokens } from './tokens.ts';

/** First wait after a registration that failed, ms. */
const retryMs = 250;
/** Two links between the same hubs within this time were dialled across each other, ms. */
const crossedMs = 10_000;
/** The same group is offered to other hubs at most this often, ms: beats do the rest. */
const workEveryMs = 5_000;
const offeredLimit = 1_000;

export interface PeersOptions {
  hubId: HubId;
  env: Env;
  config: Pick<HubConfig, 'hubTtlMs' | 'sendBufferLimitBytes'>;
  records: Pick<Records, 'registerHub' | 'unregisterHub'>;
  tokens: Tokens;
  /** Null: this hub is alone by nature and dials nobody. */
  dialer: PeerDialer | null;
  /** Roles that this hub holds now. */
  roles: () => HubRole[];
  /** Machines that are linked here now. */
  machines: () => MachineRef[];
  identity: Pick<BrokerIdentity, 'birth' | 'refresh'>;
  /** A frame of an open link, `hello`, `alive` and the directory excepted. */
  frame: (frame: AnyHubFrame) => void;
  /** Another hub has given these roles back. */
  freed: (roles: HubRole[]) => void;
  malformed: () => void;
}

/** Another hub as people see it. */
export interface PeerView extends Pick<HubRow, 'hubId' | 'url' | 'version' | 'startedAtMs'> {
  linked: boolean;
  roles: HubRole[];
  /** Machines that are linked there; 0 while no link leads to that hub. */
  machines: number;
}

/**
 * The other hubs on this store: this hub registers in Records, finds them there, and holds one link to
 * each. What goes over the links only hastens what beats, timers and reads of the stores bring anyway,
 * so every frame may be lost and a hub without any link works on.
 */
export class Peers {
  readonly #options: PeersOptions;
  readonly #directory = new PeerDirectory();
  readonly #dials: PeerDials;
  readonly #brokers: BrokerWatch;
  readonly #pokes: PeerPokes;
  readonly #registering: PokedTask;
  /** Dials under way and open links, by hub. */
  readonly #sessions = new Map<HubId, PeerSession>();
  readonly #making = new Set<PeerSession>();
  readonly #offered = new Map<GroupId, number>();
  #url: string | null = null;
  #run: number | null = null;
  #firstRun: number | null = null;
  #toldSeq = 0;
  #superseded = false;
  #stopped = false;

  constructor(options: PeersOptions) {
    const { env, hubId, identity } = options;
    this.#options = options;
    const changed = () => this.#registering.poke();
    this.#brokers = new BrokerWatch({ env, identity, toldAfterMs: 2 * options.config.hubTtlMs, changed });
    this.#dials = new PeerDials({
      env,
      selfId: hubId,
      linked: (id) => this.#sessions.has(id) || [...this.#making].some((each) => each.peer.hubId === id),
      dial: (row) => this.#dial(row),
    });
    this.#pokes = new PeerPokes({
      clock: env.clock,
      send: (role, atMs) => this.#holderOfRole(role)?.send('poke', { role, atMs }),
    });
    this.#registering = new PokedTask({ name: 'peers', env, run: () => this.#register(), retryMs });
  }

  /** Says in Records where this hub is reached (null = nowhere) and begins to look for the others; `run` as in HubCore. */
  announce(url: string | null, run: number | null): void {
    this.#url = url;
    this.#firstRun = run;
    this.#registering.poke();
  }

  /** What is wrong, for readiness; null when nothing is. */
  fault(): string | null {
    const { hubId } = this.#options;
    if (this.#superseded)
      return `peers: another process runs as hub ${hubId}: give each hub an EMP_HUB_ID of its own, or none`;
    const other = this.#brokers.fault();
    return other === null ? null : `peers: ${other}`;
  }

  list(): PeerView[] {
    return this.#dials.known.map(({ hubId, url, version, startedAtMs }) => {
      const session = this.#sessions.get(hubId);
      return {
        hubId,
        url,
        version,
        startedAtMs: Math.floor(startedAtMs),
        linked: session !== undefined,
        roles: [...(session?.roles ?? [])],
        machines: this.#directory.countOf(hubId),
      };
    });
  }

  /** Whether another hub holds the link of exactly this incarnation, as far as it is known here. */
  holds(ref: MachineRef): boolean {
    return this.#directory.holder(ref) !== null;
  }

  /** True where any other hub is known to run. */
  get any(): boolean {
    return this.#sessions.size > 0 || this.#dials.known.length > 0;
  }

  /** To the hub that holds this machine; false where none does or its link takes nothing. */
  sendTo<T extends HubFrameType>(machine: MachineRef, type: T, body: HubFrame<T>): boolean {
    const hubId = this.#directory.holder(machine);
    return hubId !== null && (this.#sessions.get(hubId)?.send(type, body) ?? false);
  }

  #broadcast<T extends HubFrameType>(type: T, body: HubFrame<T>): void {
    for (const session of [...this.#sessions.values()]) session.send(type, body);
  }

  joined({ machineId, incarnation }: MachineRef): void {
    this.#broadcast('linked', { machines: [{ machineId, incarnation }] });
  }

  left({ machineId, incarnation }: MachineRef): void {
    this.#broadcast('unlinked', { machines: [{ machineId, incarnation }] });
  }

  tellRoles(): void {
    this.#broadcast('roles', { held: this.#options.roles() });
  }

  /** True where a linked hub holds the role: it will be told, coalesced. */
  poke(role: HubRole, options: { delayMs?: number; atMs?: number | null } = {}): boolean {
    if (this.#holderOfRole(role) === null) return false;
    this.#pokes.poke(role, options);
    return true;
  }

  /** Tells hubs with subscribers that events up to there can be read. */
  recorded(highestSeq: number): void {
    if (highestSeq <= this.#toldSeq) return;
    this.#toldSeq = highestSeq;
    this.#broadcast('recorded', { highestSeq });
  }

  /** Work of a group that no idle machine here fits: perhaps one of another hub does. */
  offer(group: GroupId): void {
    if (this.#sessions.size === 0) return;
    const nowMs = this.#options.env.clock.monotonic();
    if (nowMs - (this.#offered.get(group) ?? Number.NEGATIVE_INFINITY) < workEveryMs) return;
    if (this.#offered.size >= offeredLimit) this.#offered.clear();
    this.#offered.set(group, nowMs);
    this.#broadcast('work', { group });
  }

  #holderOfRole(role: HubRole): PeerSession | null {
    for (const session of this.#sessions.values()) if (session.roles.has(role)) return session;
    return null;
  }

  async #register(): Promise<number | null> {
    const { hubId, records, config, env } = this.#options;
    const { hubTtlMs: ttlMs } = config;
    const run = this.#run;
    const answer = await records.registerHub({
      hubId,
      url: this.#url,
      version: hubVersion,
      broker: this.#brokers.tell(),
      ttlMs,
      run: run ?? this.#firstRun,
    });
    if (this.#stopped) {
      // A stop came in between: its word was given before this one.
      if (answer.kind === 'registered') await records.unregisterHub({ hubId, run: answer.run });
      return null;
    }
    if (answer.kind === 'superseded') {
      if (!this.#superseded) env.log.error('hub.superseded', { hubId });
      this.#superseded = true;
      this.#closeAll(linkCloseCodes.superseded, 'a newer process runs under the id of this hub');
      this.#dials.stop();
      return ttlMs / 3;
    }
    this.#superseded = false;
    if (answer.run !== run) {
      this.#run = answer.run;
      this.#closeAll(linkCloseCodes.superseded, 'this hub goes on under another number');
    }
    this.#brokers.note(answer.hubs, hubId);
    this.#dials.update(answer.hubs, { started: answer.run !== run });
    return ttlMs / 3;
  }

  #dial({ hubId, run, url }: HubRow): void {
    const { dialer, tokens, env } = this.#options;
    if (dialer === null || this.#run === null || this.#stopped || url === null) return;
    const session = this.#session({ hubId, run }, true);
    const token = tokens.hub({ hubId: this.#options.hubId, run: this.#run }, hubId, env.clock.now());
    const handlers = {
      open: (link: PeerLink) => session.begin(link),
      message: (text: string) => session.message(text),
      closed: (info: { code: number; reason: string }) => session.closed(info),
    };
    try {
      const { abort } = dialer.dial({ url: peerUrl(url), token, handlers });
      session.dialling(abort);
    } catch (error) {
      // A URL that no socket takes.
      session.closed({ code: 1006, reason: toEmpError(error).message });
    }
  }

  /** Takes a link that another hub opened; the caller feeds frames and the close to the session. Null: it was refused and closed. */
  accept(link: PeerLink, token: string | null): PeerSession | null {
    const { tokens, hubId, env } = this.#options;
    const refuse = (code: number, reason: string) => {
      env.log.info('peer.refused', { code, detail: reason });
      link.close(code, reason.slice(0, 120));
      return null;
    };
    if (this.#run === null || this.#stopped || this.#superseded)
      return refuse(linkCloseCodes.closing, 'this hub takes no other hubs now');
    if (token === null) return refuse(linkCloseCodes.unauthorized, 'a hub sends its token as bearer');
    if (this.#sessions.size + this.#making.size >= hubsLimit)
      return refuse(linkCloseCodes.tooSlow, `a hub holds at most ${hubsLimit} others`);
    try {
      const peer = tokens.checkHub(token, hubId, env.clock.now());
      if (peer.hubId === hubId) return refuse(linkCloseCodes.superseded, `this hub itself is ${hubId}`);
      const session = this.#session(peer, false);
      session.begin(link);
      return session;
    } catch (error) {
      return refuse(linkCloseCodes.unauthorized, toEmpError(error).message);
    }
  }

  #session(peer: { hubId: HubId; run: number }, dialled: boolean): PeerSession {
    const { env, config, hubId, roles, malformed } = this.#options;
    const session: PeerSession = new PeerSession({
      env,
      peer,
      dialled,
      hello: { hubId, run: this.#run ?? 0, software: hubVersion, roles: roles() },
      aliveMs: Math.ceil(config.hubTtlMs / 3),
      sendLimitBytes: config.sendBufferLimitBytes,
      opened: (each) => this.#opened(each),
      frame: (each, frame) => this.#frame(each, frame),
      malformed,
      ended: (each, info) => this.#ended(each, info),
    });
    this.#making.add(session);
    return session;
  }

  /** Of two links between the same hubs one stays: of crossed dials that of the smaller id, else the newer. */
  #opened(session: PeerSession): void {
    const { env, hubId: self, machines } = this.#options;
    const { hubId, run } = session.peer;
    this.#making.delete(session);
    const other = this.#sessions.get(hubId);
    if (other !== undefined) {
      const crossed = env.clock.monotonic() - (other.openedMs ?? 0) < crossedMs;
      const first = (each: PeerSession) => each.dialled === self < hubId;
      const stays =
        other.peer.run > run || (other.peer.run === run && crossed && first(other) && !first(session));
      if (stays) return session.close(linkCloseCodes.superseded, 'these hubs have another link');
    }
    this.#sessions.set(hubId, session);
    other?.close(linkCloseCodes.superseded, 'these hubs have another link');
    this.#directory.forget(hubId);
    this.#dials.succeeded(hubId);
    env.log.info('peer.linked', { hub: hubId, dialled: session.dialled });
    const all = machines();
    for (let start = 0; start < all.length; start += linkedPageLimit)
      session.send('linked', { machines: all.slice(start, start + linkedPageLimit) });
    this.#pokeTaken([...session.roles]);
  }

  #frame(session: PeerSession, frame: AnyHubFrame): void {
    const { hubId } = session.peer;
    if (this.#sessions.get(hubId) !== session) return;
    switch (frame.type) {
      case 'alive':
        return;
      case 'linked':
        this.#directory.linked(hubId, frame.body.machines);
        break;
      case 'unlinked':
        return this.#directory.unlinked(hubId, frame.body.machines);
      case 'roles':
        return this.#rolesChanged(session, frame.body.held);
      case 'closing':
        this.#directory.forget(hubId);
        this.#dials.forget(hubId);
        return session.close(linkCloseCodes.closing, 'the other hub stops');
    }
    this.#options.frame(frame);
  }

  /** A hub that stops gives its roles back first: whoever learns of it tries for them at once. */
  #rolesChanged(session: PeerSession, held: HubRole[]): void {
    const freed = [...session.roles].filter((role) => !held.includes(role));
    const taken = held.filter((role) => !session.roles.has(role));
    session.roles = new Set(held);
    this.#pokeTaken(taken);
    if (freed.length > 0) this.#options.freed(freed);
  }

  /** What was said before reached nobody who held these roles, or somebody who holds them no more. */
  #pokeTaken(roles: readonly HubRole[]): void {
    this.#pokes.forget();
    for (const role of roles) this.#pokes.poke(role);
  }

  #ended(session: PeerSession, info: { code: number; reason: string }): void {
    const { hubId } = session.peer;
    this.#making.delete(session);
    const own = this.#sessions.get(hubId) === session;
    const { clock } = this.#options.env;
    if (own) {
      this.#sessions.delete(hubId);
      this.#directory.forget(hubId);
      if (clock.monotonic() - (session.openedMs ?? 0) > crossedMs) this.#dials.stable(hubId);
    }
    this.#options.env.log.info('peer.ended', { hub: hubId, code: info.code, detail: info.reason });
    if ((own || session.dialled) && !this.#sessions.has(hubId) && !this.#stopped) this.#dials.failed(hubId);
  }

  #closeAll(code: number, reason: string): void {
    for (const session of [...this.#sessions.values(), ...this.#making]) session.close(code, reason);
  }

  /** The first word of a stop: nobody dials this hub any more. What is linked stays until `close`. */
  async leave(): Promise<void> {
    this.#stopped = true;
    const registering = this.#registering.stop();
    this.#dials.stop();
    await registering;
    const run = this.#run ?? this.#firstRun;
    if (run === null) return;
    const { records, hubId, env } = this.#options;
    try {
      await records.unregisterHub({ hubId, run });
    } catch (error) {
      env.log.warn('hub.unregister.failed', { detail: toEmpError(error).message });
    }
  }

  /** The last word: says goodbye to the other hubs. */
  close(): void {
    this.#stopped = true;
    this.#pokes.stop();
    this.#broadcast('closing', {});
    this.#closeAll(linkCloseCodes.closing, 'the hub is stopping');
  }
}

/** `http://host:7700` → `ws://host:7700/v1/peer`. */
function peerUrl(url: string): string {
  const target = new URL(hubLinkPath, url);
  target.protocol = target.protocol.replace('http', 'ws');
  return target.href;
}
