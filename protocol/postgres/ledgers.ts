import type { JobState, RunOutcome } from '#protocol/job.ts';
import {
  type Change,
  type Entries,
  type Fact,
  type JobLedger,
  type JobRow,
  openLedger,
  type RunRow,
} from '#protocol/ledger.ts';
import type { JobId } from '#protocol/names.ts';
import { type Row, storableText, type Transaction } from './database.ts';

/** The ledgers of a commit: read under row locks taken in the order of ids, written in one statement. */

/** A job in the hands of this transaction. */
export interface HeldJob {
  ordinal: string;
  ledger: JobLedger;
}

const lockJobs = `SELECT ordinal, id, state, fence_floor, token, attempts, max_attempts, runs, runs_at_requeue, not_before_ms,
  expires_at_ms, started_at_ms, finished_at_ms, cancel_requested_at_ms, brokered_at_ms, machine_id, incarnation, progress, error, reason,
  limited FROM emp.jobs WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`;
/** A statement of its own: one that waited for a lock still sees other tables as they were before. */
const readRuns = `SELECT job, token, run, machine_id, incarnation, started_at_ms, ended_at_ms, outcome, counted, error, leased_copied, adopted_copied
  FROM emp.runs WHERE job = ANY($1::bigint[])`;

const parse = (text: unknown) => (text === null ? null : JSON.parse(String(text)));

function toJobRow(row: Row): JobRow {
  return {
    id: String(row.id),
    state: row.state as JobState,
    maxAttempts: Number(row.max_attempts),
    attempts: Number(row.attempts),
    runs: Number(row.runs),
    runsAtRequeue: Number(row.runs_at_requeue),
    notBeforeMs: row.not_before_ms as number | null,
    expiresAtMs: row.expires_at_ms as number | null,
    startedAtMs: row.started_at_ms as number | null,
    finishedAtMs: row.finished_at_ms as number | null,
    cancelRequestedAtMs: row.cancel_requested_at_ms as number | null,
    brokeredAtMs: row.brokered_at_ms as number | null,
    limited: row.limited === true,
    fenceFloor: String(row.fence_floor),
    token: row.token as string | null,
    machineId: row.machine_id as string | null,
    incarnation: row.incarnation === null ? null : Number(row.incarnation),
    progress: Number(row.progress),
    error: parse(row.error),
    reason: row.reason as string | null,
  };
}

export function toRunRow(row: Row): RunRow {
  return {
    run: Number(row.run),
    token: String(row.token),
    machineId: String(row.machine_id),
    incarnation: Number(row.incarnation),
    startedAtMs: Number(row.started_at_ms),
    endedAtMs: row.ended_at_ms as number | null,
    outcome: row.outcome as RunOutcome,
    counted: row.counted === true,
    error: parse(row.error),
    leasedCopied: row.leased_copied === true,
    adoptedCopied: row.adopted_copied === true,
  };
}

/** Locks the jobs that exist among `ids` until the end of the transaction. */
export async function holdJobs(
  tx: Transaction,
  ids: readonly JobId[],
  entries: Entries,
): Promise<Map<JobId, HeldJob>> {
  const wanted = [...new Set(ids)];
  const held = new Map<JobId, HeldJob>();
  if (wanted.length === 0) return held;
  const rows = await tx.query(lockJobs, [wanted]);
  const runsOf = new Map<string, RunRow[]>();
  const ran = rows.filter((row) => Number(row.runs) > 0).map((row) => String(row.ordinal));
  for (const row of ran.length > 0 ? await tx.query(readRuns, [ran]) : []) {
    const runs = runsOf.get(String(row.job));
    if (runs) runs.push(toRunRow(row));
    else runsOf.set(String(row.job), [toRunRow(row)]);
  }
  for (const row of rows) {
    const ordinal = String(row.ordinal);
    held.set(String(row.id), {
      ordinal,
      ledger: openLedger(toJobRow(row), runsOf.get(ordinal) ?? [], entries),
    });
  }
  return held;
}

/** Every list is one JSON array: a statement has the same text for one job and for a thousand. */
const writeAll = `WITH job AS (
  UPDATE emp.jobs j SET state = x.state, fence_floor = x.fence_floor, token = x.token, machine_id = x.machine_id, incarnation = x.incarnation,
    attempts = x.attempts, runs = x.runs, runs_at_requeue = x.runs_at_requeue, not_before_ms = x.not_before_ms, expires_at_ms = x.expires_at_ms,
    started_at_ms = x.started_at_ms, finished_at_ms = x.finished_at_ms, cancel_requested_at_ms = x.cancel_requested_at_ms,
    brokered_at_ms = x.brokered_at_ms, limited = x.limited, progress = x.progress, error = x.error, reason = x.reason
  FROM json_to_recordset($1) AS x(ordinal bigint, state text, fence_floor bigint, token bigint, machine_id text, incarnation bigint,
    attempts integer, runs integer, runs_at_requeue integer, not_before_ms double precision, expires_at_ms double precision,
    started_at_ms double precision, finished_at_ms double precision, cancel_requested_at_ms double precision,
    brokered_at_ms double precision, limited boolean, progress double precision, error text, reason text)
  WHERE j.ordinal = x.ordinal
), run AS (
  INSERT INTO emp.runs (job, token, run, machine_id, incarnation, started_at_ms, ended_at_ms, outcome, counted, error, leased_copied, adopted_copied)
  SELECT * FROM json_to_recordset($2) AS x(job bigint, token bigint, run integer, machine_id text, incarnation bigint, started_at_ms double precision,
    ended_at_ms double precision, outcome text, counted boolean, error text, leased_copied boolean, adopted_copied boolean)
  ON CONFLICT (job, token) DO UPDATE SET started_at_ms = excluded.started_at_ms, ended_at_ms = excluded.ended_at_ms, outcome = excluded.outcome,
    counted = excluded.counted, error = excluded.error, leased_copied = excluded.leased_copied, adopted_copied = excluded.adopted_copied
), change AS (
  INSERT INTO emp.transitions (job, from_state, to_state, operation, actor, reason, token, at_ms)
  SELECT job, from_state, to_state, operation, actor, reason, token, at_ms FROM json_to_recordset($3) AS x(n integer, job bigint, from_state text,
    to_state text, operation text, actor text, reason text, token bigint, at_ms double precision) ORDER BY n
), fact AS (
  INSERT INTO emp.events (type, job_id, machine_id, data, at_ms)
  SELECT type, job_id, machine_id, data, at_ms FROM json_to_recordset($4) AS x(n integer, type text, job_id text, machine_id text, data text,
    at_ms double precision) ORDER BY n
)
INSERT INTO emp.job_results (job, document) SELECT job, document FROM json_to_recordset($5) AS x(job bigint, document text)`;

const storable = (text: string | null) => (text === null ? null : storableText(text));

function jobColumns({ ordinal, ledger: { row } }: HeldJob) {
  return {
    ordinal,
    state: row.state,
    fence_floor: row.fenceFloor,
    token: row.token,
    machine_id: row.machineId,
    incarnation: row.incarnation,
    attempts: row.attempts,
    runs: row.runs,
    runs_at_requeue: row.runsAtRequeue,
    not_before_ms: row.notBeforeMs,
    expires_at_ms: row.expiresAtMs,
    started_at_ms: row.startedAtMs,
    finished_at_ms: row.finishedAtMs,
    cancel_requested_at_ms: row.cancelRequestedAtMs,
    brokered_at_ms: row.brokeredAtMs,
    limited: row.limited,
    progress: row.progress,
    error: row.error === null ? null : JSON.stringify(row.error),
    reason: storable(row.reason),
  };
}

function runColumns({ ordinal, ledger }: HeldJob) {
  return [...ledger.changedRuns].flatMap((token) => {
    const run = ledger.runs.get(token);
    if (!run) return [];
    return {
      job: ordinal,
      token,
      run: run.run,
      machine_id: run.machineId,
      incarnation: run.incarnation,
      started_at_ms: run.startedAtMs,
      ended_at_ms: run.endedAtMs,
      outcome: run.outcome,
      counted: run.counted,
      error: run.error === null ? null : JSON.stringify(run.error),
      leased_copied: run.leasedCopied,
      adopted_copied: run.adoptedCopied,
    };
  });
}

export function changeColumns(change: Change, n: number) {
  return {
    n,
    from_state: change.from,
    to_state: change.to,
    operation: change.operation,
    actor: storableText(change.actor),
    reason: storable(change.reason),
    token: change.token,
    at_ms: change.atMs,
  };
}

export function factColumns(fact: Fact, n: number) {
  return {
    n,
    type: fact.type,
    job_id: fact.jobId,
    machine_id: fact.machineId,
    data: JSON.stringify(fact.data),
    at_ms: fact.atMs,
  };
}

export async function writeJobs(
  tx: Transaction,
  held: Map<JobId, HeldJob>,
  { changes, facts }: Entries,
): Promise<void> {
  const all = [...held.values()];
  const rows = all.filter(({ ledger }) => ledger.changedColumns.size > 0).map(jobColumns);
  const runs = all.flatMap(runColumns);
  const results = all.flatMap(({ ordinal, ledger }) =>
    ledger.result ? [{ job: ordinal, document: JSON.stringify(ledger.result) }] : [],
  );
  const written = changes.map((change, n) => {
    const job = held.get(change.jobId)?.ordinal;
    return { job, ...changeColumns(change, n) };
  });
  const told = facts.map(factColumns);
  const lists = [rows, runs, written, told, results];
  if (lists.every((list) => list.length === 0)) return;
  await tx.query(
    writeAll,
    lists.map((list) => JSON.stringify(list)),
  );
}

const writeFacts = `INSERT INTO emp.events (type, job_id, machine_id, data, at_ms)
  SELECT type, job_id, machine_id, data, at_ms FROM json_to_recordset($1) AS x(n integer, type text, job_id text, machine_id text, data text,
    at_ms double precision) ORDER BY n`;

/** Facts of what is no job. */
export async function writeEntries(tx: Transaction, { facts }: Entries): Promise<void> {
  if (facts.length > 0) await tx.query(writeFacts, [JSON.stringify(facts.map(factColumns))]);
}
