import type { Job } from '#protocol/job.ts';
import type { Limit, LimitedWork } from '#protocol/limit.ts';
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
import type { Database } from './database.ts';
import { readJob, stateIs } from './job-rows.ts';
import { changeJob, writeEntries } from './ledger.ts';

/** Limits, and how held jobs get in by them. */

const columns = 'SELECT name, document, actor, created_at_ms, updated_at_ms FROM limits';
const put = `INSERT INTO limits (name, document, actor, created_at_ms, updated_at_ms) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (name) DO UPDATE SET document = excluded.document, actor = excluded.actor, updated_at_ms = excluded.updated_at_ms`;
const removeRates = `DELETE FROM limit_rates WHERE key = ? OR (key > ? || '/' AND key < ? || '0')`;

const listLimits = (db: Database) => db.all(`${columns} ORDER BY name`).map(limitOf);

function putLimit(db: Database, saved: SavedLimit) {
  const row = db.get(`${columns} WHERE name = ?`, saved.name);
  if (row === undefined) checkLimits(Number(db.get('SELECT count(*) AS n FROM limits')?.n));
  const kept = keptLimit(row === undefined ? null : limitOf(row), saved);
  db.run(put, kept.name, JSON.stringify(saved.definition), kept.actor, kept.createdAtMs, kept.updatedAtMs);
  if (isTighter(row === undefined ? null : limitOf(row), kept)) countAnew(db, kept);
  writeEntries(db, null, limitSavedFact(kept));
  return kept;
}

/** What runs counts from now on; what was let in before is let in again, under this limit, too. */
function countAnew(db: Database, limit: Limit): void {
  const { customer, pool, model } = namedBy(limit);
  const named = Object.entries({ customer, pool, affinity: model }).filter(([, value]) => value !== null);
  const where = named.map(([column]) => `AND ${column} = ?`).join(' ');
  const values = named.map(([, value]) => String(value));
  db.run(`UPDATE OR FAIL jobs SET limited = 0 WHERE limited = 1 AND state = 'waiting' ${where}`, ...values);
  db.run(`UPDATE OR FAIL jobs SET limited = 1 WHERE limited = 0 AND state = 'leased' ${where}`, ...values);
}

const isAdmitted = `limited = 1 AND ${stateIs('state', 'waiting', 'leased')}`;
const nextHeld = `SELECT customer, pool, affinity FROM jobs INDEXED BY jobs_held WHERE state = 'held'
  AND (customer, pool, affinity) > (?, ?, ?) ORDER BY customer, pool, affinity LIMIT 1`;
const admitted = `SELECT customer, pool, affinity, count(*) AS n FROM jobs INDEXED BY jobs_admitted WHERE ${isAdmitted}
  GROUP BY customer, pool, affinity`;
const nextDue = `SELECT min(not_before_ms) AS due_ms FROM jobs INDEXED BY jobs_held_due WHERE state = 'held'
  AND not_before_ms IS NOT NULL AND not_before_ms > ?`;

const toWork = (row: Record<string, unknown>): LimitedWork => ({
  customer: String(row.customer),
  pool: String(row.pool),
  model: String(row.affinity),
});

function heldWork(db: Database, after: LimitedWork | null, limit: number): LimitedWork[] {
  const found: LimitedWork[] = [];
  let last = after ?? { customer: '', pool: '', model: '' };
  while (found.length < limit) {
    const row = db.get(nextHeld, last.customer, last.pool, last.model);
    if (row === undefined) break;
    last = toWork(row);
    found.push(last);
  }
  return found;
}

function usedBy(db: Database, counted: Counted['with']): number {
  const { customer, pool, model } = counted;
  const named = Object.entries({ customer, pool, affinity: model }).filter(([, value]) => value !== null);
  const where = [isAdmitted, ...named.map(([column]) => `${column} = ?`)].join(' AND ');
  const values = named.map(([, value]) => String(value));
  return Number(
    db.get(`SELECT count(*) AS n FROM jobs INDEXED BY jobs_admitted WHERE ${where}`, ...values)?.n,
  );
}

const pausedCustomer = 'SELECT name FROM paused_customers WHERE name = ?';
const arrival = 'SELECT arrival_ms FROM limit_rates WHERE key = ?';
const putArrival =
  'INSERT INTO limit_rates (key, arrival_ms) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET arrival_ms = excluded.arrival_ms';
const forgetArrivals = 'DELETE FROM limit_rates WHERE arrival_ms < ?';

const admissible = `SELECT id FROM jobs INDEXED BY jobs_held WHERE state = 'held' AND customer = ? AND pool = ? AND affinity = ?
  AND cancel_requested_at_ms IS NULL AND (not_before_ms IS NULL OR not_before_ms <= ?)
  ORDER BY priority DESC, submitted_at_ms, ordinal LIMIT ?`;

function admitJobs(db: Database, options: Admission): Awaited<ReturnType<Records['admitJobs']>> {
  const { customer, pool, model, actor, nowMs } = options;
  if (db.get(pausedCustomer, customer) !== undefined) return { jobs: [], nextAtMs: null, isFull: true };
  const found = countedBy(listLimits(db), options).map((counted): Found => {
    const row = counted.limit.perMinute === undefined ? undefined : db.get(arrival, counted.key);
    return {
      ...counted,
      used: counted.limit.concurrent === undefined ? 0 : usedBy(db, counted.with),
      arrivalMs: row === undefined ? null : Number(row.arrival_ms),
    };
  });
  const limit = checkLimit(options.limit, admissionLimit);
  const room = admissionRoom(found, { limit, nowMs });
  const jobs = (room === 0 ? [] : db.all(admissible, customer, pool, model, nowMs, room)).map(({ id }) => {
    changeJob(db, String(id), (ledger) => admit(ledger, { limited: found.length > 0, actor, nowMs }));
    return readJob(db, String(id)) as Job;
  });
  const { arrivals, nextAtMs } = ratesAfter(found, { count: jobs.length, nowMs });
  for (const { key, arrivalMs } of arrivals) db.run(putArrival, key, arrivalMs);
  if (arrivals.length > 0) db.run(forgetArrivals, nowMs - rateAgeMs);
  return { jobs, nextAtMs, isFull: room === 0 };
}

type AdmissionMethods = 'putLimit' | 'removeLimit' | 'listLimits' | 'admissionView' | 'admitJobs';

export function admissionMethods(db: Database): Pick<Records, AdmissionMethods> {
  return {
    putLimit: (saved) => db.write(() => putLimit(db, saved)),
    removeLimit: (asked) =>
      db.write(() => {
        const { name } = asked;
        if (db.run('DELETE FROM limits WHERE name = ?', name) === 0) return false;
        db.run(removeRates, name, name, name);
        writeEntries(db, null, limitRemovedFact(asked));
        return true;
      }),
    listLimits: () => db.readOne(() => listLimits(db)),
    admissionView: ({ after, limit, nowMs }) =>
      db.read(() => ({
        held: heldWork(db, after, checkLimit(limit, 1_000)),
        admitted: db.all(admitted).map((row) => ({ ...toWork(row), count: Number(row.n) })),
        nextDueMs: (db.get(nextDue, nowMs)?.due_ms as number | null) ?? null,
      })),
    admitJobs: (options) => db.write(() => admitJobs(db, options), options.limit),
  };
}
