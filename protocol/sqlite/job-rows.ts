import type { Job, JobError, JobResult, JobState } from '#protocol/job.ts';
import type { JobId } from '#protocol/names.ts';
import type { RequestDocument } from '#protocol/records-submits.ts';
import type { Database, Row } from './database.ts';

/** Between rows and documents. Tokens leave as text: 16 digits may exceed what a double holds. */

const columns = [
  'ordinal',
  'id',
  'state',
  'service',
  'pool',
  'customer',
  'group_id',
  'affinity',
  'priority',
  'expected_ms',
  'max_run_ms',
  'max_attempts',
  'attempts',
  'runs',
  'submitted_at_ms',
  'not_before_ms',
  'expires_at_ms',
  'started_at_ms',
  'finished_at_ms',
  'cancel_requested_at_ms',
  'brokered_at_ms',
  'machine_id',
  'incarnation',
  'progress',
  'error',
  'reason',
  'limited',
  'preemptible',
];

const selectFrom = (jobs: string) => `SELECT ${columns.map((name) => `j.${name}`).join(', ')},
  CAST(j.fence_floor AS TEXT) AS fence_floor, CAST(j.token AS TEXT) AS token, r.document AS request, s.document AS result
  FROM ${jobs} JOIN job_requests r ON r.job = j.ordinal LEFT JOIN job_results s ON s.job = j.ordinal`;

/** Whole jobs, to be followed by conditions on `j`. */
export const selectJobs = selectFrom('jobs j');

/**
 * Whole jobs by one of the partial indexes. The condition that follows repeats that of the index word
 * for word. Named, because the planner would otherwise walk every job of a state and sort it.
 */
export const selectJobsBy = (index: string) => selectFrom(`jobs j INDEXED BY ${index}`);

/**
 * Condition on a state, in plain comparisons: for an `IN` of more than two values SQLite makes a table
 * in memory, anew for every row that a partial index judges by it.
 */
export const stateIs = (column: string, ...states: JobState[]) =>
  `(${states.map((state) => `${column} = '${state}'`).join(' OR ')})`;

const parse = (text: Row[string]) => (text === null ? null : JSON.parse(String(text)));

export function toJob(row: Row): Job {
  return {
    id: row.id,
    service: row.service,
    state: row.state,
    pool: row.pool,
    group: row.group_id,
    affinity: row.affinity,
    priority: row.priority,
    customer: row.customer,
    expectedMs: row.expected_ms,
    maxRunMs: row.max_run_ms,
    maxAttempts: row.max_attempts,
    attempts: row.attempts,
    runs: row.runs,
    ...(parse(row.request ?? null) as RequestDocument),
    submittedAtMs: row.submitted_at_ms,
    notBeforeMs: row.not_before_ms,
    expiresAtMs: row.expires_at_ms,
    startedAtMs: row.started_at_ms,
    finishedAtMs: row.finished_at_ms,
    cancelRequestedAtMs: row.cancel_requested_at_ms,
    brokeredAtMs: row.brokered_at_ms,
    limited: row.limited === 1,
    preemptible: row.preemptible === 1,
    fenceFloor: row.fence_floor,
    token: row.token,
    machineId: row.machine_id,
    incarnation: row.incarnation,
    progress: row.progress,
    error: parse(row.error ?? null) as JobError | null,
    reason: row.reason,
    result: parse(row.result ?? null) as JobResult | null,
  } as Job;
}

export function readJob(db: Database, jobId: JobId): Job | null {
  const row = db.get(`${selectJobs} WHERE j.id = ?`, jobId);
  return row ? toJob(row) : null;
}
