import type { ServiceSpec } from '#protocol/connector.ts';
import type { Env } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';
import type { MachineRef } from '#protocol/names.ts';
import type { PeerDialer, PeerLink } from '#protocol/peer.ts';
import { BackgroundWork } from './hub/background-work.ts';
import { Backlog } from './hub/backlog.ts';
import { carriedBeats, stillIdle } from './hub/beat.ts';
import { Beats } from './hub/beats.ts';
import { BrokerIdentity } from './hub/broker-identity.ts';
import { BrokeredMarks } from './hub/brokered-marks.ts';
import { ClassDirectory } from './hub/class-directory.ts';
import { Directories } from './hub/directories.ts';
import { EventsHub } from './hub/events-hub.ts';
import { type LinkOptions, LinkSession } from './hub/gateway.ts';
import { GroupDirectory } from './hub/group-directory.ts';
import { Holds } from './hub/holds.ts';
import type { Hub, HubCounters, HubPokes, HubPorts } from './hub/hub.ts';
import { Lanes } from './hub/lanes.ts';
import { LimitDirectory } from './hub/limits.ts';
import { linkCloseCodes } from './hub/link-limits.ts';
import { LinkDirectory } from './hub/links.ts';
import { ModelDirectory } from './hub/model-directory.ts';
import { PauseDirectory } from './hub/pauses.ts';
import { takePeerFrame } from './hub/peer-frames.ts';
import type { PeerSession } from './hub/peer-session.ts';
import { Peers } from './hub/peers.ts';
import { Pulse } from './hub/pulse.ts';
import { StandingWork } from './hub/standing-work.ts';
import { Tokens } from './hub/tokens.ts';
import { withTurns } from './hub/turns.ts';
import { WaitingCounts } from './hub/waiting-counts.ts';
import { ShownCounts } from './hub/waiting-shown.ts';
import { deliverWake } from './hub/wake.ts';
import { beatMsOf, type HubConfig } from './hub-config.ts';
import { hubVersion } from './hub-version.ts';

/** A hub without sockets: verbs on `hub`, links through `connect`. Simulations run it on a virtual clock. */
export interface HubCore {
  readonly hub: Hub;
  /** Begins the standing work. Rejects where Records do not answer; a Broker that does not is waited for. */
  start(): Promise<void>;
  /** Takes a link that a machine opened. The caller feeds frames and the close to the session. */
  connect(link: PeerLink, options: LinkOptions): LinkSession;
  /**
   * Tells the other hubs of the store where this one is reached, null = nowhere, and looks for them.
   * Never called for a hub that is alone on its stores. `run`: number under which it registered before
   * (`ensureSameBroker`), if it did.
   */
  announce(url: string | null, run?: number | null): void;
  /** Takes a link that another hub opened; null where it was refused, and is closed. */
  acceptPeer(link: PeerLink, options: { token: string | null }): PeerSession | null;
  /** What keeps this hub from serving; empty = ready. */
  unready(): Promise<string[]>;
  /** Tells machines, gives roles back, waits for what is under way. The ports stay open: their maker closes them. */
  stop(): Promise<void>;
}

/** Puts one hub together from its ports. Nothing here or below touches a global or a socket. */
export async function composeHub(options: {
  config: HubConfig;
  env: Env;
  ports: HubPorts;
  services: readonly ServiceSpec[];
  /** How other hubs are reached; without it they must reach this one. */
  dialer?: PeerDialer;
  /** Calls `fn` once the I/O of this turn is done; a process that waits for I/O passes its `setImmediate`. */
  nextTurn?: (fn: () => void) => void;
}): Promise<HubCore> {
  const { config, env, ports, nextTurn = queueMicrotask } = options;
  const hubId = config.hubId ?? env.newId('hub');
  const background = new BackgroundWork(env);
  const copies = directoriesOn(ports, { env, config, background });
  const collectMs = beatMsOf(config);
  const pulse = new Pulse({ clock: env.clock, maxAgeMs: 2 * collectMs });
  const parts = {
    pulse,
    beats: new Beats({
      broker: ports.broker,
      env,
      pulse,
      collectMs,
      stillHolds: (machine, request) => stillIdle(hub, machine, request),
      carried: (collected) => carriedBeats(hub, collected),
      background: (name, work) => background.add(name, work),
    }),
    identity: new BrokerIdentity({ broker: ports.broker, env }),
    ...copies,
    marks: new BrokeredMarks({
      records: ports.records,
      nowMs: () => env.clock.now(),
      background: (writing) => background.add('brokered.mark', writing),
    }),
    backlog: new Backlog({ ...ports, env, ...copies }),
    waiting: new WaitingCounts({ ...ports, env, nextTurn }),
    waitingShown: new ShownCounts({ ...ports, env, nextTurn }),
    links: new LinkDirectory({
      joined: (machine) => hub.peers.joined(machine),
      left: (machine) => hub.peers.left(machine),
    }),
    events: new EventsHub({ records: ports.records, env }),
    tokens: new Tokens(await ports.records.secret('tokens')),
  };
  const counters = newCounters();
  const peers = new Peers({
    hubId,
    env,
    config,
    records: ports.records,
    tokens: parts.tokens,
    dialer: options.dialer ?? null,
    roles: () => work.held(),
    machines: () =>
      parts.links.all().map(({ machineId, incarnation }): MachineRef => ({ machineId, incarnation })),
    identity: parts.identity,
    frame: (frame) => takePeerFrame(hub, work, frame),
    freed: (roles) => work.freed(roles),
    malformed: () => counters.peerFramesMalformed++,
  });
  const hub: Hub = {
    hubId,
    env,
    config,
    ...ports,
    ...parts,
    broker: withTurns({
      broker: ports.broker,
      clock: env.clock,
      nextTurn,
      background: (name, work) => background.add(name, work),
    }),
    peers,
    services: new Map(options.services.map((spec) => [spec.service, spec])),
    counters,
    poke: routedPokes(peers, () => work),
    startedAtMonotonicMs: env.clock.monotonic(),
    startedAtMs: env.clock.now(),
    stopping: false,
    wake(machine, wakeGroups) {
      if (machine !== null) background.add('wake', deliverWake(hub, { machine, groups: wakeGroups }));
    },
    background: (name, work) => background.add(name, work),
  };
  const work = new StandingWork(hub);
  return core({ hub, work, background });
}

/** What a hub keeps of Records to look into, and what reads all of it again that claims and beats need. */
function directoriesOn(
  { records }: HubPorts,
  { env, config, background }: { env: Env; config: HubConfig; background: BackgroundWork },
) {
  const livingMs = 3 * config.leaseTtlMs;
  const groups = new GroupDirectory({ records, env, livingMs });
  const models = new ModelDirectory({ records, env });
  const pauses = new PauseDirectory({ records, env });
  const limits = new LimitDirectory({ records, env });
  const directories = new Directories({
    directories: [groups, models, pauses, limits],
    env,
    background: (reading) => background.add('directories', reading),
  });
  const classes = new ClassDirectory({ records, env });
  return {
    groups,
    lanes: new Lanes(config),
    holds: new Holds(),
    models,
    pauses,
    limits,
    classes,
    directories,
  };
}

/** What commits together within this time is copied and numbered together, ms. */
const recorderBatchMs = 2;

/** Work for a role goes to the linked hub that holds it, else to this one; the promoter and the admitter run everywhere. */
function routedPokes(peers: Peers, work: () => StandingWork): HubPokes {
  return {
    recorder(delayMs = recorderBatchMs) {
      if (!peers.poke('recorder', { delayMs })) work().recorder.poke(delayMs);
    },
    reconciler() {
      if (!peers.poke('reconciler')) work().reconciler.poke();
    },
    sweeper(atMs) {
      if (atMs === null) return;
      if (peers.poke('sweeper', atMs === undefined ? {} : { atMs })) return;
      if (atMs === undefined) work().sweeper.poke();
      else work().sweeper.pokeAt(atMs);
    },
    promoter: (atMs) => work().promoter.pokeAt(atMs),
    admitter: () => work().admitter.poke(),
  };
}

function core(parts: { hub: Hub; work: StandingWork; background: BackgroundWork }): HubCore {
  const { hub, work, background } = parts;
  const sessions = new Set<LinkSession>();
  return {
    hub,
    async start() {
      await hub.records.ping();
      await hub.groups.refresh();
      await hub.models.refreshIfOld();
      await hub.events.start();
      work.start();
      await note(hub, { type: 'hub.started', data: { hubId: hub.hubId, version: hubVersion } });
    },
    connect(link, options) {
      const session: LinkSession = new LinkSession(hub, link, {
        ...options,
        ended: () => sessions.delete(session),
      });
      if (hub.stopping) session.close(linkCloseCodes.closing, 'the hub is stopping');
      else if (sessions.size >= hub.config.linksLimit)
        session.close(linkCloseCodes.tooSlow, 'this hub holds as many links as it may');
      else {
        sessions.add(session);
        session.begin();
      }
      return session;
    },
    announce: (url, run = null) => hub.peers.announce(url, run),
    acceptPeer: (link, { token }) => hub.peers.accept(link, token),
    async unready() {
      const peers = hub.peers.fault();
      return [...(await storeFaults(hub)), ...work.faults(), ...(peers === null ? [] : [peers])];
    },
    async stop() {
      if (hub.stopping) return;
      hub.stopping = true;
      hub.beats.stop();
      for (const link of hub.links.all()) link.notify('closing', {});
      for (const session of sessions) session.close(linkCloseCodes.closing, 'the hub is stopping');
      hub.events.release();
      await hub.peers.leave();
      await note(hub, { type: 'hub.stopped', data: { hubId: hub.hubId } });
      await background.settle(hub.config.stopLimitMs);
      await work.stop();
      hub.peers.close();
      await background.settle(hub.config.stopLimitMs);
    },
  };
}

async function storeFaults(hub: Hub): Promise<string[]> {
  if (hub.stopping) return ['the hub is stopping'];
  const faults: string[] = [];
  try {
    await hub.records.ping();
  } catch (error) {
    faults.push(`records: ${toEmpError(error, 'RECORDS_UNAVAILABLE').message}`);
  }
  try {
    const open = hub.pulse.recent()?.open === true || (await hub.broker.identity()).open;
    if (!open) faults.push('broker: closed until it is reconciled with the records');
  } catch (error) {
    faults.push(`broker: ${toEmpError(error, 'BROKER_UNAVAILABLE').message}`);
  }
  return faults;
}

/** A fact about this hub. Where it cannot be kept the hub goes on: it is for people. */
async function note(
  hub: Hub,
  event: { type: 'hub.started' | 'hub.stopped'; data: JsonObject },
): Promise<void> {
  try {
    await hub.records.appendEvent({ ...event, jobId: null, machineId: null, atMs: hub.env.clock.now() });
    hub.poke.recorder();
  } catch (error) {
    hub.env.log.warn('event.lost', { type: event.type, detail: toEmpError(error).message });
  }
}

function newCounters(): HubCounters {
  return {
    framesIn: 0,
    framesMalformed: 0,
    framesUnknown: 0,
    linksClosedByLimit: 0,
    jobsSubmitted: 0,
    claims: 0,
    completions: 0,
    completionsRefused: 0,
    wakesSent: 0,
    wakesPassedOn: 0,
    wakesToPeers: 0,
    peerFramesMalformed: 0,
    incidents: 0,
    jobsForgotten: 0,
    eventsForgotten: 0,
    subscribersDropped: 0,
  };
}
