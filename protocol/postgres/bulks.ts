import type { Bulk } from '#protocol/bulk.ts';
import { checkLimit } from '#protocol/page-cursor.ts';
import type { Fenced, Records } from '#protocol/records.ts';
import { bulkEnded, bulkOf, bulkStarted, checkBulks } from '#protocol/records-bulks.ts';
import type { Database, Transaction } from './database.ts';
import { writeEntries } from './ledgers.ts';
import { leaseHolds } from './singletons.ts';

const columns = 'SELECT document, state, done, refused, cursor, updated_at_ms FROM emp.bulks';
/** Two that begin at once take turns: the limit holds. */
const lock = 'LOCK TABLE emp.bulks IN SHARE ROW EXCLUSIVE MODE';
const insert = `INSERT INTO emp.bulks (id, document, state, done, refused, updated_at_ms)
  VALUES ($1, $2, $3, $4, $5, $6)`;
const advance = `UPDATE emp.bulks SET done = done + $1, refused = refused + $2, cursor = $3, updated_at_ms = $4,
  state = CASE WHEN $3::text IS NULL THEN 'done' ELSE state END WHERE id = $5 AND state = 'running'
  RETURNING document, state, done, refused, cursor, updated_at_ms`;
const abort = `UPDATE emp.bulks SET state = 'aborted', updated_at_ms = $1 WHERE id = $2 AND state = 'running'
  RETURNING document, state, done, refused, cursor, updated_at_ms`;

async function putBulk(tx: Transaction, bulk: Bulk): Promise<void> {
  await tx.query(lock);
  const [running] = await tx.query("SELECT count(*)::int AS n FROM emp.bulks WHERE state = 'running'");
  checkBulks(Number(running?.n));
  const { state, done, refused, updatedAtMs } = bulk;
  await tx.query(insert, [bulk.id, JSON.stringify(bulk), state, done, refused, updatedAtMs]);
  await writeEntries(tx, bulkStarted(bulk));
}

async function advanceBulk(
  tx: Transaction,
  asked: Parameters<Records['advanceBulk']>[0],
): Promise<Fenced<boolean>> {
  if (!(await leaseHolds(tx, asked.lease))) return { kind: 'staleSingleton' };
  const { id, done, refused, cursor, nowMs } = asked;
  const [row] = await tx.query(advance, [done, refused, cursor, nowMs, id]);
  if (row === undefined) return { kind: 'ok', value: false };
  if (cursor === null) await writeEntries(tx, bulkEnded({ ...bulkOf(row), state: 'done', nowMs }));
  return { kind: 'ok', value: true };
}

type BulkMethods = 'putBulk' | 'getBulk' | 'listBulks' | 'runningBulks' | 'advanceBulk' | 'abortBulk';

export function bulkMethods(db: Database): Pick<Records, BulkMethods> {
  return {
    putBulk: (bulk) => db.transaction((tx) => putBulk(tx, bulk)),
    getBulk: async (id) => {
      const [row] = await db.query(`${columns} WHERE id = $1`, [id]);
      return row === undefined ? null : bulkOf(row);
    },
    listBulks: async ({ limit }) =>
      (await db.query(`${columns} ORDER BY number DESC LIMIT $1`, [checkLimit(limit, 1_000)])).map(bulkOf),
    runningBulks: async () =>
      (await db.query(`${columns} WHERE state = 'running' ORDER BY number`)).map((row) => ({
        ...bulkOf(row),
        cursor: row.cursor as string | null,
      })),
    advanceBulk: (asked) => db.transaction((tx) => advanceBulk(tx, asked)),
    abortBulk: (asked) =>
      db.transaction(async (tx) => {
        const [row] = await tx.query(abort, [asked.nowMs, asked.id]);
        if (row === undefined) return false;
        await writeEntries(tx, bulkEnded({ ...bulkOf(row), ...asked, state: 'aborted' }));
        return true;
      }),
  };
}
