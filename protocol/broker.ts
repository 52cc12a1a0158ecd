import type { JsonObject } from './json.ts';
import type { Incarnation, JobId, MachineId, MachineRef } from './names.ts';

import type { FencingToken } from './token.ts';

/** Id of a group of hard requirements, see requirements.ts. */
export type GroupId = string;

/**
 * The Broker: a rebuildable index of claimable work and leases. Records is the truth; the order in
 * which the two are written is what docs/protocol.md says, and no caller may change it. Every method
 * is one atomic step. Expected refusals are values. `protocol/memory/` is the executable
 * specification; other implementations must give equal answers to equal histories.
 */

/** Limits of one claim: figures at which the step stays under its budget. */
export const claimGroupsLimit = 32;
export const claimLanesLimit = 16;
/** Limits of one `beats`: incarnations, and runs that they name together. */
export const beatsLimit = 200;
export const beatsRunsLimit = 1_000;
/** Limit of one `turns`, completions and claims together: at some 40 µs each it holds a server up for 2 ms at most. */
export const turnsLimit = 48;
/** Limits of one `inspect`: lanes of the group that are counted, and leaders that are named. */
export const viewedLanesLimit = 200;
/** Lanes of one group, and of all, that stats name: those whose heads go first. */
export const groupLanesLimit = 32;
export const statsLanesLimit = 1_000;
export const leadersLimit = 8;
/** How long an ended id refuses late submits and re-drives of an older floor, ms. */
export const tombstoneMs = 900_000;

export interface BrokerSettings {
  /** How long an incarnation's leases live without a beat, ms. */
  leaseTtlMs: number;
  /** GPU-ms that priority 100 is ahead of priority 50, and priority 0 behind it. */
  priorityBoostMs: number;
}

export interface BrokerEntry {
  jobId: JobId;
  group: GroupId;
  /** Base model's id or `-`. */
  affinity: string;
  pool: string;
  customer: string;
  priority: number;
  /** Expected run time, ms: what the job adds to its customer's finish tag. */
  costMs: number;
  /** Counted tries used up so far, and executions so far. */
  attempts: number;
  runs: number;
  fenceFloor: FencingToken;
  /** Not claimable before this time; null = at once. */
  notBeforeMs: number | null;
  /** What the machine needs to start, at most `brokerBodyLimitBytes` as JSON; null = read Records. */
  body: JsonObject | null;
  /** Re-drive after a loss: the lease that Records know of, if any. */
  lease: { token: FencingToken; machineId: MachineId; incarnation: Incarnation } | null;
}

/**
 * What the identities of one Broker in Redis end in as long as its data is there: a restart, a failover or
 * a connection by another address keep it, a loss of everything changes it.
 */
export function brokerBirth(identity: string): string {
  return identity.slice(identity.lastIndexOf('.') + 1);
}

/** The machine that should be told of work, or null: at most one per step, an idle fit one. */
export type Wake = MachineRef | null;

export type SubmitAnswer =
  | { kind: 'added'; wake: Wake }
  | { kind: 'exists' }
  /** Ended at this floor or later: nothing was added. */
  | { kind: 'tombstoned'; fenceFloor: FencingToken };

export type SubmitBatchAnswer =
  | { kind: 'ok'; answers: SubmitAnswer[] }
  | { kind: 'closed' }
  /** The server is not the one under which the rows were read: read them again. */
  | { kind: 'identityChanged'; identity: string };

export interface ClaimRequest extends MachineRef {
  /** Rises by one per claim of an incarnation; a repeat is answered as before while that lease stands. */
  requestId: number;
  /** Groups this machine may serve now (a fit slot is free), at most 32, preferred first. */
  groups: {
    group: GroupId /** Added to the score: a job of another pool must be this much more urgent, ms. */;
    penaltyMs: number;
  }[];
  /** Lanes whose work could begin here before other work of their groups: their model is there, or is soon; at most 16. */
  warmLanes: {
    group: GroupId;
    affinity: string /** Load time saved, ms: bounds the preference. */;
    bonusMs: number;
  }[];
  /** For the idle index when there is nothing: class and pool of this machine. */
  classId: string;
}

export interface LeaseGrant {
  jobId: JobId;
  token: FencingToken;
  group: GroupId;
  affinity: string;
  /** 1-based number of this execution. */
  run: number;
  attempts: number;
  fenceFloor: FencingToken;
  body: JsonObject | null;
  /** The entry comes from a rebuild: read Records before handing it out. */
  rebuilt: boolean;
  expiresAtMs: number;
}

export type ClaimAnswer =
  | {
      kind: 'leased';
      lease: LeaseGrant /** More claimable work for the same request. */;
      more: boolean;
      wake: Wake;
    }
  | { kind: 'empty' }
  | Refusal;

/** Why a machine is not served. */
export type Refusal =
  /** Its lease ended and the sweeper has not emptied it yet: drop everything, beat again. */
  | { kind: 'lapsed' }
  /** A newer incarnation of this machine exists: stop for good. */
  | { kind: 'superseded' }
  | { kind: 'closed' };

export interface BeatRequest extends MachineRef {
  running: { jobId: JobId; token: FencingToken }[];
  /** Highest requestId sent and the one still unanswered (0 and null before the first). */
  highestRequestId: number;
  openRequestId: number | null;
  /** As in a claim; empty = no free slot. A beat with groups (re)enters the idle index. */
  groups: ClaimRequest['groups'];
  classId: string;
}

export type BeatAnswer =
  | {
      kind: 'ok';
      /** Named as running but not held here: stop them, their writes will be refused. Empty while closed. */
      drop: JobId[];
      /** Held here and to be cancelled. */
      cancel: JobId[];
      /** Held but not named by two beats: exit them as released, through Records. */
      unnamed: { jobId: JobId; token: FencingToken }[];
      /** Claimable work fits: claim. */
      work: boolean;
      /** The Broker is closed: acknowledged, nothing dropped. */
      closed: boolean;
      /** When the next lease of any incarnation ends, ms; null = none. Hubs arm a timer on it. */
      earliestExpiryMs: number | null;
    }
  | { kind: 'lapsed' }
  | { kind: 'superseded' };

/**
 * How the Broker is at the end of a step that hubs make every few seconds anyway, so that nobody need
 * ask for it.
 */
export interface BrokerPulse {
  identity: string;
  open: boolean;
  /** Jobs that wait, are delayed or leased. */
  entries: number;
  /** Id of the newest event, trimmed or not; 0 before the first. */
  lastEventId: number;
  /** As in the answer to a beat. */
  earliestExpiryMs: number | null;
}

export interface BeatsAnswer {
  /** In the order of the requests. */
  answers: BeatAnswer[];
  pulse: BrokerPulse;
}

/** What an ended or re-queued job becomes. `committed` is the row's state after the commit in Records. */
export interface EndRequest {
  jobId: JobId;
  token: FencingToken;
  fenceFloor: FencingToken;
}

/** What machines that end runs and ask for the next ones bring together. */
export interface TurnsRequest {
  completions: EndRequest[];
  claims: ClaimRequest[];
}

/** Each in the order of its requests. */
export interface TurnsAnswer {
  completions: { kind: 'removed' | 'unchanged' }[];
  claims: ClaimAnswer[];
}

export interface ExitRequest extends EndRequest {
  /** Present state of the row. */
  state: 'waiting' | 'scheduled' | 'leased' | 'held' | 'succeeded' | 'failed' | 'cancelled' | 'dead';
  attempts: number;
  runs: number;
  notBeforeMs: number | null;
  /**
   * Whether the row, as it was read for this step, asks for a cancel. Where it does not, a flag set
   * under a lower floor is of a former life that somebody has requeued since, and counts no more.
   */
  cancelRequested: boolean;
}

export type ExitAnswer =
  | { kind: 'requeued'; wake: Wake }
  | { kind: 'removed' }
  /** The entry carried the cancel flag and is gone: commit the cancel. */
  | { kind: 'cancelled' }
  /** Not leased with exactly this token, unknown, or of a higher floor: nothing changed. */
  | { kind: 'unchanged' };

export type CancelAnswer =
  /** It was waiting and is gone. */
  | { kind: 'removed' }
  /** A machine holds it: tell that machine. */
  | { kind: 'requested'; holder: MachineRef; token: FencingToken }
  /** Not known here; a tombstone was left. */
  | { kind: 'unknown' };

export interface LapsedLease extends MachineRef {
  jobId: JobId;
  token: FencingToken;
  /** Rebuilt and never adopted: release it, no attempt is counted. */
  rebuilt: boolean;
}

export type LapsedAnswer =
  | { kind: 'ok'; leases: LapsedLease[]; earliestExpiryMs: number | null }
  | { kind: 'closed' };

/** What happened in the Broker, for the recorder. `id` rises by one and survives until trimmed past the cursor. */
export interface BrokerEvent {
  id: number;
  kind: 'leased' | 'adopted' | 'promoted' | 'progress';
  jobId: JobId;
  token: FencingToken;
  machineId: MachineId | null;
  incarnation: Incarnation | null;
  run: number;
  fraction: number | null;
  /** Of a claim: what a resident model, and another pool than its own, added to or took from its rank, ms. */
  choice: { bonusMs: number; penaltyMs: number } | null;
  atMs: number;
}

export interface BrokerStats {
  identity: string;
  open: boolean;
  waiting: number;
  delayed: number;
  leased: number;
  incarnations: number;
  tombstones: number;
  /** Waiting entries per group, at most 1 000 groups, most first. */
  groups: { group: GroupId; waiting: number }[];
  /** Lanes with claimable work: groups by id, of each those whose heads go first; within the two limits above. */
  lanes: { group: GroupId; affinity: string; waiting: number }[];
  /** Operations that changed something since the server began: an alarm when it falls, never a proof. */
  operations: number;
}

/** A full reconcile under way: it opens the Broker only if server and nonce are still the same. */
export interface ReconcileTicket {
  identity: string;
  nonce: string;
}

export interface Broker {
  /** Identity of the server behind this connection; compared with the one it was opened on. */
  identity(): Promise<{ identity: string; open: boolean }>;
  /**
   * Adds entries, at most 1 000, in order; an entry whose id is present, or tombstoned at its floor or above, adds
   * nothing. A Broker may take a long batch in parts: when the call is refused, or rejects, some may be there, and
   * machines that would have been woken for those hear of them with their next beats.
   */
  submit(options: {
    identity: string;
    entries: BrokerEntry[] /** Of the full reconcile under way: admits entries to a closed Broker. */;
    ticket?: ReconcileTicket;
  }): Promise<SubmitBatchAnswer>;
  claim(request: ClaimRequest): Promise<ClaimAnswer>;
  beat(request: BeatRequest): Promise<BeatAnswer>;
  /**
   * Beats of several incarnations in one step, one after the other as if each came alone; only
   * `earliestExpiryMs` is in every answer what it is at the end. None at all asks for the pulse.
   */
  beats(requests: BeatRequest[]): Promise<BeatsAnswer>;
  /** Share of the work done, if the token still holds the job; keeps only the newest per job. */
  progress(items: { jobId: JobId; token: FencingToken; fraction: number }[]): Promise<void>;
  /** After the commit of a completion: removes the id whatever its state or token, unless its floor is higher. Exits and cancels are served by a closed Broker too. */
  complete(request: EndRequest): Promise<{ kind: 'removed' | 'unchanged' }>;
  /**
   * Completions, then claims, of any machines in one step, one after the other as if each came alone at
   * the same time; at most `turnsLimit` together.
   */
  turns(request: TurnsRequest): Promise<TurnsAnswer>;
  /** After the commit of any other exit. */
  exit(request: ExitRequest): Promise<ExitAnswer>;
  /** After `cancelRequestedAt` is committed, under the floor that the row had then. */
  cancel(request: { jobId: JobId; fenceFloor: FencingToken }): Promise<CancelAnswer>;
  /** Leases of incarnations whose time has passed, at most `limit`; forgets lapsed incarnations that hold nothing, and 1 000 old tombstones. */
  lapsed(options: { limit: number }): Promise<LapsedAnswer>;
  /**
   * A machine (re)joins: registers the incarnation with one TTL. A newer one makes the leases of the
   * older lapse at once; an older one is refused.
   */
  enrol(ref: MachineRef): Promise<{ kind: 'ok' } | { kind: 'superseded' }>;
  /** Its link closed without a word: at most `restMs` remain. Never lengthens. */
  shorten(options: MachineRef & { restMs: number }): Promise<{ earliestExpiryMs: number | null }>;
  /** LEAVE: forgets the incarnation; answers what it still held, to be released through Records. */
  leave(ref: MachineRef): Promise<{ leases: { jobId: JobId; token: FencingToken }[] }>;
  /** An idle machine, now busy or gone from this hub, passes its wake on. */
  passWake(options: MachineRef & { groups: GroupId[] }): Promise<{ wake: Wake }>;
  /**
   * Moves due delayed entries to their lanes, at most `limit`; answers machines to wake, and in how many ms
   * the next is due: by the Broker's clock, from which that of a hub may be far.
   */
  promote(options: {
    limit: number;
  }): Promise<{ promoted: JobId[]; wakes: MachineRef[]; nextInMs: number | null }>;
  events(options: { after: number; limit: number }): Promise<{ identity: string; events: BrokerEvent[] }>;
  /** Forgets events up to and including `upTo`; only the recorder calls it, after its commit. */
  trimEvents(options: { identity: string; upTo: number }): Promise<void>;
  reconcileStart(options: { nonce: string }): Promise<ReconcileTicket>;
  /** Ids present, 1 000 a page, in id order from after `after`. */
  list(options: {
    after: JobId | null;
    limit: number;
  }): Promise<
    { jobId: JobId; state: 'waiting' | 'delayed' | 'leased'; token: FencingToken; fenceFloor: FencingToken }[]
  >;
  /** Opens: every lease gets one TTL and every entry present waits one TTL before it is claimable. */
  reconcileFinish(ticket: ReconcileTicket): Promise<{ kind: 'open' } | { kind: 'changed' }>;
  /** One entry, for explain and tests; null if unknown. */
  inspect(jobId: JobId): Promise<BrokerView | null>;
  stats(): Promise<BrokerStats>;
  close(): Promise<void>;
}

export interface BrokerView {
  jobId: JobId;
  state: 'waiting' | 'delayed' | 'leased';
  token: FencingToken;
  fenceFloor: FencingToken;
  score: number;
  group: GroupId;
  affinity: string;
  attempts: number;
  runs: number;
  holder: MachineRef | null;
  cancelRequested: boolean;
  rebuilt: boolean;
  notBeforeMs: number | null;
  /** Entries ahead of it in its lane. */
  ahead: number;
  /** Virtual time of its pool: how far its score is ahead of it is its place in the fair order. */
  clockMs: number;
  /** Entries of its group with a smaller score, in its own lane those ahead of it; of at most `viewedLanesLimit` lanes. */
  aheadInGroup: number;
  /** Heads of the best lanes of its group that come before it, best first, at most `leadersLimit`. */
  leaders: { jobId: JobId; affinity: string; score: number }[];
}
