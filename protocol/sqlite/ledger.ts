import type { RunOutcome } from '#protocol/job.ts';
import {
  type Entries,
  type JobLedger,
  type JobRow,
  type MutableColumn,
  newEntries,
  openLedger,
  type RunRow,
} from '#protocol/ledger.ts';
import type { JobId } from '#protocol/names.ts';
import type { Database, Row } from './database.ts';

/** The ledger of a job in SQLite: read, decided on by the functions of records-*.ts, written back. */

const selectJob = `SELECT ordinal, id, state, CAST(fence_floor AS TEXT) AS fence_floor, CAST(token AS TEXT) AS token, attempts,
  max_attempts, runs, runs_at_requeue, not_before_ms, expires_at_ms, started_at_ms, finished_at_ms, cancel_requested_at_ms,
  brokered_at_ms, machine_id, incarnation, progress, error, reason, limited FROM jobs WHERE id = ?`;
const selectRuns = `SELECT run, CAST(token AS TEXT) AS token, machine_id, incarnation, started_at_ms, ended_at_ms, outcome, counted, error,
  leased_copied, adopted_copied FROM runs WHERE job = ?`;

const parse = (text: Row[string]) => (text === null ? null : JSON.parse(String(text)));
const numberOrNull = (value: Row[string]) => (value === null ? null : Number(value));
const textOrNull = (value: Row[string]) => (value === null ? null : String(value));

function toJobRow(row: Row): JobRow {
  return {
    id: String(row.id),
    state: row.state as JobRow['state'],
    maxAttempts: Number(row.max_attempts),
    attempts: Number(row.attempts),
    runs: Number(row.runs),
    runsAtRequeue: Number(row.runs_at_requeue),
    notBeforeMs: numberOrNull(row.not_before_ms ?? null),
    expiresAtMs: numberOrNull(row.expires_at_ms ?? null),
    startedAtMs: numberOrNull(row.started_at_ms ?? null),
    finishedAtMs: numberOrNull(row.finished_at_ms ?? null),
    cancelRequestedAtMs: numberOrNull(row.cancel_requested_at_ms ?? null),
    brokeredAtMs: numberOrNull(row.brokered_at_ms ?? null),
    limited: row.limited === 1,
    fenceFloor: String(row.fence_floor),
    token: textOrNull(row.token ?? null),
    machineId: textOrNull(row.machine_id ?? null),
    incarnation: numberOrNull(row.incarnation ?? null),
    progress: Number(row.progress),
    error: parse(row.error ?? null),
    reason: textOrNull(row.reason ?? null),
  };
}

export function toRunRow(row: Row): RunRow {
  return {
    run: Number(row.run),
    token: String(row.token),
    machineId: String(row.machine_id),
    incarnation: Number(row.incarnation),
    startedAtMs: Number(row.started_at_ms),
    endedAtMs: numberOrNull(row.ended_at_ms ?? null),
    outcome: row.outcome as RunOutcome,
    counted: row.counted === 1,
    error: parse(row.error ?? null),
    leasedCopied: row.leased_copied === 1,
    adoptedCopied: row.adopted_copied === 1,
  };
}

/**
 * Lets `act` decide on a job inside the caller's transaction and writes what it changed; null where
 * there is no such job.
 */
export function changeJob<T>(db: Database, jobId: JobId, act: (ledger: JobLedger) => T): T | null {
  const row = db.get(selectJob, jobId);
  if (!row) return null;
  const ordinal = Number(row.ordinal);
  const runs = Number(row.runs) > 0 ? db.all(selectRuns, ordinal).map(toRunRow) : [];
  const ledger = openLedger(toJobRow(row), runs, newEntries());
  const value = act(ledger);
  writeRow(db, ordinal, ledger);
  for (const token of ledger.changedRuns) writeRun(db, ordinal, ledger.runs.get(token));
  if (ledger.result)
    db.run('INSERT INTO job_results (job, document) VALUES (?, ?)', ordinal, JSON.stringify(ledger.result));
  writeEntries(db, ordinal, ledger.entries);
  return value;
}

const columns: Record<MutableColumn, string> = {
  state: 'state = ?',
  attempts: 'attempts = ?',
  runs: 'runs = ?',
  runsAtRequeue: 'runs_at_requeue = ?',
  notBeforeMs: 'not_before_ms = ?',
  expiresAtMs: 'expires_at_ms = ?',
  startedAtMs: 'started_at_ms = ?',
  finishedAtMs: 'finished_at_ms = ?',
  cancelRequestedAtMs: 'cancel_requested_at_ms = ?',
  brokeredAtMs: 'brokered_at_ms = ?',
  limited: 'limited = ?',
  fenceFloor: 'fence_floor = CAST(? AS INTEGER)',
  token: 'token = CAST(? AS INTEGER)',
  machineId: 'machine_id = ?',
  incarnation: 'incarnation = ?',
  progress: 'progress = ?',
  error: 'error = ?',
  reason: 'reason = ?',
};
const columnOrder = Object.keys(columns) as MutableColumn[];

/** Only what changed: SQLite rewrites the index of every column that an UPDATE names. */
function writeRow(db: Database, ordinal: number, { row, changedColumns }: JobLedger): void {
  if (changedColumns.size === 0) return;
  const changed = columnOrder.filter((column) => changedColumns.has(column));
  const values = changed.map((column) => {
    const value = row[column];
    if (typeof value === 'boolean') return Number(value);
    return typeof value === 'object' && value !== null ? JSON.stringify(value) : value;
  });
  const assignments = changed.map((column) => columns[column]).join(', ');
  db.run(`UPDATE OR FAIL jobs SET ${assignments} WHERE ordinal = ?`, ...values, ordinal);
}

const putRun = `INSERT INTO runs (job, token, run, machine_id, incarnation, started_at_ms, ended_at_ms, outcome, counted, error, leased_copied, adopted_copied)
  VALUES (?, CAST(? AS INTEGER), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job, token) DO UPDATE SET started_at_ms = excluded.started_at_ms,
  ended_at_ms = excluded.ended_at_ms, outcome = excluded.outcome, counted = excluded.counted, error = excluded.error,
  leased_copied = excluded.leased_copied, adopted_copied = excluded.adopted_copied`;

function writeRun(db: Database, ordinal: number, run: RunRow | undefined): void {
  if (!run) return;
  const { token, machineId, incarnation, startedAtMs, endedAtMs, outcome } = run;
  db.run(
    putRun,
    ...[
      ordinal,
      token,
      run.run,
      machineId,
      incarnation,
      startedAtMs,
      endedAtMs,
      outcome,
      Number(run.counted),
    ],
    run.error === null ? null : JSON.stringify(run.error),
    ...[Number(run.leasedCopied), Number(run.adoptedCopied)],
  );
}

const insertChange =
  'INSERT INTO transitions (job, from_state, to_state, operation, actor, reason, token, at_ms) VALUES (?, ?, ?, ?, ?, ?, CAST(? AS INTEGER), ?)';
const insertFact = 'INSERT INTO events (type, job_id, machine_id, data, at_ms) VALUES (?, ?, ?, ?, ?)';

/** The two append-only tables that every change leaves a row in, in the change's own commit. */
export function writeEntries(db: Database, ordinal: number | null, { changes, facts }: Entries): void {
  for (const { from, to, operation, actor, reason, token, atMs } of changes)
    db.run(insertChange, ordinal, from, to, operation, actor, reason, token, atMs);
  for (const { type, jobId, machineId, data, atMs } of facts)
    db.run(insertFact, type, jobId, machineId, JSON.stringify(data), atMs);
}
