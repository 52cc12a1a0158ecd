import { afterAll, beforeAll } from 'vitest';
import { recordsConformance } from '#protocol/records.conformance.ts';
import { systemClock } from '#runtime/env.ts';
import { type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { openPostgresRecords } from './records.ts';

let server: PostgresServer;
let url: string;
const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const open = () =>
  openPostgresRecords({ url, poolLimit: 6, clock: systemClock, rng: seededRng('secrets'), log: quiet });
const database = 'model_1';

beforeAll(async () => {
  server = await startPostgres();
  await server.query('CREATE DATABASE model');
  url = server.url('model');
  await (await open()).close();
  url = await server.database('model');
});
afterAll(() => server.close());

/** A new store for each test: every table but the history and the mark of `seq`, which begins anew. */
async function empty(): Promise<void> {
  const tables = await server.query(
    `SELECT string_agg('emp.' || tablename, ', ') AS names FROM pg_tables
      WHERE schemaname = 'emp' AND tablename NOT IN ('schema_migrations', 'event_marks')`,
    database,
  );
  const clear = `TRUNCATE ${tables[0]?.names} RESTART IDENTITY; UPDATE emp.event_marks SET value = 0`;
  await server.query(clear, database);
}

recordsConformance('postgres', async () => {
  await empty();
  const opened = [await open()];
  return {
    records: opened[0]!,
    another: async () => {
      const records = await open();
      opened.push(records);
      return records;
    },
    // The server's clock is not ours to set: to move every lease back is the same to who asks for one.
    elapse: async (ms) => {
      await server.query(`UPDATE emp.singletons SET until_ms = until_ms - ${ms}`, database);
      await server.query(`UPDATE emp.hubs SET until_ms = until_ms - ${ms}`, database);
    },
    close: async () => {
      await Promise.all(opened.map((records) => records.close()));
    },
  };
});
