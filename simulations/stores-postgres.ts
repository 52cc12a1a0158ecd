import pg from 'pg';
import { openPostgresRecords } from '#protocol/postgres/records.ts';
import type { Records } from '#protocol/records.ts';
import { systemClock } from '#runtime/env.ts';
import type { PostgresServer } from '#runtime/toolchain/postgres-server.ts';
import type { SimEnv } from './sim-env.ts';
import type { RecordsPart } from './stage.ts';
import type { StoreCalls } from './store-calls.ts';

/**
 * Statements find this function before the server's own of the same name, in this database alone: the
 * leases of singletons then end by the time of the stage. A sequence, because it is seen by every
 * session at once and leaves no dead rows.
 */
const stageClock = `
  CREATE SCHEMA stage;
  CREATE SEQUENCE stage.now_us;
  CREATE FUNCTION stage.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT to_timestamp(last_value / 1000000.0) FROM stage.now_us'`;

/**
 * Records in a database of their own on a real PostgreSQL, with a pool of connections for each client
 * and the clock of the stage as the server's.
 */
export async function postgresRecords(options: {
  server: PostgresServer;
  calls: StoreCalls;
  env: SimEnv;
}): Promise<RecordsPart> {
  const { server, calls, env } = options;
  const url = await server.database();
  const name = new URL(url).pathname.slice(1);
  await server.query(stageClock, name);
  await server.query(`ALTER DATABASE "${name}" SET search_path = stage, pg_catalog, public`);
  const time = new pg.Client({ connectionString: url });
  await time.connect();
  let told: { atMs: number; done: Promise<unknown> } = { atMs: Number.NaN, done: Promise.resolve() };
  const tellTime = async () => {
    const atMs = env.clock.now();
    if (told.atMs !== atMs)
      told = { atMs, done: time.query("SELECT setval('stage.now_us', $1)", [atMs * 1_000]) };
    await told.done;
  };
  const clients: Records[] = [];
  // One source for all clients: whichever makes the store's secret, it is that of the seed.
  const rng = env.rng.fork('records');
  return {
    async records() {
      // Pauses between tries are of the real server's time; rows carry the stage's.
      const clock = { ...systemClock, now: () => env.clock.now() };
      const opening = openPostgresRecords({ url, poolLimit: 4, clock, rng, log: env.log });
      const records = await calls.track(opening);
      clients.push(records);
      return calls.watched(onTime(records, tellTime));
    },
    async close() {
      for (const records of clients) await records.close();
      await time.end();
    },
  };
}

/** Every call begins by telling the server what time it is. */
function onTime(records: Records, tellTime: () => Promise<void>): Records {
  return new Proxy(records, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name, target);
      if (typeof method !== 'function') return method;
      return async (...args: unknown[]) => {
        await tellTime();
        return await method.apply(target, args);
      };
    },
  });
}
