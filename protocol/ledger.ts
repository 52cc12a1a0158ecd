import type { EventData, EventType } from './events.ts';
import type { GuardRow } from './exit.ts';
import type { Job, JobError, JobOperation, JobResult, JobRun, JobState, RunOutcome } from './job.ts';
import type { JobId, MachineId, MachineRef } from './names.ts';
import type { FencingToken } from './token.ts';

/**
 * What a commit holds of a job: its row and runs as read under the commit's lock, and the entries that
 * it adds. The functions of records-*.ts decide on it, without I/O and alike for every store; the store
 * reads it, calls them and writes what they changed, in one transaction.
 */

/** One committed change of state. */
export interface Change {
  jobId: JobId;
  from: JobState | null;
  to: JobState;
  operation: JobOperation | 'submit';
  /** At most 128 characters. */
  actor: string;
  /** At most 2 000 characters. */
  reason: string | null;
  token: FencingToken | null;
  atMs: number;
}

export interface Fact<T extends EventType = EventType> {
  type: T;
  jobId: JobId | null;
  machineId: MachineId | null;
  data: EventData<T>;
  atMs: number;
}

/** Rows of the two append-only tables, in the order in which they happened. */
export interface Entries {
  changes: Change[];
  facts: Fact[];
}

/** The columns of a job that change after its submit, and what decides about them. */
export type JobRow = Pick<
  Job,
  | 'id'
  | 'state'
  | 'maxAttempts'
  | 'attempts'
  | 'runs'
  | 'notBeforeMs'
  | 'expiresAtMs'
  | 'startedAtMs'
  | 'finishedAtMs'
  | 'cancelRequestedAtMs'
  | 'brokeredAtMs'
  | 'limited'
  | 'fenceFloor'
  | 'token'
  | 'machineId'
  | 'incarnation'
  | 'progress'
  | 'error'
  | 'reason'
> & {
  /** Runs before an operator's last requeue. */
  runsAtRequeue: number;
};

export type RunRow = Omit<JobRun, 'jobId'> & {
  /** Which of the Broker's events of this run were copied: (job, token, kind) is copied once. */
  leasedCopied: boolean;
  adoptedCopied: boolean;
};

export type MutableColumn = Exclude<keyof JobRow, 'id' | 'maxAttempts'>;

export interface JobLedger {
  readonly row: JobRow;
  readonly runs: Map<FencingToken, RunRow>;
  /** Columns of the row whose value is another than the one that was read. */
  readonly changedColumns: Set<MutableColumn>;
  /** Tokens of the runs that are new or changed. */
  readonly changedRuns: Set<FencingToken>;
  /** To be stored; null where this commit brings none. */
  result: JobResult | null;
  /** Shared by all jobs of one commit. */
  readonly entries: Entries;
}

export const newEntries = (): Entries => ({ changes: [], facts: [] });

export function openLedger(row: JobRow, runs: RunRow[], entries: Entries): JobLedger {
  return {
    row,
    runs: new Map(runs.map((run) => [run.token, run])),
    changedColumns: new Set(),
    changedRuns: new Set(),
    result: null,
    entries,
  };
}

export function guardOf(row: JobRow): GuardRow {
  return { ...row, cancelRequested: row.cancelRequestedAtMs !== null };
}

export function updateRow(ledger: JobLedger, patch: Partial<Pick<JobRow, MutableColumn>>): void {
  for (const column of Object.keys(patch) as MutableColumn[])
    if (patch[column] !== ledger.row[column]) ledger.changedColumns.add(column);
  Object.assign(ledger.row, patch);
}

export function recordChange(entries: Entries, change: Change): void {
  const actor = change.actor.slice(0, 128);
  entries.changes.push({ ...change, actor, reason: change.reason?.slice(0, 2_000) ?? null });
}

export function recordFact<T extends EventType>(entries: Entries, fact: Fact<T>): void {
  entries.facts.push(fact);
}

/** When this run began: as recorded, else this is the first we hear of it. */
export function startOf(ledger: JobLedger, token: FencingToken, nowMs: number): number {
  return ledger.runs.get(token)?.startedAtMs ?? nowMs;
}

/** Adds the run if it is not there; answers how many runs the job has had since it was submitted. */
export function openRun(
  ledger: JobLedger,
  options: { token: FencingToken; holder: MachineRef; startedAtMs: number },
): number {
  const { token, holder, startedAtMs } = options;
  if (ledger.runs.has(token)) return ledger.row.runs;
  const run = ledger.row.runs + 1;
  ledger.runs.set(token, {
    run,
    token,
    machineId: holder.machineId,
    incarnation: holder.incarnation,
    startedAtMs,
    endedAtMs: null,
    outcome: 'running',
    counted: false,
    error: null,
    leasedCopied: false,
    adoptedCopied: false,
  });
  ledger.changedRuns.add(token);
  updateRow(ledger, { runs: run });
  return run;
}

export function updateRun(ledger: JobLedger, run: RunRow, patch: Partial<Omit<RunRow, 'token'>>): void {
  Object.assign(run, patch);
  ledger.changedRuns.add(run.token);
}

/** Ends the run if it is still open; one that has ended keeps its first end. */
export function closeRun(
  ledger: JobLedger,
  end: { token: FencingToken; outcome: RunOutcome; counted: boolean; error: JobError | null; nowMs: number },
): void {
  const run = ledger.runs.get(end.token);
  if (run?.outcome !== 'running') return;
  const { outcome, counted, error } = end;
  updateRun(ledger, run, { outcome, counted, error, endedAtMs: end.nowMs });
}
