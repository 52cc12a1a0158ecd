import type { GuardRow } from '#protocol/exit.ts';
import type { Job, JobError, JobResult, JobState } from '#protocol/job.ts';
import type { JobId } from '#protocol/names.ts';
import type { Database, Row } from './database.ts';

/** Between rows and documents. Tokens leave as text: 16 digits may exceed what a double holds. */

/** Kept beside the job's row as one JSON document. */
type RequestDocument = Pick<Job, 'payload' | 'inputs' | 'requirements' | 'labels' | 'models' | 'traceparent'>;

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

export function requestDocument(job: RequestDocument): string {
  const { payload, inputs, requirements, labels, models, traceparent } = job;
  return JSON.stringify({ payload, inputs, requirements, labels, models, traceparent });
}

/** What a commit needs to know of a job before it decides. */
export interface Guard extends GuardRow {
  ordinal: number;
  jobId: JobId;
  machineId: string | null;
  incarnation: number | null;
  notBeforeMs: number | null;
  startedAtMs: number | null;
  progress: number;
}

const selectGuard = `SELECT ordinal, id, state, CAST(fence_floor AS TEXT) AS fence_floor, CAST(token AS TEXT) AS token, attempts,
  max_attempts, runs, runs_at_requeue, cancel_requested_at_ms, machine_id, incarnation, not_before_ms, started_at_ms, progress
  FROM jobs WHERE id = ?`;

export function readGuard(db: Database, jobId: JobId): Guard | null {
  const row = db.get(selectGuard, jobId);
  if (!row) return null;
  return {
    ordinal: Number(row.ordinal),
    jobId,
    state: row.state as JobState,
    fenceFloor: String(row.fence_floor),
    token: row.token === null ? null : String(row.token),
    attempts: Number(row.attempts),
    maxAttempts: Number(row.max_attempts),
    runs: Number(row.runs),
    runsAtRequeue: Number(row.runs_at_requeue),
    cancelRequested: row.cancel_requested_at_ms !== null,
    machineId: row.machine_id as string | null,
    incarnation: row.incarnation as number | null,
    notBeforeMs: row.not_before_ms as number | null,
    startedAtMs: row.started_at_ms as number | null,
    progress: Number(row.progress),
  };
}

export function readJob(db: Database, jobId: JobId): Job | null {
  const row = db.get(`${selectJobs} WHERE j.id = ?`, jobId);
  return row ? toJob(row) : null;
}
