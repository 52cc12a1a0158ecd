import type { Records } from '#protocol/records.ts';
import {
  checkHub,
  decideHub,
  hubKeptMs,
  hubRow,
  hubStands,
  hubsLimit,
  readHub,
} from '#protocol/records-hubs.ts';
import type { Database, Transaction } from './database.ts';

/** Which hubs share this store, by the server's clock. */

const columns = 'hub_id, run, url, version, broker, started_at_ms, until_ms, ttl_ms';

const now = 'extract(epoch FROM clock_timestamp())::double precision * 1000';

/** The clock is read after the lock was got: a wait for it counts. */
const lockHub = `WITH held AS MATERIALIZED (SELECT ${columns} FROM emp.hubs WHERE hub_id = $1 FOR NO KEY UPDATE)
  SELECT held.*, ${now} AS now_ms FROM held`;
/** A row that never ran: it gives two first starts something to lock. */
const prepare = `INSERT INTO emp.hubs (${columns}) VALUES ($1, 0, NULL, '', NULL, 0, 0, 0) ON CONFLICT (hub_id) DO NOTHING`;
const write =
  'UPDATE emp.hubs SET run = $2, url = $3, version = $4, broker = $5, started_at_ms = $6, until_ms = $7, ttl_ms = $8 WHERE hub_id = $1';
const list = `SELECT ${columns} FROM emp.hubs WHERE until_ms > $1 ORDER BY hub_id LIMIT $2`;
const listNow = `SELECT ${columns}, ${now} AS now_ms FROM emp.hubs WHERE until_ms > ${now} ORDER BY hub_id LIMIT $1`;
const forget = 'DELETE FROM emp.hubs WHERE until_ms < $1';
const end = `UPDATE emp.hubs SET until_ms = least(until_ms, ${now})
  WHERE hub_id = $1 AND run = $2`;

type Answer = Awaited<ReturnType<Records['registerHub']>>;

async function register(tx: Transaction, wanted: Parameters<Records['registerHub']>[0]): Promise<Answer> {
  let [locked] = await tx.query(lockHub, [wanted.hubId]);
  if (!locked) {
    await tx.query(prepare, [wanted.hubId]);
    [locked] = await tx.query(lockHub, [wanted.hubId]);
  }
  if (!locked) throw new Error(`hub ${wanted.hubId} has no row`);
  const nowMs = Number(locked.now_ms);
  const next = decideHub(readHub(locked), wanted, nowMs);
  if (next === null) return { kind: 'superseded' };
  const { hubId, run, url, version, broker, startedAtMs, untilMs, ttlMs } = next;
  await tx.query(write, [hubId, run, url, version, broker, startedAtMs, untilMs, ttlMs]);
  const rows = (await tx.query(list, [nowMs, hubsLimit])).map(readHub);
  return { kind: 'registered', run, hubs: rows.filter((row) => hubStands(row, nowMs)).map(hubRow) };
}

export function hubMethods(db: Database): Pick<Records, 'registerHub' | 'listHubs' | 'unregisterHub'> {
  return {
    registerHub: async (wanted) => {
      checkHub(wanted);
      const answer = await db.transaction((tx) => register(tx, wanted));
      // Apart: it locks the rows of others, and a start must not wait in a circle with theirs.
      if (wanted.run === null && answer.kind === 'registered')
        await db.transaction((tx) => tx.query(forget, [answer.run - hubKeptMs]));
      return answer;
    },
    listHubs: async () => {
      const rows = await db.query(listNow, [hubsLimit]);
      return rows
        .filter((row) => hubStands(readHub(row), Number(row.now_ms)))
        .map((row) => hubRow(readHub(row)));
    },
    unregisterHub: async ({ hubId, run }) => {
      await db.transaction((tx) => tx.query(end, [hubId, run]));
    },
  };
}
