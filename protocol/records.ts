import type { AdmissionRecords } from './admission-records.ts';
import type { BrokerEvent } from './broker.ts';
import type { BulkRecords } from './bulk-records.ts';
import type { Job, JobError, JobResult, JobRun, JobState, JobTransition } from './job.ts';
import type { JsonObject } from './json.ts';
import type { ModelManifest } from './model.ts';
import type { HubId, Incarnation, JobId, MachineId } from './names.ts';
import type { Group, MachineClass } from './requirements.ts';
import type { ScheduleRecords } from './schedule-records.ts';
import type { FencingToken } from './token.ts';

/**
 * Records: the truth. Every method is one transaction: its rows, the transition, the run and the
 * event are committed together or not at all. A store that does not answer rejects with
 * `RECORDS_UNAVAILABLE`; everything else a caller can expect is a value.
 * Times come in as `nowMs` of the hub; stores that have a clock of their own use it for singletons and hubs only.
 */

/** A new row. Derived fields (group, affinity, pool) were decided by the submit verb. */
export type NewJob = Pick<
  Job,
  | 'id'
  | 'service'
  | 'pool'
  | 'group'
  | 'affinity'
  | 'models'
  | 'priority'
  | 'customer'
  | 'expectedMs'
  | 'maxRunMs'
  | 'maxAttempts'
  | 'payload'
  | 'inputs'
  | 'requirements'
  | 'labels'
  | 'traceparent'
  | 'notBeforeMs'
  | 'expiresAtMs'
  | 'limited'
  | 'preemptible'
> & {
  state: 'waiting' | 'scheduled' | 'held';
  /** SHA-256 of the canonical submission: equal id and equal fingerprint is a repeat, else a conflict. */
  fingerprint: string;
};

export type SubmitRowAnswer =
  | { kind: 'created'; job: Job }
  | { kind: 'exists'; job: Job }
  | { kind: 'conflict'; jobId: JobId };

export type CompleteAnswer =
  | { kind: 'committed'; fenceFloor: FencingToken; limited: boolean }
  /** Already ended: answers the state; end it in the Broker too. */
  | {
      kind: 'terminal';
      state: JobState;
      fenceFloor: FencingToken /** This very token committed before: a repeat. */;
      same: boolean;
    }
  /** The token is below the fence floor. */
  | { kind: 'staleLease'; fenceFloor: FencingToken }
  | { kind: 'unknown' };

/** Why a lease ended other than by completion. */
export type ExitCause =
  | {
      kind: 'fail';
      error: JobError /** Earliest next try, ms since 1970; null = at once. */;
      notBeforeMs: number | null;
    }
  | { kind: 'release'; reason: string }
  | { kind: 'expire'; reason: string }
  /** A limit or a pause of the customer forbids the run that has just been given out: held, no run counts. */
  | { kind: 'withhold'; reason: string }
  | { kind: 'cancel'; reason: string };

export interface ExitRowRequest {
  jobId: JobId;
  token: FencingToken;
  cause: ExitCause;
  /** The run that ends, so that its row exists even if the claim was never recorded. */
  holder: { machineId: MachineId; incarnation: Incarnation };
  actor: string;
  nowMs: number;
}

export type ExitRowAnswer =
  /** `counted` false with `applied` false: the token was below the floor; do the Broker step all the same. */
  | {
      kind: 'ok';
      applied: boolean;
      state: JobState;
      fenceFloor: FencingToken;
      attempts: number;
      runs: number;
      notBeforeMs: number | null;
      /** Of a row that has not ended: a cancel was asked for and is not done. */
      cancelRequested: boolean;
      limited: boolean;
    }
  | { kind: 'unknown' };

export type CancelRowAnswer =
  | {
      kind: 'requested';
      fenceFloor: FencingToken;
      holder: { machineId: MachineId; incarnation: Incarnation } | null;
    }
  /** Asked for before, with the floor it was asked under; `ended`: and done. */
  | { kind: 'already'; fenceFloor: FencingToken; ended: boolean }
  | { kind: 'tooLate'; state: JobState }
  | { kind: 'unknown' };

/** Conditions that all hold; lists answer newest submissions first. */
export interface JobFilter {
  state?: JobState[];
  service?: string;
  customer?: string;
  pool?: string;
  machineId?: MachineId;
  label?: { key: string; value: string };
  submittedAfterMs?: number;
  submittedBeforeMs?: number;
  finishedBeforeMs?: number;
}

export interface Page<T> {
  items: T[];
  /** Opaque; null on the last page. */
  nextCursor: string | null;
}

/** One committed fact, in commit order. `seq` has no gaps that a reader could see. */
export interface RecordedEvent {
  seq: number;
  /** `job.submitted`, `job.leased`, `job.progressed`, `job.succeeded`, `machine.joined`, … */
  type: string;
  jobId: JobId | null;
  machineId: MachineId | null;
  data: JsonObject;
  atMs: number;
}

export interface MachineRow {
  machineId: MachineId;
  incarnation: Incarnation;
  classId: string;
  machineClass: MachineClass;
  /** `joined` while a hub holds its link or its lease may live, `lost` after silence, `left` after LEAVE. */
  state: 'joined' | 'lost' | 'left';
  cordoned: boolean;
  draining: boolean;
  joinedAtMs: number;
  lastSeenAtMs: number;
  hubId: string | null;
  /** Last report: health, free disk, loop delay, residency; for people, never for decisions. */
  report: JsonObject;
}

export interface SingletonLease {
  name: string;
  holder: string;
  /** Rises with every new holder; committed with each effect. */
  token: number;
  untilMs: number;
}

/** A hub that runs on this store, as the others find it. */
export interface HubRow {
  hubId: HubId;
  /** One start of a hub's process under this id; the higher one speaks for it. */
  run: number;
  /** Where other hubs reach it, e.g. `http://10.0.0.5:7700`; null = nowhere. */
  url: string | null;
  version: string;
  /** Birth of the Broker that it uses (`brokerBirth`); null while it knows none, and for hubs of before. */
  broker: string | null;
  /** By the store's clock, as `untilMs`. */
  startedAtMs: number;
  untilMs: number;
}

/** Work that nobody is given until an operator says so: of one pool, service or customer. */
export interface Pause {
  kind: 'pool' | 'service' | 'customer';
  name: string;
  /** In words, for people; may be empty. */
  reason: string;
  actor: string;
  sinceMs: number;
}
/** Pauses that may hold at once. */
export const pausesLimit = 256;

/** Every effect of a singleton names its lease; a stale one is refused and nothing is written. */
export type Fenced<T> = { kind: 'ok'; value: T } | { kind: 'staleSingleton' };

export interface Records extends ScheduleRecords, BulkRecords, AdmissionRecords {
  submitJobs(jobs: NewJob[], nowMs: number): Promise<SubmitRowAnswer[]>;
  /**
   * Jobs that a refusal must not set never get here: called only after `added` or `exists`. With the
   * floor under which it was submitted, a job that was requeued since is not marked: its new life
   * has not reached the Broker yet.
   */
  markBrokered(jobs: (JobId | { jobId: JobId; fenceFloor: FencingToken })[], nowMs: number): Promise<void>;
  getJob(jobId: JobId): Promise<Job | null>;
  listJobs(options: { filter: JobFilter; limit: number; cursor: string | null }): Promise<Page<Job>>;
  countJobs(filter: JobFilter): Promise<Record<JobState, number>>;
  timeline(jobId: JobId): Promise<{ transitions: JobTransition[]; runs: JobRun[] }>;

  /** Commits only where the state is not terminal and `token ≥ fenceFloor`. */
  completeJob(options: {
    jobId: JobId;
    token: FencingToken;
    holder: { machineId: MachineId; incarnation: Incarnation };
    result: JobResult;
    nowMs: number;
  }): Promise<CompleteAnswer>;
  /**
   * Commits an exit with `fenceFloor = token + 1` where the row is not terminal and the token not
   * below the floor. `fail` (retryable) and `expire` count an attempt; attempts or runs used up end
   * in `dead`, a permanent error in `failed`, a requested cancel in `cancelled`.
   */
  exitJob(request: ExitRowRequest): Promise<ExitRowAnswer>;
  requestCancel(options: { jobId: JobId; actor: string; nowMs: number }): Promise<CancelRowAnswer>;
  /** Commits `cancelled` where a cancel was requested and the row is not terminal. */
  finishCancel(options: {
    jobId: JobId;
    actor: string;
    nowMs: number;
  }): Promise<{ kind: 'cancelled' | 'tooLate' | 'unknown' }>;
  /** Raises `fenceFloor` above the row's tokens and above `nowMs`, clears cancel and brokered marks, resets attempts. */
  requeueJob(options: {
    jobId: JobId;
    actor: string;
    nowMs: number;
  }): Promise<
    | { kind: 'requeued'; job: Job }
    | { kind: 'notTerminal'; state: JobState }
    | { kind: 'succeeded' }
    | { kind: 'unknown' }
  >;
  /** Ids that `expireTtl` would end, those that ended first in front. */
  passedTtl(options: { nowMs: number; limit: number }): Promise<JobId[]>;
  /** `ttl` of jobs never claimed: dead, at most `limit`. Only rows without a token; with `jobIds` only these. */
  expireTtl(options: {
    nowMs: number;
    limit: number;
    jobIds?: JobId[];
    lease: SingletonLease;
  }): Promise<Fenced<{ jobId: JobId; fenceFloor: FencingToken }[]>>;
  /** Ids of jobs that ended before `beforeMs`, those that ended first in front: what retention may forget. */
  endedJobs(options: { beforeMs: number; limit: number }): Promise<JobId[]>;
  /**
   * Forgets those of these jobs, at most 1 000, that ended before `beforeMs`: row, documents, labels, runs,
   * transitions, preview. Events stay until `forgetEvents`; files are the caller's, and go first.
   */
  forgetJobs(options: { jobIds: JobId[]; beforeMs: number; lease: SingletonLease }): Promise<Fenced<JobId[]>>;
  /** Forgets the oldest numbered events, at most `limit`, up to the first that is not before `beforeMs`; how many. */
  forgetEvents(options: { beforeMs: number; limit: number; lease: SingletonLease }): Promise<Fenced<number>>;
  /** Runs longer than `maxRunMs`, to be ended by the sweeper, at most `limit`. */
  overdueRuns(options: {
    nowMs: number;
    limit: number;
  }): Promise<{ jobId: JobId; token: FencingToken; machineId: MachineId; incarnation: Incarnation }[]>;

  /**
   * What preemption looks at: waiting jobs of a priority above 50, the highest first, then the oldest; and
   * runs that may be given back, the lowest priority first, then the newest. At most `limit` (1 to 1 000) of
   * each; nobody is urgent where no run may be given back.
   */
  preemption(options: { limit: number }): Promise<{ urgent: Job[]; running: Job[] }>;

  /** Copies Broker events, at least once, unique by (job, token, kind), with the cursor in the same commit. */
  recordBrokerEvents(options: {
    identity: string;
    events: BrokerEvent[];
    lease: SingletonLease;
  }): Promise<Fenced<{ cursor: number }>>;
  recorderCursor(identity: string): Promise<number>;
  /** Gives `seq` to committed events that have none, in commit order; answers the highest. */
  assignSeq(options: {
    limit: number;
    lease: SingletonLease;
  }): Promise<Fenced<{ highestSeq: number; assigned: number }>>;
  appendEvent(event: Omit<RecordedEvent, 'seq'>): Promise<void>;
  listEvents(options: {
    after: number;
    limit: number;
    jobId?: JobId;
    types?: string[];
  }): Promise<RecordedEvent[]>;
  highestSeq(): Promise<number>;

  /** Non-terminal rows in id order, a page after `after`; for rebuild and reconcile. */
  openJobs(options: { after: JobId | null; limit: number }): Promise<Job[]>;
  /** Non-terminal rows that never reached the Broker and should: not held, no cancel requested. Submitted before `olderThanMs` (ms since 1970). */
  unbrokeredJobs(options: { olderThanMs: number; limit: number }): Promise<Job[]>;
  /** Rows with a cancel requested before `olderThanMs` (ms since 1970) and no end. */
  unfinishedCancels(options: { olderThanMs: number; limit: number }): Promise<Job[]>;
  /** Which of these ids the Broker must not hold: terminal, held or unknown, with their floors. */
  endedAmong(jobIds: JobId[]): Promise<{ jobId: JobId; fenceFloor: FencingToken; known: boolean }[]>;

  /** Next incarnation of a machine, and its row. Numbers only rise per machine. */
  enrolMachine(options: {
    machineId: MachineId;
    classId: string;
    machineClass: MachineClass;
    hubId: string;
    nowMs: number;
  }): Promise<MachineRow>;
  /** A known incarnation is back on a hub. */
  resumeMachine(options: {
    machineId: MachineId;
    incarnation: Incarnation;
    hubId: string;
    nowMs: number;
  }): Promise<MachineRow | null>;
  reportMachine(options: {
    machineId: MachineId;
    incarnation: Incarnation;
    state: MachineRow['state'];
    report: JsonObject;
    nowMs: number;
  }): Promise<void>;
  setMachineFlags(options: {
    machineId: MachineId;
    cordoned?: boolean;
    draining?: boolean;
  }): Promise<MachineRow | null>;
  listMachines(options: { seenAfterMs: number | null }): Promise<MachineRow[]>;
  getMachine(machineId: MachineId): Promise<MachineRow | null>;
  /** Configured classes and those seen since `seenAfterMs`. */
  listClasses(options: { seenAfterMs: number }): Promise<{ classId: string; machineClass: MachineClass }[]>;

  /**
   * Holds all work of a pool, a service or a customer back. One that holds already gets the new reason and keeps its
   * time. Throws CONFLICT beyond `pausesLimit`.
   */
  putPause(pause: Pause): Promise<Pause>;
  /** False where nothing of that name was held back. */
  endPause(options: Pick<Pause, 'kind' | 'name' | 'actor'> & { nowMs: number }): Promise<boolean>;
  /** By kind, then by name. */
  listPauses(): Promise<Pause[]>;
  internGroup(groupId: string, group: Group): Promise<void>;
  listGroups(): Promise<{ groupId: string; group: Group }[]>;

  /** Same id and equal manifest is a repeat; another manifest replaces it. */
  putModel(manifest: ModelManifest): Promise<void>;
  getModel(modelId: string): Promise<ModelManifest | null>;
  listModels(): Promise<ModelManifest[]>;

  /** Last preview of a job's newest run, at most 64 KiB; kept when the run fails. */
  putPreview(options: {
    jobId: JobId;
    token: FencingToken;
    mime: string;
    bytes: Uint8Array;
    nowMs: number;
  }): Promise<void>;
  getPreview(jobId: JobId): Promise<{ mime: string; bytes: Uint8Array; token: FencingToken } | null>;

  /** Takes, renews or is refused a singleton, by the store's own clock. `current` = renew this one. */
  holdSingleton(options: {
    name: string;
    holder: string;
    ttlMs: number;
    current: SingletonLease | null;
  }): Promise<SingletonLease | null>;
  dropSingleton(lease: SingletonLease): Promise<void>;

  /**
   * A hub says that it runs, for `ttlMs` by the store's own clock, and learns of all that do, itself
   * included. `run` null = a new start, which takes the id from an older one; with its number the hub
   * goes on. `superseded`: a newer process runs under this id.
   */
  registerHub(options: {
    hubId: HubId;
    url: string | null;
    version: string;
    broker: string | null;
    ttlMs: number;
    run: number | null;
  }): Promise<{ kind: 'registered'; run: number; hubs: HubRow[] } | { kind: 'superseded' }>;
  /** The hubs that run, by id, at most `hubsLimit`. */
  listHubs(): Promise<HubRow[]>;
  /** That run of the hub has ended; a newer one is left alone. */
  unregisterHub(options: { hubId: HubId; run: number }): Promise<void>;

  /** A secret made once per store (random 32 bytes, base64url), e.g. the key that signs URLs and tokens. */
  secret(name: string): Promise<string>;
  /** Resolves when the store can commit. */
  ping(): Promise<void>;
  close(): Promise<void>;
}
