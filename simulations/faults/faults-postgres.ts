import { missingSmallDisk, type PostgresServer } from '#runtime/toolchain/postgres-server.ts';
import type { Fault } from './fault.ts';
import { until } from './server-control.ts';

/** A PostgreSQL that runs and refuses: its disk is full, it became read-only, its sessions are ended. */

const readOnly: Fault = {
  name: 'postgres-read-only',
  summary:
    'PostgreSQL refuses every commit (default_transaction_read_only), as after a failover to a standby',
  holdMs: { min: 1_500, max: 6_000 },
  async inject({ cluster }) {
    const { postgres } = cluster;
    const set = async (value: 'on' | 'off') => {
      await postgres.query(`ALTER SYSTEM SET default_transaction_read_only = ${value}`);
      await postgres.query('SELECT pg_reload_conf()');
    };
    await set('on');
    return {
      detail: 'postgres is read-only',
      async heal() {
        await set('off');
        return 'postgres takes commits';
      },
    };
  },
};

const terminated: Fault = {
  name: 'postgres-sessions-ended',
  summary: 'every session of the hubs is ended in mid statement, again and again',
  holdMs: { min: 100, max: 300 },
  async inject({ cluster, rng }) {
    const times = rng.int(3, 10);
    let ended = 0;
    for (let time = 0; time < times; time++) {
      const [row] = await cluster.postgres.query(
        `SELECT count(pg_terminate_backend(pid))::int AS n FROM pg_stat_activity WHERE datname = '${cluster.database}'`,
      );
      ended += Number(row?.['n']);
    }
    return { detail: `ended ${ended} sessions in ${times} rounds`, heal: async () => 'nothing to undo' };
  },
};

const locked: Fault = {
  name: 'postgres-locked',
  summary: 'a foreign transaction holds the table of jobs past the limits of locks',
  holdMs: { min: 4_000, max: 8_000 },
  async inject({ cluster }) {
    const { postgres, database } = cluster;
    const name = 'chaos-lock';
    // One statement that keeps its transaction open until it is cancelled.
    const holding = postgres
      .query(
        `SET application_name = '${name}'; BEGIN; LOCK TABLE emp.jobs IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)`,
        database,
      )
      .then(
        () => 'it ended by itself',
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
    return {
      detail: 'locked the table of jobs',
      async heal() {
        await postgres.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '${name}'`,
        );
        return `ended the lock: ${await holding}`;
      },
    };
  },
};

/** The hubs' database lies on a disk of 48 MiB of its own; the log of the server does not. */
async function onSmallDisk(server: PostgresServer): Promise<string> {
  await server.query(`CREATE TABLESPACE small LOCATION '${server.folder}/small'`);
  await server.query('CREATE DATABASE small_store TABLESPACE small');
  return 'small_store';
}

const diskFull: Fault = {
  name: 'postgres-disk-full',
  summary: 'the disk of the database is full (53100): commits that need room are refused until there is some',
  holdMs: { min: 2_000, max: 5_000 },
  missing: missingSmallDisk,
  runsPerCluster: 4,
  cluster: { postgres: { durable: true, smallDisk: '48m' }, prepareDatabase: onSmallDisk },
  async inject({ cluster, note, clock }) {
    const { postgres, database } = cluster;
    await postgres.query('CREATE TABLE ballast (filler text)', database);
    let rows = 0;
    for (const count of [2_000, 100, 1]) {
      try {
        for (;;) {
          await postgres.query(
            `ALTER TABLE ballast ALTER filler SET STORAGE PLAIN; INSERT INTO ballast SELECT repeat('x', 7000) FROM generate_series(1, ${count})`,
            database,
          );
          rows += count;
        }
      } catch (error) {
        if ((error as { code?: string }).code !== '53100') throw error;
        note(`full at ${rows} rows of ballast: ${(error as Error).message}`);
      }
    }
    return {
      detail: `filled the disk of the database with ${rows} rows`,
      async heal() {
        // A new session may have to write a file of its own first, and be refused for want of room.
        await until(clock, { what: 'room for a session', limitMs: 30_000, everyMs: 100 }, async () => {
          await postgres.query('DROP TABLE IF EXISTS ballast', database);
          return true;
        });
        await postgres.query('CHECKPOINT');
        return 'dropped the ballast';
      },
    };
  },
};

export const postgresFaults: readonly Fault[] = [readOnly, terminated, locked, diskFull];
