import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync, StatementSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { hubOn, newJob, t0 } from '#protocol/records-fixture.conformance.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { migrationsFolder } from './migrate.ts';
import { openSqliteRecords } from './records.ts';

/** The file below the store: upgrades, refusals, and what goes wrong with disks and locks. */

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'emp-store-'));
  path = join(folder, 'records.db');
});
afterEach(() => rmSync(folder, { recursive: true }));

type Options = Partial<Omit<Parameters<typeof openSqliteRecords>[0], 'rng' | 'nextTurn'>>;

function open(over: Options = {}) {
  const { clock = new VirtualClock(), ...rest } = over;
  return openSqliteRecords({ path, clock, rng: seededRng('s'), nextTurn: queueMicrotask, ...rest });
}

const numbered = (number: number, what: string) => `${String(number).padStart(4, '0')}_${what}.sql`;
const next = readdirSync(migrationsFolder).length + 1;
const more = numbered(next, 'more');

/** Ours, with an extra migration at the end. */
function upgradedMigrations(sql: string): string {
  const copy = join(folder, 'migrations');
  cpSync(migrationsFolder, copy, { recursive: true });
  writeFileSync(join(copy, more), sql);
  return copy;
}

describe('migrations', () => {
  test('what is stored is there after closing and opening', async () => {
    const first = await open();
    const id = await hubOn(first).submit();
    await first.close();
    const second = await open();
    expect(await second.getJob(id)).toMatchObject({ id, state: 'waiting' });
    expect(await second.secret('key')).toHaveLength(43);
    await second.close();
  });

  test('an upgrade keeps what is there and is applied once', async () => {
    const first = await open();
    const id = await hubOn(first).submit();
    await first.close();
    const migrations = upgradedMigrations(
      'CREATE TABLE more (n INTEGER) STRICT; INSERT INTO more VALUES (1);',
    );
    for (const _ of [1, 2]) {
      const upgraded = await open({ migrations });
      expect(await upgraded.getJob(id)).toMatchObject({ id });
      await upgraded.close();
    }
    const plain = new DatabaseSync(path);
    expect(plain.prepare('SELECT count(*) AS n FROM more').get()).toEqual({ n: 1 });
    plain.close();
  });

  test('a store that a newer version wrote is refused and left as it is', async () => {
    await (await open({ migrations: upgradedMigrations('CREATE TABLE more (n INTEGER) STRICT;') })).close();
    const before = readFileSync(path);
    await expect(open()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`newer version of emp (migration ${more})`),
    });
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test('an edited migration is refused by name', async () => {
    const migrations = upgradedMigrations('CREATE TABLE more (n INTEGER) STRICT;');
    await (await open({ migrations })).close();
    writeFileSync(join(migrations, more), 'CREATE TABLE more (n INTEGER, m INTEGER) STRICT;');
    await expect(open({ migrations })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(more),
    });
  });

  test('a store of the first version is brought to the newest with what it holds', async () => {
    const first = join(folder, 'first');
    cpSync(migrationsFolder, first, { recursive: true });
    for (const name of readdirSync(first).filter((name) => name > '0001_records.sql'))
      rmSync(join(first, name));
    await (await open({ migrations: first })).close();
    // As that version wrote them.
    const old = new DatabaseSync(path);
    for (const [id, state] of [
      ['a', 'waiting'],
      ['b', 'held'],
    ] as const)
      old.exec(`INSERT INTO jobs (ordinal, id, state, service, pool, customer, group_id, affinity, priority, expected_ms,
          max_run_ms, max_attempts, submitted_at_ms, fingerprint)
        VALUES (NULL, '${id}', '${state}', 'simulation', 'standard', 'default', 'g', '-', 50, 1000, 60000, 3, ${t0}, 'f');
        INSERT INTO job_requests (job, document) VALUES (last_insert_rowid(),
          '{"payload":{},"inputs":[],"requirements":{},"labels":{},"models":[],"traceparent":"t"}');`);
    old.close();
    const upgraded = await open();
    await hubOn(upgraded).submit();
    expect(await upgraded.countJobs({})).toMatchObject({ waiting: 2, held: 1, dead: 0 });
    expect(await upgraded.openJobs({ after: null, limit: 10 })).toHaveLength(3);
    expect(await upgraded.unbrokeredJobs({ olderThanMs: t0 + 1, limit: 10 })).toHaveLength(2);
    await upgraded.close();
  });

  test('a migration that fails leaves the store in its old form', async () => {
    await (await open()).close();
    const migrations = upgradedMigrations(
      'CREATE TABLE half (n INTEGER) STRICT; CREATE TABLE jobs (n INTEGER) STRICT;',
    );
    await expect(open({ migrations })).rejects.toMatchObject({
      code: 'RECORDS_UNAVAILABLE',
      message: expect.stringContaining('already exists'),
    });
    const old = await open();
    await old.ping();
    await old.close();
  });

  test('migrations with a gap in their numbers are refused', async () => {
    const migrations = upgradedMigrations('SELECT 1;');
    cpSync(join(migrations, more), join(migrations, numbered(next + 2, 'gap')));
    await expect(open({ migrations })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(numbered(next + 2, 'gap')),
    });
  });

  test('many that open a new file at once all get the same store', async () => {
    const stores = await Promise.all(Array.from({ length: 5 }, () => open()));
    const id = await hubOn(stores[0]!).submit();
    for (const store of stores) expect(await store.getJob(id)).toMatchObject({ id });
    for (const store of stores) await store.close();
  });
});

describe('a file that cannot be used', () => {
  const refused = (text: string) => ({
    code: 'RECORDS_UNAVAILABLE',
    retryable: false,
    message: expect.stringContaining(text),
  });

  test('a folder that is not there is named', async () => {
    await expect(open({ path: join(folder, 'none', 'records.db') })).rejects.toMatchObject(
      refused('Create its folder'),
    );
  });

  test('a file that is no database is refused and left as it is', async () => {
    writeFileSync(path, 'these are my holiday notes, not a database at all\n'.repeat(100));
    await expect(open()).rejects.toMatchObject(refused('is not a record store'));
    expect(readFileSync(path, 'utf8')).toContain('holiday notes');
  });

  test('the database of another program is refused and left as it is', async () => {
    const other = new DatabaseSync(path);
    other.exec('CREATE TABLE bookmarks (url TEXT)');
    other.close();
    await expect(open()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('another program'),
    });
    const after = new DatabaseSync(path);
    expect(after.prepare('SELECT name FROM sqlite_schema').all()).toEqual([{ name: 'bookmarks' }]);
    after.close();
  });

  test('a damaged file is refused by what it is', async () => {
    const store = await open();
    await hubOn(store).submit({ payload: { text: 'x'.repeat(200_000) } });
    await store.close();
    const bytes = readFileSync(path);
    bytes.fill(0xab, 4_096, bytes.length);
    writeFileSync(path, bytes);
    const damaged = open().then(async (records) => {
      await records.listJobs({ filter: {}, limit: 10, cursor: null });
    });
    await expect(damaged).rejects.toMatchObject(refused('damaged'));
  });
});

test('a full store refuses with what to do, keeps what was committed, and goes on when there is room', async () => {
  const limitBytes = 600_000;
  const store = await open({ limitBytes });
  const kept = await hubOn(store).submit();
  const big = newJob({ payload: { text: 'x'.repeat(900_000) } });
  const small = [newJob(), newJob()];
  // One turn, one transaction: the big one has no room, those beside it have.
  const [first, refused, last] = await Promise.allSettled(
    [small[0]!, big, small[1]!].map((job) => store.submitJobs([job], t0)),
  );
  expect(refused).toMatchObject({
    status: 'rejected',
    reason: { code: 'RECORDS_UNAVAILABLE', retryable: true, message: expect.stringContaining('free space') },
  });
  for (const answer of [first, last])
    expect(answer).toMatchObject({ status: 'fulfilled', value: [{ kind: 'created' }] });
  expect(await store.getJob(big.id)).toBeNull();
  expect(await store.timeline(big.id)).toEqual({ transitions: [], runs: [] });
  expect(await store.countJobs({})).toMatchObject({ waiting: 3 });
  await store.close();
  const roomy = await open();
  expect(await roomy.getJob(kept)).toMatchObject({ state: 'waiting' });
  expect(await roomy.submitJobs([big], t0)).toMatchObject([{ kind: 'created' }]);
  await roomy.close();
});

describe('a lock held by another', () => {
  test('a commit waits for the lock without holding up the process, and is refused when its time is up', async () => {
    const clock = new VirtualClock();
    const store = await open({ clock, lockWaitMs: 500 });
    const other = new DatabaseSync(path);
    other.exec('BEGIN IMMEDIATE');
    const [given, late] = [newJob(), newJob()];
    const refused = store.submitJobs([given], t0);
    const verdict = expect(refused).rejects.toMatchObject({
      code: 'RECORDS_UNAVAILABLE',
      retryable: true,
      message: expect.stringContaining('locked by another process'),
    });
    await clock.advanceBy(400);
    const waited = store.submitJobs([late], t0);
    await clock.advanceBy(200);
    await verdict;
    expect(await store.getJob(given.id)).toBeNull();
    other.exec('ROLLBACK');
    await clock.advanceBy(50);
    expect(await waited).toMatchObject([{ kind: 'created' }]);
    expect(await store.getJob(given.id)).toBeNull();
    other.close();
    await store.close();
  });

  test('reads go on while another writes', async () => {
    const store = await open();
    const id = await hubOn(store).submit();
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE; UPDATE jobs SET state = 'dead'");
    expect(await store.getJob(id)).toMatchObject({ state: 'waiting' });
    other.exec('ROLLBACK');
    other.close();
    await store.close();
  });
});

test('a commit reaches the disk before it is answered: WAL with full synchronisation', async () => {
  const exec = vi.spyOn(DatabaseSync.prototype, 'exec');
  const store = await open();
  const connection = exec.mock.contexts[0] as DatabaseSync;
  exec.mockRestore();
  const pragma = (name: string) => Object.values(connection.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  expect([pragma('journal_mode'), pragma('synchronous'), pragma('foreign_keys')]).toEqual(['wal', 2, 1]);
  await store.close();
});

test('calls of one turn share one commit, and each is answered after it', async () => {
  const store = await open();
  const run = vi.spyOn(StatementSync.prototype, 'run');
  const commits = () =>
    run.mock.contexts.filter((statement) => (statement as StatementSync).sourceSQL === 'COMMIT').length;
  const answers = Array.from({ length: 40 }, () => store.submitJobs([newJob()], t0).then(() => commits()));
  expect(new Set(await Promise.all(answers))).toEqual(new Set([1]));
  await Promise.all(Array.from({ length: 600 }, () => store.submitJobs([newJob()], t0)));
  // Cut into several, so that none holds the event loop for long.
  expect(commits()).toBe(1 + 3);
  run.mockRestore();
  await store.close();
});

test('a clock that stepped back does not keep a dead holder in office', async () => {
  const clock = new VirtualClock();
  const store = await open({ clock });
  const hold = (holder: string) =>
    store.holdSingleton({ name: 'sweeper', holder, ttlMs: 10_000, current: null });
  await hold('dead');
  clock.jumpWall(-3_600_000);
  expect(await hold('next')).toMatchObject({ holder: 'next', token: 2 });
  expect(await hold('third')).toBeNull();
  await store.close();
});
