import type { Clock, Log, Rng } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { Records } from '#protocol/records.ts';
import { admissionMethods } from './admissions.ts';
import { recorderMethods } from './broker-events.ts';
import { bulkMethods } from './bulks.ts';
import { Database } from './database.ts';
import { eventMethods } from './events.ts';
import { exitMethods } from './exits.ts';
import { storeClosed } from './failures.ts';
import { GroupCommit } from './group-commit.ts';
import { hubMethods } from './hubs.ts';
import { listMethods } from './job-lists.ts';
import { machineMethods } from './machines.ts';
import { migrate, migrationsFolder } from './migrate.ts';
import { modelMethods } from './models.ts';
import { pauseMethods } from './pauses.ts';
import { postgresTarget } from './postgres-url.ts';
import { retentionMethods } from './retention.ts';
import { runMethods } from './runs.ts';
import { scheduleMethods } from './schedules.ts';
import { singletonMethods } from './singletons.ts';
import { submitMethods } from './submits.ts';
import { waitingMethods } from './waiting.ts';

export interface PostgresRecordsOptions {
  /** `postgresql://user:password@host:port/database`, with `?sslmode=verify-full&sslrootcert=FILE` for TLS: docs/postgres.md. */
  url: string;
  /**
   * Connections that this process may hold, 4 to 200. Lower: reads and commits wait for each other.
   * Higher: the server's `max_connections` is reached with fewer hubs.
   */
  poolLimit?: number;
  /** Longest time to get a connection before `RECORDS_UNAVAILABLE`, ms. */
  connectLimitMs?: number;
  /** Longest time of one statement before the server gives it up, ms. */
  statementLimitMs?: number;
  /** Longest wait for a row that another session has locked, ms. */
  lockLimitMs?: number;
  clock: Clock;
  /** Draws the secrets of `secret(name)`: a source that nobody can foretell. */
  rng: Rng;
  log: Log;
  /** Tests of upgrades bring their own. */
  migrations?: string;
}

function checkRange(name: keyof PostgresRecordsOptions, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  const detail = `${name} is a whole number from ${least} to ${most}`;
  throw new EmpError('CONFIG_INVALID', { detail, errors: [{ pointer: `/${name}`, detail }] });
}

const ping =
  'INSERT INTO emp.pings (id, at_ms) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at_ms = excluded.at_ms';

/**
 * Records in a PostgreSQL 15+ database, in its schema `emp`: for several hubs. An answer comes after
 * the commit has reached the server's disk. Brings the schema up to date before it resolves. Throws
 * `RECORDS_UNAVAILABLE` where the server does not answer and `CONFIG_INVALID` where the URL, the server
 * or the schema cannot be used.
 */
export async function openPostgresRecords(options: PostgresRecordsOptions): Promise<Records> {
  const { clock, rng, log } = options;
  const target = postgresTarget(options.url);
  const connectLimitMs = checkRange('connectLimitMs', options.connectLimitMs ?? 5_000, 100, 120_000);
  const db = new Database({
    target,
    poolLimit: checkRange('poolLimit', options.poolLimit ?? 10, 4, 200),
    connectLimitMs,
    statementLimitMs: checkRange('statementLimitMs', options.statementLimitMs ?? 15_000, 100, 600_000),
    lockLimitMs: checkRange('lockLimitMs', options.lockLimitMs ?? 5_000, 10, 600_000),
    clock,
    rng: rng.fork('retries'),
    log,
  });
  const nowMs = () => clock.now();
  const folder = options.migrations ?? migrationsFolder;
  await migrate({ target, folder, connectLimitMs, nowMs: nowMs() });
  const commits = new GroupCommit(db);
  const methods: Omit<Records, 'close'> = {
    ...submitMethods(commits),
    ...admissionMethods(db),
    ...waitingMethods(db),
    ...listMethods(db),
    ...exitMethods(db, commits),
    ...bulkMethods(db),
    ...pauseMethods(db),
    ...retentionMethods(db),
    ...runMethods(db),
    ...scheduleMethods(db),
    ...recorderMethods(db),
    ...eventMethods(db),
    ...machineMethods(db, nowMs),
    ...modelMethods(db, nowMs),
    ...singletonMethods(db, rng),
    ...hubMethods(db),
    ping: async () => {
      await db.transaction((tx) => tx.query(ping, [nowMs()]));
    },
  };
  return closable(methods, db);
}

/** Close answers what was asked before, refuses what comes after, and then ends the connections. */
function closable(methods: Omit<Records, 'close'>, db: Database): Records {
  const underWay = new Set<Promise<unknown>>();
  let closing: Promise<void> | null = null;
  const track = (call: Promise<unknown>): Promise<unknown> => {
    underWay.add(call);
    const forget = () => underWay.delete(call);
    call.then(forget, forget);
    return call;
  };
  const guarded = Object.entries(methods as Record<string, (...args: unknown[]) => Promise<unknown>>).map(
    ([name, method]) => {
      const call = (...args: unknown[]) =>
        closing === null ? track(method(...args)) : Promise.reject(storeClosed(db.store));
      return [name, call] as const;
    },
  );
  const end = async () => {
    await Promise.allSettled(underWay);
    await db.close();
  };
  return {
    ...(Object.fromEntries(guarded) as unknown as Omit<Records, 'close'>),
    close: () => {
      closing ??= end();
      return closing;
    },
  };
}
