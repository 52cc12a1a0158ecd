import type { BrokerEntry, BrokerEvent, BrokerSettings, ReconcileTicket } from '#protocol/broker.ts';
import type { Clock } from '#protocol/env.ts';
import type { Incarnation, JobId, MachineId, MachineRef } from '#protocol/names.ts';
import type { FencingToken } from '#protocol/token.ts';
import { IdleIndex } from './idle-index.ts';
import { LaneIndex } from './lane-index.ts';
import { SortedSet } from './sorted-set.ts';

/** A job as the Broker holds it, in exactly one place: a lane, a delayed set, or its holder's leases. */
export interface Entry extends Omit<BrokerEntry, 'lease' | 'body'> {
  /** As JSON: nobody who submitted or claimed it shares it with the Broker. */
  body: string | null;
  token: FencingToken;
  startMs: number;
  score: number;
  /** The generation whose lane or delayed set it is in; null while leased. */
  index: LaneIndex | null;
  lease: EntryLease | null;
  cancelRequested: boolean;
  /** It was here, or was put here, at a loss: Records are read before it is handed out. */
  rebuilt: boolean;
}

export interface EntryLease extends MachineRef {
  /** Claim that made it; 0 for a lease that was rebuilt or adopted. */
  requestId: number;
  /** Later beats that did not name it. */
  missedBeats: number;
  /** It was here, or was rebuilt, at a loss, and no beat has named it since: its machine must adopt it. */
  awaited: boolean;
  fraction: number;
}

/** Work that was here at a loss: claimable only when `untilMs` has passed, moved over in small steps. */
export interface Quarantine {
  index: LaneIndex;
  /** Infinite while the Broker is closed. */
  untilMs: number;
}

export interface Tombstone {
  token: FencingToken;
  fenceFloor: FencingToken;
}

/** Everything a server holds and can lose. */
export interface BrokerData {
  entries: Map<JobId, Entry>;
  /** Ids in order, all at score 0, for paging. */
  ids: SortedSet;
  current: LaneIndex;
  quarantines: Quarantine[];
  /** `machine/incarnation` by the end of its leases. */
  alive: SortedSet;
  /** Leases of an incarnation: job ids in order. */
  held: Map<string, SortedSet>;
  refs: Map<string, MachineRef>;
  newest: Map<MachineId, Incarnation>;
  idle: IdleIndex;
  /** Virtual clock per pool, and per pool the customers by finish tag, GPU-ms. */
  virtualMs: Map<string, number>;
  finishMs: Map<string, SortedSet>;
  tombstones: Map<JobId, Tombstone>;
  tombstoneEnds: SortedSet;
  /** Running work named by beats before its entry was re-driven. */
  adoptions: Map<JobId, { token: FencingToken; ref: MachineRef }>;
  events: Map<number, BrokerEvent>;
  lastEventId: number;
  progressEvent: Map<JobId, number>;
  openedOn: string | null;
  /** The identity for which the closing was done. */
  closedFor: string | null;
  ticket: ReconcileTicket | null;
  lastNowMs: number;
  operations: number;
}

export function emptyData(): BrokerData {
  return {
    entries: new Map(),
    ids: new SortedSet(),
    current: new LaneIndex(),
    quarantines: [],
    alive: new SortedSet(),
    held: new Map(),
    refs: new Map(),
    newest: new Map(),
    idle: new IdleIndex(),
    virtualMs: new Map(),
    finishMs: new Map(),
    tombstones: new Map(),
    tombstoneEnds: new SortedSet(),
    adoptions: new Map(),
    events: new Map(),
    lastEventId: 0,
    progressEvent: new Map(),
    openedOn: null,
    closedFor: null,
    ticket: null,
    lastNowMs: 0,
    operations: 0,
  };
}

/** A copy that shares nothing that a later step could change. */
export function copyData(data: BrokerData): BrokerData {
  const indexes = new Map(
    [data.current, ...data.quarantines.map((each) => each.index)].map((index) => [index, index.copy()]),
  );
  const copyOf = (index: LaneIndex) => indexes.get(index) ?? index;
  const entries = [...data.entries].map(([jobId, entry]): [string, Entry] => [
    jobId,
    { ...entry, lease: entry.lease && { ...entry.lease }, index: entry.index && copyOf(entry.index) },
  ]);
  return {
    ...data,
    entries: new Map(entries),
    ids: data.ids.copy(),
    current: copyOf(data.current),
    quarantines: data.quarantines.map(({ index, untilMs }) => ({ index: copyOf(index), untilMs })),
    alive: data.alive.copy(),
    held: new Map([...data.held].map(([key, jobs]) => [key, jobs.copy()])),
    refs: new Map(data.refs),
    newest: new Map(data.newest),
    idle: data.idle.copy(),
    virtualMs: new Map(data.virtualMs),
    finishMs: new Map([...data.finishMs].map(([pool, customers]) => [pool, customers.copy()])),
    tombstones: new Map(data.tombstones),
    tombstoneEnds: data.tombstoneEnds.copy(),
    adoptions: new Map(data.adoptions),
    events: new Map(data.events),
    progressEvent: new Map(data.progressEvent),
  };
}

/** One atomic step sees the data, the settings, and one time. */
export interface Step {
  data: BrokerData;
  settings: BrokerSettings;
  nowMs: number;
  identity: string;
  isOpen: boolean;
}

export interface StepServer {
  data: BrokerData;
  readonly settings: BrokerSettings;
  readonly identity: string;
  readonly clock: Clock;
  /** Wall time minus monotonic time at the server's start: steps of the wall clock do not reach leases. */
  readonly originMs: number;
}

/**
 * Begins a step: reads the time, which never falls, and compares the server with the one that was
 * opened. The comparison is made on every call because a proxy may hide a reconnection.
 */
export function beginStep(server: StepServer): Step {
  const { data, identity } = server;
  data.lastNowMs = Math.max(data.lastNowMs, Math.floor(server.originMs + server.clock.monotonic()));
  const isOpen = data.openedOn === identity;
  if (!isOpen && data.closedFor !== identity) closeFor(data, identity);
  return { data, settings: server.settings, nowMs: data.lastNowMs, identity, isOpen };
}

/** All that is here was here at the loss: it waits in quarantine, and leases must be adopted again. */
function closeFor(data: BrokerData, identity: string): void {
  data.closedFor = identity;
  data.ticket = null;
  // A second loss before the first one's work has moved finds nothing new to keep apart.
  if (!data.current.isEmpty || data.quarantines.length === 0) {
    data.quarantines.push({ index: data.current, untilMs: Number.POSITIVE_INFINITY });
    data.current = new LaneIndex();
  }
  for (const quarantine of data.quarantines) quarantine.untilMs = Number.POSITIVE_INFINITY;
  for (const jobs of data.held.values()) {
    for (const { member } of jobs.slice(null, jobs.size)) {
      const entry = data.entries.get(member);
      if (!entry?.lease) continue;
      entry.rebuilt = true;
      entry.lease.awaited = true;
      entry.lease.missedBeats = 0;
    }
  }
}
