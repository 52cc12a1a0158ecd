import type { Job } from '#protocol/job.ts';
import { newEntries } from '#protocol/ledger.ts';
import type { LimitedWork } from '#protocol/limit.ts';
import { checkLimit } from '#protocol/page-cursor.ts';
import type { Records } from '#protocol/records.ts';
import {
  type Admission,
  admissionLimit,
  admissionRoom,
  type Counted,
  checkLimits,
  countedBy,
  type Found,
  isTighter,
  keptLimit,
  limitOf,
  limitRemovedFact,
  limitSavedFact,
  namedBy,
  rateAgeMs,
  ratesAfter,
  type SavedLimit,
} from '#protocol/records-admissions.ts';
import { admit } from '#protocol/records-submits.ts';
import type { Database, Row, Transaction } from './database.ts';
import { readJobs } from './job-rows.ts';
import { holdJobs, writeEntries, writeJobs } from './ledgers.ts';

/** Limits, and how held jobs get in by them. */

const columns = 'SELECT name, document, actor, created_at_ms, updated_at_ms FROM emp.limits';
const put = `INSERT INTO emp.limits (name, document, actor, created_at_ms, updated_at_ms) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (name) DO UPDATE SET document = excluded.document, actor = excluded.actor, updated_at_ms = excluded.updated_at_ms`;
const remove = 'DELETE FROM emp.limits WHERE name = $1 RETURNING name';
const removeRates = `DELETE FROM emp.limit_rates WHERE key = $1 OR starts_with(key, $1 || '/')`;

/** In the order in which all who hold several rows take them. */
const countAnew = `UPDATE emp.jobs SET limited = (state = 'leased') WHERE ordinal IN (SELECT ordinal FROM emp.jobs
  WHERE (state = 'leased' AND NOT limited OR state = 'waiting' AND limited) AND customer = coalesce($1, customer) AND pool = coalesce($2, pool) AND affinity = coalesce($3, affinity)
  ORDER BY id FOR NO KEY UPDATE)`;

async function putLimit(tx: Transaction, saved: SavedLimit) {
  await tx.query(holdLimits);
  const all = (await tx.query(columns)).map(limitOf);
  const before = all.find(({ name }) => name === saved.name) ?? null;
  if (before === null) checkLimits(all.length);
  const kept = keptLimit(before, saved);
  const { name, actor, createdAtMs, updatedAtMs } = kept;
  await tx.query(put, [name, JSON.stringify(saved.definition), actor, createdAtMs, updatedAtMs]);
  if (isTighter(before, kept)) {
    const { customer, pool, model } = namedBy(kept);
    await tx.query(countAnew, [customer, pool, model]);
  }
  await writeEntries(tx, limitSavedFact(kept));
  return kept;
}

const isAdmitted = `limited AND state IN ('waiting', 'leased')`;
/** From one to the next by the index: there may be a hundred thousand jobs of each. */
const heldWork = `WITH RECURSIVE work AS (
  (SELECT customer, pool, affinity FROM emp.jobs WHERE state = 'held' AND (customer, pool, affinity) > ($1, $2, $3)
    ORDER BY customer, pool, affinity LIMIT 1)
  UNION ALL
  SELECT n.* FROM work w CROSS JOIN LATERAL (
    SELECT j.customer, j.pool, j.affinity FROM emp.jobs j WHERE j.state = 'held'
      AND (j.customer, j.pool, j.affinity) > (w.customer, w.pool, w.affinity)
    ORDER BY j.customer, j.pool, j.affinity LIMIT 1) n
) SELECT customer, pool, affinity FROM work LIMIT $4`;
const admitted = `SELECT customer, pool, affinity, count(*)::integer AS n FROM emp.jobs WHERE ${isAdmitted}
  GROUP BY customer, pool, affinity`;
const nextDue = `SELECT min(not_before_ms) AS due_ms FROM emp.jobs WHERE state = 'held' AND not_before_ms IS NOT NULL
  AND not_before_ms > $1`;

const toWork = (row: Row): LimitedWork => ({
  customer: String(row.customer),
  pool: String(row.pool),
  model: String(row.affinity),
});

/** Definitions do not change under an admission: whoever saves or removes one waits, and the next reads it. */
const shareLimits = 'SELECT pg_advisory_xact_lock_shared(7218, 0)';
const holdLimits = 'SELECT pg_advisory_xact_lock(7218, 0)';
/**
 * Whoever admits what counts together takes turns until the commit, so that each sees what the one before
 * let in. In one order everywhere.
 */
const lockKeys = `SELECT pg_advisory_xact_lock(7217, h) FROM
  (SELECT DISTINCT hashtext(key) AS h FROM json_array_elements_text($1) AS key ORDER BY h) AS hashes`;
const pausedCustomer = 'SELECT name FROM emp.paused_customers WHERE name = $1';
const rates =
  'SELECT key, arrival_ms FROM emp.limit_rates WHERE key IN (SELECT json_array_elements_text($1))';
const putRates = `INSERT INTO emp.limit_rates (key, arrival_ms)
  SELECT key, "arrivalMs" FROM json_to_recordset($1) AS x(key text, "arrivalMs" double precision)
  ON CONFLICT (key) DO UPDATE SET arrival_ms = excluded.arrival_ms`;
/** Others may be writing theirs: what is locked is left for another time. */
const forgetRates = `DELETE FROM emp.limit_rates WHERE key IN (SELECT key FROM emp.limit_rates WHERE arrival_ms < $1
  ORDER BY arrival_ms LIMIT 100 FOR UPDATE SKIP LOCKED)`;

async function usedBy(tx: Transaction, counted: Counted['with']): Promise<number> {
  const { customer, pool, model } = counted;
  const named = Object.entries({ customer, pool, affinity: model }).filter(([, value]) => value !== null);
  const where = [isAdmitted, ...named.map(([column], n) => `${column} = $${n + 1}`)].join(' AND ');
  const values = named.map(([, value]) => String(value));
  const [row] = await tx.query(`SELECT count(*)::integer AS n FROM emp.jobs WHERE ${where}`, values);
  return Number(row?.n);
}

async function findRoom(tx: Transaction, options: Admission): Promise<Found[]> {
  await tx.query(shareLimits);
  const named = countedBy((await tx.query(columns)).map(limitOf), options);
  if (named.length > 0) await tx.query(lockKeys, [JSON.stringify(named.map(({ key }) => key))]);
  const kept = await tx.query(rates, [JSON.stringify(named.map(({ key }) => key))]);
  const arrivals = new Map(kept.map((row) => [row.key, Number(row.arrival_ms)]));
  const found: Found[] = [];
  for (const counted of named) {
    const used = counted.limit.concurrent === undefined ? 0 : await usedBy(tx, counted.with);
    found.push({ ...counted, used, arrivalMs: arrivals.get(counted.key) ?? null });
  }
  return found;
}

const admissible = `SELECT id FROM emp.jobs WHERE state = 'held' AND customer = $1 AND pool = $2 AND affinity = $3
  AND cancel_requested_at_ms IS NULL AND (not_before_ms IS NULL OR not_before_ms <= $4)
  ORDER BY priority DESC, submitted_at_ms, ordinal LIMIT $5`;

async function letIn(tx: Transaction, asked: Admission & { room: number; limited: boolean }): Promise<Job[]> {
  const { customer, pool, model, room, nowMs } = asked;
  if (room === 0) return [];
  const rows = await tx.query<{ id: string }>(admissible, [customer, pool, model, nowMs, room]);
  const ids = rows.map((row) => row.id);
  const entries = newEntries();
  const held = await holdJobs(tx, ids, entries);
  // Cancelled, or let in where no limit counts it, between the two statements: passed over.
  const isOurs = (id: string) => {
    const row = held.get(id)?.ledger.row;
    return row?.state === 'held' && row.cancelRequestedAtMs === null;
  };
  const ours = ids.filter(isOurs);
  for (const id of ours) {
    const job = held.get(id);
    if (job) admit(job.ledger, asked);
  }
  await writeJobs(tx, held, entries);
  const jobs = new Map((await readJobs(tx, ours)).map(({ job }) => [job.id, job]));
  return ours.flatMap((id) => jobs.get(id) ?? []);
}

async function admitJobs(
  tx: Transaction,
  options: Admission,
): Promise<Awaited<ReturnType<Records['admitJobs']>>> {
  const { nowMs } = options;
  if ((await tx.query(pausedCustomer, [options.customer])).length > 0)
    return { jobs: [], nextAtMs: null, isFull: true };
  const found = await findRoom(tx, options);
  const limit = checkLimit(options.limit, admissionLimit);
  const room = admissionRoom(found, { limit, nowMs });
  const jobs = await letIn(tx, { ...options, room, limited: found.length > 0 });
  const { arrivals, nextAtMs } = ratesAfter(found, { count: jobs.length, nowMs });
  if (arrivals.length > 0) {
    await tx.query(putRates, [JSON.stringify(arrivals)]);
    await tx.query(forgetRates, [nowMs - rateAgeMs]);
  }
  return { jobs, nextAtMs, isFull: room === 0 };
}

type AdmissionMethods = 'putLimit' | 'removeLimit' | 'listLimits' | 'admissionView' | 'admitJobs';

export function admissionMethods(db: Database): Pick<Records, AdmissionMethods> {
  return {
    putLimit: (saved) => db.transaction((tx) => putLimit(tx, saved)),
    removeLimit: (asked) =>
      db.transaction(async (tx) => {
        await tx.query(holdLimits);
        if ((await tx.query(remove, [asked.name])).length === 0) return false;
        await tx.query(removeRates, [asked.name]);
        await writeEntries(tx, limitRemovedFact(asked));
        return true;
      }),
    listLimits: async () => (await db.query(`${columns} ORDER BY name`)).map(limitOf),
    admissionView: async ({ after, limit, nowMs }) => {
      const { customer, pool, model } = after ?? { customer: '', pool: '', model: '' };
      const [held, counts, [due]] = await Promise.all([
        db.query(heldWork, [customer, pool, model, checkLimit(limit, 1_000)]),
        db.query(admitted),
        db.query(nextDue, [nowMs]),
      ]);
      return {
        held: held.map(toWork),
        admitted: counts.map((row) => ({ ...toWork(row), count: Number(row.n) })),
        nextDueMs: (due?.due_ms as number | null) ?? null,
      };
    },
    admitJobs: (options) => db.transaction((tx) => admitJobs(tx, options)),
  };
}
