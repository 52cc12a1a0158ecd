import type { Bulk } from '#protocol/bulk.ts';
import { checkLimit } from '#protocol/page-cursor.ts';
import type { Fenced, Records } from '#protocol/records.ts';
import { bulkEnded, bulkOf, bulkStarted, checkBulks } from '#protocol/records-bulks.ts';
import type { Database } from './database.ts';
import { writeEntries } from './ledger.ts';
import { leaseHolds } from './singletons.ts';

const columns = 'SELECT document, state, done, refused, cursor, updated_at_ms FROM bulks';
const insert =
  'INSERT INTO bulks (id, document, state, done, refused, updated_at_ms) VALUES (?, ?, ?, ?, ?, ?)';
const advance = `UPDATE bulks SET done = done + ?, refused = refused + ?, cursor = ?, updated_at_ms = ?,
  state = CASE WHEN ? IS NULL THEN 'done' ELSE state END WHERE id = ? AND state = 'running'`;
const abort = "UPDATE bulks SET state = 'aborted', updated_at_ms = ? WHERE id = ? AND state = 'running'";

const find = (db: Database, id: string): Bulk | null => {
  const row = db.get(`${columns} WHERE id = ?`, id);
  return row === undefined ? null : bulkOf(row);
};

function putBulk(db: Database, bulk: Bulk): void {
  checkBulks(Number(db.get("SELECT count(*) AS n FROM bulks WHERE state = 'running'")?.n));
  const { state, done, refused, updatedAtMs } = bulk;
  db.run(insert, bulk.id, JSON.stringify(bulk), state, done, refused, updatedAtMs);
  writeEntries(db, null, bulkStarted(bulk));
}

function advanceBulk(
  db: Database,
  asked: Parameters<Records['advanceBulk']>[0],
  nowMs: number,
): Fenced<boolean> {
  if (!leaseHolds(db, asked.lease, nowMs)) return { kind: 'staleSingleton' };
  const { id, cursor } = asked;
  if (db.run(advance, asked.done, asked.refused, cursor, asked.nowMs, cursor, id) === 0)
    return { kind: 'ok', value: false };
  const bulk = find(db, id);
  if (cursor === null && bulk !== null)
    writeEntries(db, null, bulkEnded({ ...bulk, state: 'done', nowMs: asked.nowMs }));
  return { kind: 'ok', value: true };
}

type BulkMethods = 'putBulk' | 'getBulk' | 'listBulks' | 'runningBulks' | 'advanceBulk' | 'abortBulk';

export function bulkMethods(db: Database, nowMs: () => number): Pick<Records, BulkMethods> {
  return {
    putBulk: (bulk) => db.write(() => putBulk(db, bulk)),
    getBulk: (id) => db.readOne(() => find(db, id)),
    listBulks: ({ limit }) =>
      db.readOne(() =>
        db.all(`${columns} ORDER BY number DESC LIMIT ?`, checkLimit(limit, 1_000)).map(bulkOf),
      ),
    runningBulks: () =>
      db.readOne(() =>
        db
          .all(`${columns} WHERE state = 'running' ORDER BY number`)
          .map((row) => ({ ...bulkOf(row), cursor: row.cursor as string | null })),
      ),
    advanceBulk: (asked) => db.write(() => advanceBulk(db, asked, nowMs())),
    abortBulk: (asked) =>
      db.write(() => {
        if (db.run(abort, asked.nowMs, asked.id) === 0) return false;
        const bulk = find(db, asked.id);
        if (bulk !== null) writeEntries(db, null, bulkEnded({ ...bulk, ...asked, state: 'aborted' }));
        return true;
      }),
  };
}
