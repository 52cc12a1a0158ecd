import { type Job, type JobRun, JobState, type JobTransition } from '#protocol/job.ts';
import { checkLimit, decodeCursor, encodeCursor, type PageCursor } from '#protocol/page-cursor.ts';
import type { JobFilter, Records } from '#protocol/records.ts';
import type { Database, Row } from './database.ts';
import { readJob, selectJobs, selectJobsBy, stateIs, toJob } from './job-rows.ts';
import { toRunRow } from './ledger.ts';

/** How jobs are read: one, a page, counts, the timeline, and the lists of rebuild and reconcile. */

interface Conditions {
  from: string;
  where: string[];
  values: (string | number)[];
  /** Columns of the newest-first order: those of the index that drives the list. */
  atMs: string;
  ordinal: string;
}

/** All but the state: one query per state walks one index in order, where `IN` would sort. */
function conditionsOf(filter: JobFilter): Conditions {
  const label = filter.label;
  const on: Conditions = label
    ? {
        from: 'job_labels l CROSS JOIN jobs j ON j.ordinal = l.job',
        where: ['l.key = ?', 'l.value = ?'],
        values: [label.key, label.value],
        atMs: 'l.submitted_at_ms',
        ordinal: 'l.job',
      }
    : { from: 'jobs j', where: [], values: [], atMs: 'j.submitted_at_ms', ordinal: 'j.ordinal' };
  const equal = {
    'j.service': filter.service,
    'j.customer': filter.customer,
    'j.pool': filter.pool,
    'j.machine_id': filter.machineId,
  };
  for (const [column, value] of Object.entries(equal)) {
    if (value === undefined) continue;
    on.where.push(`${column} = ?`);
    on.values.push(value);
  }
  if (filter.submittedAfterMs !== undefined) {
    on.where.push(`${on.atMs} > ?`);
    on.values.push(filter.submittedAfterMs);
  }
  if (filter.submittedBeforeMs !== undefined) {
    on.where.push(`${on.atMs} < ?`);
    on.values.push(filter.submittedBeforeMs);
  }
  if (filter.finishedBeforeMs !== undefined) {
    on.where.push('j.finished_at_ms < ?');
    on.values.push(filter.finishedBeforeMs);
  }
  return on;
}

interface Place extends PageCursor {
  ordinal: number;
}

/** Places of the newest matching jobs, newest first. */
function placesOf(
  db: Database,
  filter: JobFilter,
  state: JobState | null,
  options: { limit: number; before: PageCursor | null },
): Place[] {
  const { from, where, values, atMs, ordinal } = conditionsOf(filter);
  if (state !== null) {
    where.push('j.state = ?');
    values.push(state);
  }
  if (options.before) {
    where.push(`(${atMs}, ${ordinal}) < (?, ?)`);
    values.push(options.before.atMs, options.before.ordinal);
  }
  const condition = where.length > 0 ? `WHERE ${where.join(' AND ')}` : '';
  const sql = `SELECT ${atMs} AS at_ms, ${ordinal} AS ordinal FROM ${from} ${condition} ORDER BY ${atMs} DESC, ${ordinal} DESC LIMIT ?`;
  return db
    .all(sql, ...values, options.limit)
    .map((row) => ({ atMs: Number(row.at_ms), ordinal: Number(row.ordinal) }));
}

type Listed = Parameters<Records['listJobs']>[0];

function listJobs(
  db: Database,
  { filter, limit, cursor }: Listed,
): { items: Job[]; nextCursor: string | null } {
  const options = { limit: checkLimit(limit) + 1, before: cursor === null ? null : decodeCursor(cursor) };
  const states: (JobState | null)[] = filter.state ? [...new Set(filter.state)] : [null];
  const places = states
    .flatMap((state) => placesOf(db, filter, state, options))
    .sort((a, b) => b.atMs - a.atMs || b.ordinal - a.ordinal);
  const page = places.slice(0, limit);
  const items = page.flatMap(({ ordinal }) => {
    const row = db.get(`${selectJobs} WHERE j.ordinal = ?`, ordinal);
    return row ? [toJob(row)] : [];
  });
  const last = page.at(-1);
  return { items, nextCursor: places.length > limit && last ? encodeCursor(last) : null };
}

function countJobs(db: Database, filter: JobFilter): Record<JobState, number> {
  const counts = Object.fromEntries(JobState.options.map((state) => [state, 0])) as Record<JobState, number>;
  const { from, where, values } = conditionsOf(filter);
  // Without conditions, the counts that triggers keep: counting a million rows takes a tenth of a second.
  const sql =
    where.length === 0
      ? 'SELECT state, jobs AS n FROM job_counts'
      : `SELECT j.state AS state, count(*) AS n FROM ${from} WHERE ${where.join(' AND ')} GROUP BY j.state`;
  for (const row of db.all(sql, ...values)) {
    const state = row.state as JobState;
    if (!filter.state || filter.state.includes(state)) counts[state] = Number(row.n);
  }
  return counts;
}

const selectTransitions = `SELECT from_state, to_state, operation, actor, reason, CAST(token AS TEXT) AS token, at_ms FROM transitions
  WHERE job = (SELECT ordinal FROM jobs WHERE id = ?) ORDER BY id`;
const selectRuns = `SELECT run, CAST(token AS TEXT) AS token, machine_id, incarnation, started_at_ms, ended_at_ms, outcome, counted, error, leased_copied, adopted_copied FROM runs
  WHERE job = (SELECT ordinal FROM jobs WHERE id = ?) ORDER BY run`;

function toTransition(jobId: string, row: Row): JobTransition {
  return {
    jobId,
    from: row.from_state,
    to: row.to_state,
    operation: row.operation,
    actor: row.actor,
    reason: row.reason,
    token: row.token,
    atMs: row.at_ms,
  } as JobTransition;
}

function toRun(jobId: string, row: Row): JobRun {
  const { leasedCopied: _, adoptedCopied: __, ...run } = toRunRow(row);
  return { jobId, ...run };
}

const open = stateIs('j.state', 'scheduled', 'held', 'waiting', 'leased');
const driven = stateIs('j.state', 'scheduled', 'waiting', 'leased');
const openJobs = `${selectJobsBy('jobs_open')} WHERE ${open} AND j.id > ? ORDER BY j.id LIMIT ?`;
const unbrokered = `${selectJobsBy('jobs_unbrokered')} WHERE j.brokered_at_ms IS NULL AND j.cancel_requested_at_ms IS NULL AND ${driven}
  AND j.submitted_at_ms < ? ORDER BY j.submitted_at_ms, j.ordinal LIMIT ?`;
const cancelling = `${selectJobsBy('jobs_cancelling')} WHERE j.cancel_requested_at_ms IS NOT NULL AND ${open}
  AND j.cancel_requested_at_ms < ? ORDER BY j.cancel_requested_at_ms, j.ordinal LIMIT ?`;

const urgent = `${selectJobsBy('jobs_urgent')} WHERE j.state = 'waiting' AND j.priority > 50
  ORDER BY j.priority DESC, j.submitted_at_ms, j.ordinal LIMIT ?`;
const preemptible = `${selectJobsBy('jobs_preemptible')} WHERE j.preemptible = 1 AND j.state = 'leased'
  ORDER BY j.priority, j.started_at_ms DESC LIMIT ?`;

type ListMethods =
  | 'getJob'
  | 'listJobs'
  | 'countJobs'
  | 'timeline'
  | 'openJobs'
  | 'unbrokeredJobs'
  | 'unfinishedCancels'
  | 'preemption';

export function listMethods(db: Database): Pick<Records, ListMethods> {
  return {
    getJob: (jobId) => db.readOne(() => readJob(db, jobId)),
    listJobs: (options) => db.read(() => listJobs(db, options)),
    countJobs: (filter) => db.read(() => countJobs(db, filter)),
    timeline: (jobId) =>
      db.read(() => ({
        transitions: db.all(selectTransitions, jobId).map((row) => toTransition(jobId, row)),
        runs: db.all(selectRuns, jobId).map((row) => toRun(jobId, row)),
      })),
    openJobs: ({ after, limit }) =>
      db.readOne(() => db.all(openJobs, after ?? '', checkLimit(limit, 10_000)).map(toJob)),
    unbrokeredJobs: ({ olderThanMs, limit }) =>
      db.readOne(() => db.all(unbrokered, olderThanMs, checkLimit(limit, 10_000)).map(toJob)),
    unfinishedCancels: ({ olderThanMs, limit }) =>
      db.readOne(() => db.all(cancelling, olderThanMs, checkLimit(limit, 10_000)).map(toJob)),
    preemption: ({ limit }) =>
      db.read(() => {
        const running = db.all(preemptible, checkLimit(limit)).map(toJob);
        return { running, urgent: running.length === 0 ? [] : db.all(urgent, limit).map(toJob) };
      }),
  };
}
