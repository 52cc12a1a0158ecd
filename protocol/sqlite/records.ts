import { type Clock, type Rng, sleep } from '#protocol/env.ts';
import type { Records } from '#protocol/records.ts';
import { admissionMethods } from './admissions.ts';
import { recorderMethods } from './broker-events.ts';
import { bulkMethods } from './bulks.ts';
import { Database } from './database.ts';
import { eventMethods } from './events.ts';
import { exitMethods } from './exits.ts';
import { isBusy, sqliteFailure } from './failures.ts';
import { hubMethods } from './hubs.ts';
import { listMethods } from './job-lists.ts';
import { machineMethods } from './machines.ts';
import { migrate, migrationsFolder } from './migrate.ts';
import { modelMethods } from './models.ts';
import { pauseMethods } from './pauses.ts';
import { retentionMethods } from './retention.ts';
import { runMethods } from './runs.ts';
import { scheduleMethods } from './schedules.ts';
import { singletonMethods } from './singletons.ts';
import { submitMethods } from './submits.ts';
import { waitingMethods } from './waiting.ts';

export interface SqliteRecordsOptions {
  /** File of the store, made if absent (its folder must exist); `:memory:` for tests. */
  path: string;
  clock: Clock;
  /** Draws the secrets of `secret(name)`: a source that nobody can foretell. */
  rng: Rng;
  /**
   * Calls `fn` once, after the I/O callbacks of this turn of the event loop; commits asked for until
   * then share one transaction. The default is a microtask in memory and `clock.setTimeout(fn, 0)`
   * for a file; a process that waits for I/O passes its `setImmediate`, which costs no ms.
   */
  nextTurn?: (fn: () => void) => void;
  /** How long a commit waits for the lock of another process before `RECORDS_UNAVAILABLE`, ms. */
  lockWaitMs?: number;
  /** Largest size of the file, bytes: past it commits are refused as on a full disk. SQLite's own limit by default. */
  limitBytes?: number;
  /** Tests of upgrades bring their own. */
  migrations?: string;
}

/** Pages of 4 KiB that the log may have before SQLite copies them into the file. */
const checkpointPages = 4_000;
const cacheKib = 32_768;

const pageBytes = 4_096;

const settings = (durable: boolean, limitBytes: number | undefined) => `
  ${durable ? 'PRAGMA journal_mode = WAL;' : ''}
  PRAGMA synchronous = FULL;
  PRAGMA foreign_keys = ON;
  PRAGMA wal_autocheckpoint = ${checkpointPages};
  PRAGMA journal_size_limit = 67108864;
  PRAGMA cache_size = -${cacheKib};
  PRAGMA temp_store = MEMORY;
  ${limitBytes === undefined ? '' : `PRAGMA max_page_count = ${Math.max(1, Math.floor(limitBytes / pageBytes))};`}`;

/** Switching a new file to WAL needs it alone for a moment: who opens it together takes turns. */
async function applySettings(
  db: Database,
  options: { sql: string; clock: Clock; lockWaitMs: number },
): Promise<void> {
  const deadlineMs = options.clock.monotonic() + options.lockWaitMs;
  for (;;) {
    try {
      return db.exec(options.sql);
    } catch (error) {
      if (!isBusy(error) || options.clock.monotonic() >= deadlineMs) throw error;
      await sleep(options.clock, 25);
    }
  }
}

/**
 * Records in one SQLite file: for `emp dev`, one machine, tests. An answer comes after the commit has
 * reached the disk (WAL, synchronous FULL). Several processes may open one file; they take turns.
 * Throws `RECORDS_UNAVAILABLE` where the file cannot be used and `CONFIG_INVALID` where it is not
 * ours or was written by another version.
 */
export async function openSqliteRecords(options: SqliteRecordsOptions): Promise<Records> {
  const { path, clock } = options;
  const lockWaitMs = options.lockWaitMs ?? 5_000;
  const durable = path !== ':memory:';
  const nextTurn =
    options.nextTurn ?? (durable ? (fn: () => void) => void clock.setTimeout(fn, 0) : queueMicrotask);
  const db = new Database({ path, clock, nextTurn, lockWaitMs });
  const nowMs = () => clock.now();
  try {
    await applySettings(db, { sql: settings(durable, options.limitBytes), clock, lockWaitMs });
    await db.write(() => migrate(db, { folder: options.migrations ?? migrationsFolder, nowMs: nowMs() }));
  } catch (error) {
    db.close();
    throw sqliteFailure(error, path);
  }
  return {
    ...submitMethods(db),
    ...admissionMethods(db),
    ...waitingMethods(db),
    ...listMethods(db),
    ...exitMethods(db, nowMs),
    ...bulkMethods(db, nowMs),
    ...pauseMethods(db),
    ...retentionMethods(db, nowMs),
    ...runMethods(db),
    ...scheduleMethods(db, nowMs),
    ...recorderMethods(db, nowMs),
    ...eventMethods(db, nowMs),
    ...machineMethods(db, nowMs),
    ...modelMethods(db, nowMs),
    ...singletonMethods(db, { nowMs, rng: options.rng }),
    ...hubMethods(db, nowMs),
    ping: () =>
      db.write(() => {
        db.run(
          'INSERT INTO pings (id, at_ms) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at_ms = excluded.at_ms',
          nowMs(),
        );
      }),
    close: async () => db.close(),
  };
}
