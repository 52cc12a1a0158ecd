import type { Job, JobError, JobResult } from '#protocol/job.ts';
import type { JobId } from '#protocol/names.ts';
import type { RequestDocument } from '#protocol/records-submits.ts';
import type { Database, Row, Transaction } from './database.ts';

/** Between rows and documents. The driver hands out bigint as text: what tokens are, digit by digit. */

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
  'fence_floor',
  'token',
  'machine_id',
  'incarnation',
  'progress',
  'error',
  'reason',
  'limited',
  'preemptible',
  'fingerprint',
];

/** Columns of whole jobs, from `j` and what `withDocuments` joins to it. */
export const wholeJobs = `${columns.map((name) => `j.${name}`).join(', ')}, q.document AS request, s.document AS result`;
export const withDocuments =
  'JOIN emp.job_requests q ON q.job = j.ordinal LEFT JOIN emp.job_results s ON s.job = j.ordinal';

/** Whole jobs, to be followed by conditions on `j`. */
export const selectJobs = `SELECT ${wholeJobs} FROM emp.jobs j ${withDocuments}`;

const parse = (text: unknown) => (text === null ? null : JSON.parse(String(text)));

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
    expectedMs: Number(row.expected_ms),
    maxRunMs: Number(row.max_run_ms),
    maxAttempts: row.max_attempts,
    attempts: row.attempts,
    runs: row.runs,
    ...(parse(row.request) as RequestDocument),
    submittedAtMs: row.submitted_at_ms,
    notBeforeMs: row.not_before_ms,
    expiresAtMs: row.expires_at_ms,
    startedAtMs: row.started_at_ms,
    finishedAtMs: row.finished_at_ms,
    cancelRequestedAtMs: row.cancel_requested_at_ms,
    brokeredAtMs: row.brokered_at_ms,
    limited: row.limited,
    preemptible: row.preemptible,
    fenceFloor: row.fence_floor,
    token: row.token,
    machineId: row.machine_id,
    incarnation: row.incarnation === null ? null : Number(row.incarnation),
    progress: row.progress,
    error: parse(row.error) as JobError | null,
    reason: row.reason,
    result: parse(row.result) as JobResult | null,
  } as Job;
}

/** Those that exist among `ids`, in any order. */
export async function readJobs(
  db: Database | Transaction,
  ids: readonly JobId[],
): Promise<{ job: Job; fingerprint: string }[]> {
  if (ids.length === 0) return [];
  const rows = await db.query(`${selectJobs} WHERE j.id = ANY($1)`, [ids]);
  return rows.map((row) => ({ job: toJob(row), fingerprint: String(row.fingerprint) }));
}
