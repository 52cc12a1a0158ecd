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
import type { Database } from './database.ts';

/** Which hubs share this store. */

const columns = 'hub_id, run, url, version, broker, started_at_ms, until_ms, ttl_ms';

const putHub = `INSERT INTO hubs (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hub_id) DO UPDATE SET
  run = excluded.run, url = excluded.url, version = excluded.version, broker = excluded.broker,
  started_at_ms = excluded.started_at_ms,
  until_ms = excluded.until_ms, ttl_ms = excluded.ttl_ms`;

function living(db: Database, nowMs: number) {
  const rows = db.all(
    `SELECT ${columns} FROM hubs WHERE until_ms > ? ORDER BY hub_id LIMIT ?`,
    nowMs,
    hubsLimit,
  );
  return rows
    .map(readHub)
    .filter((row) => hubStands(row, nowMs))
    .map(hubRow);
}

export function hubMethods(
  db: Database,
  now: () => number,
): Pick<Records, 'registerHub' | 'listHubs' | 'unregisterHub'> {
  return {
    registerHub: (wanted) =>
      db.write(() => {
        checkHub(wanted);
        const nowMs = now();
        const found = db.get(`SELECT ${columns} FROM hubs WHERE hub_id = ?`, wanted.hubId);
        const next = decideHub(found ? readHub(found) : null, wanted, nowMs);
        if (next === null) return { kind: 'superseded' };
        const { hubId, run, url, version, broker, startedAtMs, untilMs, ttlMs } = next;
        db.run(putHub, hubId, run, url, version, broker, startedAtMs, untilMs, ttlMs);
        if (wanted.run === null) db.run('DELETE FROM hubs WHERE until_ms < ?', nowMs - hubKeptMs);
        return { kind: 'registered', run, hubs: living(db, nowMs) };
      }),

    listHubs: () => db.readOne(() => living(db, now())),

    unregisterHub: ({ hubId, run }) =>
      db.write(() => {
        db.run('UPDATE hubs SET until_ms = min(until_ms, ?) WHERE hub_id = ? AND run = ?', now(), hubId, run);
      }),
  };
}
