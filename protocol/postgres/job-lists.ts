import {
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type RawBuilder,
  sql,
} from 'kysely';
import { type Job, type JobRun, JobState, type JobTransition, TERMINAL_STATES } from '#protocol/job.ts';
import { checkLimit, decodeCursor, encodeCursor } from '#protocol/page-cursor.ts';
import type { JobFilter, Page, Records } from '#protocol/records.ts';
import { zeroToken } from '#protocol/token.ts';
import type { Database, Row, Value } from './database.ts';
import { readJobs, selectJobs, toJob, wholeJobs, withDocuments } from './job-rows.ts';
import { toRunRow } from './ledgers.ts';

/** How jobs are read: one, a page, counts, the timeline, and the lists of rebuild and reconcile. */

/** Puts statements together, parameters apart from text; our own pools run them. */
const builder = new Kysely({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

async function ask(db: Database, statement: RawBuilder<unknown>): Promise<Row[]> {
  const { sql: text, parameters } = statement.compile(builder);
  return await db.query(text, parameters as Value[]);
}

interface Matching {
  from: RawBuilder<unknown>;
  where: RawBuilder<unknown>[];
  /** Columns of the newest-first order: those of the index that drives the list. */
  atMs: RawBuilder<unknown>;
  ordinal: RawBuilder<unknown>;
}

/** All but the state: each state is a list of its own, so that its index gives it in order. */
function matching(filter: JobFilter): Matching {
  const { label } = filter;
  const on: Matching = label
    ? {
        from: sql`emp.job_labels l JOIN emp.jobs j ON j.ordinal = l.job`,
        where: [sql`l.key = ${label.key}`, sql`l.value = ${label.value}`],
        atMs: sql`l.submitted_at_ms`,
        ordinal: sql`l.job`,
      }
    : { from: sql`emp.jobs j`, where: [], atMs: sql`j.submitted_at_ms`, ordinal: sql`j.ordinal` };
  const equal = {
    service: filter.service,
    customer: filter.customer,
    pool: filter.pool,
    machine_id: filter.machineId,
  };
  for (const [column, value] of Object.entries(equal))
    if (value !== undefined) on.where.push(sql`j.${sql.ref(column)} = ${value}`);
  if (filter.submittedAfterMs !== undefined) on.where.push(sql`${on.atMs} > ${filter.submittedAfterMs}`);
  if (filter.submittedBeforeMs !== undefined) on.where.push(sql`${on.atMs} < ${filter.submittedBeforeMs}`);
  if (filter.finishedBeforeMs !== undefined)
    on.where.push(sql`j.finished_at_ms < ${filter.finishedBeforeMs}`);
  return on;
}

const allOf = (conditions: RawBuilder<unknown>[]) =>
  conditions.length > 0 ? sql`WHERE ${sql.join(conditions, sql` AND `)}` : sql``;

type Listed = Parameters<Records['listJobs']>[0];

async function listJobs(db: Database, { filter, limit, cursor }: Listed): Promise<Page<Job>> {
  const most = checkLimit(limit) + 1;
  const before = cursor === null ? null : decodeCursor(cursor);
  const { from, where, atMs, ordinal } = matching(filter);
  if (before) where.push(sql`(${atMs}, ${ordinal}) < (${before.atMs}, ${before.ordinal})`);
  const places = (conditions: RawBuilder<unknown>[]) =>
    sql`SELECT ${ordinal} AS place FROM ${from} ${allOf(conditions)} ORDER BY ${atMs} DESC, ${ordinal} DESC LIMIT ${most}`;
  const states = filter.state && [...new Set(filter.state)];
  const found = states
    ? sql`SELECT p.place FROM unnest(${states}::text[]) AS t(state) CROSS JOIN LATERAL (${places([...where, sql`j.state = t.state`])}) p`
    : places(where);
  const rows = await ask(
    db,
    sql`SELECT ${sql.raw(wholeJobs)} FROM (${found}) f JOIN emp.jobs j ON j.ordinal = f.place ${sql.raw(withDocuments)}
      ORDER BY j.submitted_at_ms DESC, j.ordinal DESC LIMIT ${most}`,
  );
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  const place = last && { atMs: Number(last.submitted_at_ms), ordinal: Number(last.ordinal) };
  return { items: page.map(toJob), nextCursor: rows.length > limit && place ? encodeCursor(place) : null };
}

async function countJobs(db: Database, filter: JobFilter): Promise<Record<JobState, number>> {
  const counts = Object.fromEntries(JobState.options.map((state) => [state, 0])) as Record<JobState, number>;
  const { from, where } = matching(filter);
  if (filter.state) where.push(sql`j.state = ANY(${filter.state}::text[])`);
  const rows = await ask(
    db,
    sql`SELECT j.state, count(*) AS n FROM ${from} ${allOf(where)} GROUP BY j.state`,
  );
  for (const { state, n } of rows) counts[state as JobState] = Number(n);
  return counts;
}

const selectTransitions = `SELECT t.from_state, t.to_state, t.operation, t.actor, t.reason, t.token, t.at_ms
  FROM emp.transitions t JOIN emp.jobs j ON j.ordinal = t.job WHERE j.id = $1 ORDER BY t.id`;
const selectRuns =
  'SELECT r.* FROM emp.runs r JOIN emp.jobs j ON j.ordinal = r.job WHERE j.id = $1 ORDER BY r.run';

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

/** The conditions repeat those of the partial indexes word for word. */
const openJobs = `${selectJobs} WHERE j.state IN ('scheduled', 'held', 'waiting', 'leased') AND j.id > $1 ORDER BY j.id LIMIT $2`;
const unbrokered = `${selectJobs} WHERE j.brokered_at_ms IS NULL AND j.cancel_requested_at_ms IS NULL AND j.state IN ('scheduled', 'waiting', 'leased')
  AND j.submitted_at_ms < $1 ORDER BY j.submitted_at_ms, j.ordinal LIMIT $2`;
const cancelling = `${selectJobs} WHERE j.cancel_requested_at_ms IS NOT NULL AND j.state IN ('scheduled', 'held', 'waiting', 'leased')
  AND j.cancel_requested_at_ms < $1 ORDER BY j.cancel_requested_at_ms, j.ordinal LIMIT $2`;
const urgent = `${selectJobs} WHERE j.state = 'waiting' AND j.priority > 50 ORDER BY j.priority DESC, j.submitted_at_ms, j.ordinal LIMIT $1`;
const preemptible = `${selectJobs} WHERE j.preemptible AND j.state = 'leased' ORDER BY j.priority, j.started_at_ms DESC, j.ordinal LIMIT $1`;
/**
 * Most jobs that are asked for are open: only the others are sent. Each is looked up by itself (`LIMIT`
 * keeps it so): for a thousand ids the planner would read the whole table, which took ten times as long.
 */
const endedAmong = `SELECT w.id, j.fence_floor FROM unnest($1::text[]) WITH ORDINALITY AS w(id, place)
  LEFT JOIN LATERAL (SELECT id, state, fence_floor FROM emp.jobs WHERE id = w.id LIMIT 1) j ON true
  WHERE j.id IS NULL OR j.state = ANY($2::text[]) ORDER BY w.place`;

type ListMethods =
  | 'getJob'
  | 'listJobs'
  | 'countJobs'
  | 'timeline'
  | 'openJobs'
  | 'unbrokeredJobs'
  | 'unfinishedCancels'
  | 'preemption'
  | 'endedAmong';

export function listMethods(db: Database): Pick<Records, ListMethods> {
  const jobs = async (text: string, values: Value[]) => (await db.query(text, values)).map(toJob);
  return {
    getJob: async (jobId) => (await readJobs(db, [jobId]))[0]?.job ?? null,
    listJobs: (options) => listJobs(db, options),
    countJobs: (filter) => countJobs(db, filter),
    // Runs are written with their transitions or after: read second, none is missing.
    timeline: async (jobId) => ({
      transitions: (await db.query(selectTransitions, [jobId])).map((row) => toTransition(jobId, row)),
      runs: (await db.query(selectRuns, [jobId])).map((row) => toRun(jobId, row)),
    }),
    openJobs: async ({ after, limit }) => jobs(openJobs, [after ?? '', checkLimit(limit, 10_000)]),
    unbrokeredJobs: async ({ olderThanMs, limit }) =>
      jobs(unbrokered, [olderThanMs, checkLimit(limit, 10_000)]),
    unfinishedCancels: async ({ olderThanMs, limit }) =>
      jobs(cancelling, [olderThanMs, checkLimit(limit, 10_000)]),
    preemption: async ({ limit }) => {
      const running = await jobs(preemptible, [checkLimit(limit)]);
      return { running, urgent: running.length === 0 ? [] : await jobs(urgent, [limit]) };
    },
    endedAmong: async (jobIds) => {
      const rows = await db.query<{ id: string; fence_floor: string | null }>(endedAmong, [
        jobIds,
        [...TERMINAL_STATES, 'held'],
      ]);
      return rows.map(({ id: jobId, fence_floor: floor }) => {
        return { jobId, fenceFloor: floor ?? zeroToken, known: floor !== null };
      });
    },
  };
}
