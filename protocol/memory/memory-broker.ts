import {
  type Broker,
  type BrokerEvent,
  type BrokerSettings,
  type BrokerStats,
  type BrokerView,
  groupLanesLimit,
  statsLanesLimit,
} from '#protocol/broker.ts';
import type { Clock } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import * as check from './arguments.ts';
import { beat, beats } from './beat.ts';
import { claim } from './claim.ts';
import { isRebuilt } from './entries.ts';
import { cancel, complete, exit, progress } from './exits.ts';
import { enrol, lapsed, leave, passWake, shorten } from './incarnations.ts';
import { waitingByGroup } from './lane-index.ts';
import { list, promote, reconcileFinish, reconcileStart, stateOf } from './reconcile.ts';
import { type BrokerData, beginStep, copyData, emptyData, type Step, type StepServer } from './state.ts';
import { submit } from './submit.ts';
import { turns } from './turns.ts';

/**
 * The Broker in memory: the executable specification of the Lua, and the embedded default. A server
 * holds the data and has an identity; a broker is one connection to it. Nothing here survives the
 * process: Records rebuild it.
 */
export interface MemoryServer {
  readonly settings: BrokerSettings;
  readonly identity: string;
  /** The same data under a new identity: a restart or a failover that lost nothing. */
  restart(): void;
  /** A new, empty server. */
  loseAll(): void;
  /** A copy of the data, to come back to. */
  mark(): BrokerMark;
  /** Back to the mark under a new identity: the writes since are lost. */
  rollback(mark: BrokerMark): void;
}

/** Opaque copy of a server's data. */
export type BrokerMark = { readonly data: BrokerData; readonly birth: number };

class Server implements MemoryServer, StepServer {
  data = emptyData();
  readonly settings: BrokerSettings;
  readonly clock: Clock;
  readonly originMs: number;
  readonly #name: string;
  #starts = 1;
  /** The start at which the data was new. */
  #birth = 1;

  constructor(options: { settings: BrokerSettings; clock: Clock; name: string }) {
    this.settings = options.settings;
    this.clock = options.clock;
    this.originMs = options.clock.now() - options.clock.monotonic();
    this.#name = options.name;
  }

  get identity(): string {
    return `${this.#name}.${this.#starts}.${this.#birth}`;
  }

  restart(): void {
    this.#starts++;
  }

  loseAll(): void {
    this.data = emptyData();
    this.#starts++;
    this.#birth = this.#starts;
  }

  mark(): BrokerMark {
    return { data: copyData(this.data), birth: this.#birth };
  }

  rollback(mark: BrokerMark): void {
    this.data = copyData(mark.data);
    this.#birth = mark.birth;
    this.#starts++;
  }
}

/**
 * Starts a server. `name` must differ between two starts of a process on the same Records (take it
 * from `env.newId`): the identity tells a hub that a Broker is not the one it was opened on.
 */
export function memoryServer(options: {
  settings: BrokerSettings;
  clock: Clock;
  name: string;
}): MemoryServer {
  return new Server(options);
}

/** Opens one connection. Each method is one atomic step; after `close` every call is refused. */
export function memoryBroker(server: MemoryServer): Broker {
  if (!(server instanceof Server)) throw new EmpError('INTERNAL', { detail: 'not a server of memoryServer' });
  let isClosed = false;
  /** One method: all its arguments are found in order, then it runs as one step. */
  const call =
    <A, T>(check: (argument: A) => void, run: (step: Step, argument: A) => T) =>
    async (argument: A): Promise<T> => {
      if (isClosed)
        throw new EmpError('BROKER_UNAVAILABLE', { detail: 'this connection to the broker is closed' });
      check(argument);
      return run(beginStep(server), argument);
    };
  return {
    identity: call(nothing<void>, ({ identity, isOpen }) => ({ identity, open: isOpen })),
    submit: call(check.submit, submit),
    claim: call(check.claim, claim),
    beat: call(check.beat, beat),
    beats: call(check.beats, beats),
    progress: call(check.progress, progress),
    complete: call(check.end, complete),
    turns: call(check.turns, turns),
    exit: call(check.exit, exit),
    cancel: call(check.cancel, cancel),
    lapsed: call(check.limit, lapsed),
    enrol: call(check.ref, enrol),
    shorten: call(check.shorten, shorten),
    leave: call(check.ref, leave),
    passWake: call(check.passWake, passWake),
    promote: call(check.limit, promote),
    events: call(check.events, eventsAfter),
    trimEvents: call(check.trimEvents, trimEvents),
    reconcileStart: call(check.reconcileStart, reconcileStart),
    list: call(check.page, list),
    reconcileFinish: call(check.ticket, reconcileFinish),
    inspect: call(check.jobId, inspect),
    stats: call(nothing<void>, stats),
    async close() {
      isClosed = true;
    },
  };
}

/** Groups that stats name at most. */
const groupsLimit = 1_000;

/** This method takes no argument. */
function nothing<A>(_argument: A): void {}

function eventsAfter(step: Step, options: { after: number; limit: number }) {
  const found: BrokerEvent[] = [];
  for (const event of step.data.events.values()) {
    if (found.length === options.limit) break;
    if (event.id > options.after) found.push({ ...event });
  }
  return { identity: step.identity, events: found };
}

function trimEvents(step: Step, options: { identity: string; upTo: number }): void {
  if (options.identity !== step.identity) return;
  for (const event of step.data.events.values()) {
    if (event.id > options.upTo) break;
    step.data.events.delete(event.id);
    if (step.data.progressEvent.get(event.jobId) === event.id) step.data.progressEvent.delete(event.jobId);
  }
}

function inspect(step: Step, jobId: string): BrokerView | null {
  const entry = step.data.entries.get(jobId);
  if (entry === undefined) return null;
  const { token, fenceFloor, score, group, affinity, attempts, runs, cancelRequested, notBeforeMs } = entry;
  const holder = entry.lease && { machineId: entry.lease.machineId, incarnation: entry.lease.incarnation };
  const isWaiting = stateOf(entry) === 'waiting';
  const standing = (isWaiting && entry.index?.standing(entry)) || { aheadInGroup: 0, leaders: [] };
  return {
    jobId,
    state: stateOf(entry),
    token,
    fenceFloor,
    score,
    group,
    affinity,
    attempts,
    runs,
    holder,
    cancelRequested,
    rebuilt: isRebuilt(step, entry),
    notBeforeMs,
    ahead: entry.index?.ahead(entry) ?? 0,
    clockMs: step.data.virtualMs.get(entry.pool) ?? 0,
    ...standing,
  };
}

function stats(step: Step): BrokerStats {
  const { data } = step;
  const indexes = [data.current, ...data.quarantines.map(({ index }) => index)];
  const delayed = indexes.reduce((sum, index) => sum + index.delayed.size, 0);
  const waiting = indexes.reduce((sum, index) => sum + index.waiting, 0);
  return {
    identity: step.identity,
    open: step.isOpen,
    waiting,
    delayed,
    leased: data.entries.size - waiting - delayed,
    incarnations: data.alive.size,
    tombstones: data.tombstones.size,
    groups: waitingByGroup(indexes).slice(0, groupsLimit),
    lanes: data.current.lanes({ ofGroup: groupLanesLimit, ofAll: statsLanesLimit }),
    operations: data.operations,
  };
}
