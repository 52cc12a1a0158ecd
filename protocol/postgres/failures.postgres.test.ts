import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Records } from '#protocol/records.ts';
import { hubOn, newJob, release, t0 } from '#protocol/records-fixture.conformance.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import { missingSmallDisk, type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { openPostgresRecords, type PostgresRecordsOptions } from './records.ts';

/** What goes wrong with servers, locks, disks and wires, each on a real server. */

let server: PostgresServer;
let url: string;
let records: Records;
const others: pg.Client[] = [];

const open = (over: Partial<PostgresRecordsOptions> = {}) =>
  openPostgresRecords({ url, poolLimit: 5, ...quietEnv(), ...over });
const query = (text: string) => server.query(text, new URL(url).pathname.slice(1));

beforeAll(async () => {
  server = await startPostgres({ settings: { deadlock_timeout: '100ms' } });
});
afterAll(() => server.close());
beforeEach(async () => {
  url = await server.database();
  records = await open();
});
afterEach(async () => {
  for (const other of others.splice(0)) await other.end().catch(() => 'its server was killed');
  await records.close();
});

/** Another session of the same database, e.g. to hold locks. */
async function session(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => 'the test kills it');
  others.push(client);
  await client.connect();
  return client;
}

/** Backend of a commit of ours that waits for a lock; polled, because no signal tells of it. */
async function waitingBackend(): Promise<number> {
  for (;;) {
    const [row] = await query(
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'emp' AND wait_event_type = 'Lock'",
    );
    if (row) return Number(row.pid);
    await pause(10);
  }
}

const unavailable = (text: string, retryable = true) => ({
  code: 'RECORDS_UNAVAILABLE',
  retryable,
  message: expect.stringContaining(text),
});

/** A job whose row somebody else has locked, an exit of it that hangs, and a submit in the same commit. */
async function midCommit() {
  const hub = hubOn(records);
  const id = await hub.submit();
  const other = await session();
  await other.query('BEGIN');
  await other.query('SELECT 1 FROM emp.jobs FOR UPDATE');
  const fresh = newJob();
  const calls = Promise.allSettled([hub.exit(id, '500', release), records.submitJobs([fresh], t0)]);
  return { hub, id, fresh, other, calls, backend: await waitingBackend() };
}

describe('a server that dies in mid commit', () => {
  test('a killed backend is an error to everybody in the commit, and nothing half done is kept', async () => {
    const { hub, id, fresh, other, calls, backend } = await midCommit();
    await query(`SELECT pg_terminate_backend(${backend})`);
    for (const answer of await calls)
      expect(answer).toMatchObject({ status: 'rejected', reason: unavailable('stopping or starting') });
    await other.query('ROLLBACK');
    expect(await hub.job(id)).toMatchObject({ state: 'waiting', runs: 0, fenceFloor: '0' });
    expect(await records.getJob(fresh.id)).toBeNull();
    expect(await query('SELECT count(*)::int AS n FROM emp.events')).toEqual([{ n: 1 }]);
    expect(await hub.exit(id, '500', release)).toMatchObject({ applied: true });
    expect(await records.submitJobs([fresh], t0)).toMatchObject([{ kind: 'created' }]);
  });

  test.each(['SIGINT', 'SIGQUIT'] as const)(
    'a restart by %s too, and the store goes on by itself',
    async (signal) => {
      const { hub, id, fresh, calls } = await midCommit();
      await server.stop(signal);
      for (const answer of await calls)
        expect(answer).toMatchObject({
          status: 'rejected',
          reason: { code: 'RECORDS_UNAVAILABLE', retryable: true },
        });
      await expect(records.ping()).rejects.toMatchObject(unavailable('Check that the server runs'));
      await expect(records.getJob(id)).rejects.toMatchObject({ code: 'RECORDS_UNAVAILABLE' });
      await server.start();
      expect(await hub.job(id)).toMatchObject({ state: 'waiting', runs: 0 });
      expect(await records.getJob(fresh.id)).toBeNull();
      expect(await hub.exit(id, '500', release)).toMatchObject({ applied: true });
    },
  );

  test('T19: what was answered before a crash is there after it', async () => {
    const durable = await startPostgres({ durable: true });
    const store = await openPostgresRecords({ url: await durable.database(), ...quietEnv() });
    const answered: string[] = [];
    let crashed = false;
    const worker = async (lane: number) => {
      for (let n = 0; !crashed; n++) {
        const job = newJob({ id: `crash-${lane}-${n}` });
        const answer = await store.submitJobs([job], t0).catch(() => []);
        if (answer[0]?.kind === 'created') answered.push(job.id);
        if (answered.length === 300) {
          crashed = true;
          await durable.stop('SIGQUIT');
        }
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, lane) => worker(lane)));
    await durable.start();
    expect(answered.length).toBeGreaterThanOrEqual(300);
    for (const id of answered) expect(await store.getJob(id), id).toMatchObject({ state: 'waiting' });
    await store.close();
    await durable.close();
  });

  test('connections that died while nobody used them are not noticed by callers', async () => {
    const hub = hubOn(records);
    const id = await hub.submit();
    await hub.job(id);
    await query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'emp'");
    expect(await hub.job(id)).toMatchObject({ id });
    expect(await hub.complete(id, '5')).toMatchObject({ kind: 'committed' });
  });
});

describe('a lock held by another', () => {
  test('is refused after its limit, and those that share the commit stand', async () => {
    const limited = await open({ lockLimitMs: 200 });
    const hub = hubOn(limited);
    const [stuck, free] = [await hub.submit(), await hub.submit()];
    const other = await session();
    await other.query(`BEGIN; SELECT 1 FROM emp.jobs WHERE id = '${stuck}' FOR UPDATE`);
    const [refused, done, created] = await Promise.allSettled([
      hub.exit(stuck, '500', release),
      hub.exit(free, '500', release),
      limited.submitJobs([newJob()], t0),
    ]);
    expect(refused).toMatchObject({ status: 'rejected', reason: unavailable('locked by another session') });
    expect(done).toMatchObject({ status: 'fulfilled', value: { applied: true } });
    expect(created).toMatchObject({ status: 'fulfilled', value: [{ kind: 'created' }] });
    await other.query('ROLLBACK');
    expect(await hub.exit(stuck, '500', release)).toMatchObject({ applied: true, runs: 1 });
    await limited.close();
  });

  test('a statement that takes too long is given up by its deadline', async () => {
    const limited = await open({ statementLimitMs: 200 });
    const other = await session();
    await other.query('BEGIN; LOCK TABLE emp.jobs IN ACCESS EXCLUSIVE MODE');
    await expect(limited.getJob('x')).rejects.toMatchObject(unavailable('within its deadline'));
    await other.query('ROLLBACK');
    expect(await limited.getJob('x')).toBeNull();
    await limited.close();
  });

  test('a commit that the server rolls back for a deadlock is made again', async () => {
    const hub = hubOn(records);
    await hub.submit({ id: 'a' });
    await hub.submit({ id: 'b' });
    const other = await session();
    // Ours finds the circle, so ours is rolled back.
    await other.query("SET deadlock_timeout = '60s'");
    await other.query("BEGIN; SELECT 1 FROM emp.jobs WHERE id = 'b' FOR UPDATE");
    const marked = records.markBrokered(['a', 'b'], t0 + 5);
    await waitingBackend();
    await other.query("SELECT 1 FROM emp.jobs WHERE id = 'a' FOR UPDATE");
    await other.query('COMMIT');
    await marked;
    for (const id of ['a', 'b']) expect(await hub.job(id)).toMatchObject({ brokeredAtMs: t0 + 5 });
    expect(server.log()).toContain('deadlock detected');
  });
});

describe('a server that takes nothing', () => {
  test('a read-only server refuses commits with what to do, answers reads, and is found again when it takes writes', async () => {
    const hub = hubOn(records);
    const id = await hub.submit();
    const name = new URL(url).pathname.slice(1);
    const setReadOnly = async (value: string) => {
      await server.query(`ALTER DATABASE ${name} SET default_transaction_read_only = ${value}`);
      await server.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
    };
    await setReadOnly('on');
    await expect(hub.exit(id, '5', release)).rejects.toMatchObject(unavailable('takes no writes'));
    await expect(records.ping()).rejects.toMatchObject(unavailable('primary'));
    await (await open()).close();
    expect(await hub.job(id)).toMatchObject({ state: 'waiting' });
    await server.query(`ALTER DATABASE ${name} RESET default_transaction_read_only`);
    // No connection is ended from outside here: those that were refused a write were given up.
    expect(await hub.exit(id, '5', release)).toMatchObject({ applied: true });
  });

  test('R26: too many connections are refused with what to do', async () => {
    const name = new URL(url).pathname.slice(1);
    await server.query(`CREATE ROLE few LOGIN CONNECTION LIMIT 1; ALTER DATABASE ${name} OWNER TO few`);
    await query('GRANT ALL ON SCHEMA emp TO few; GRANT ALL ON ALL TABLES IN SCHEMA emp TO few');
    const few = await open({ url: url.replace('postgres@', 'few@') });
    const answers = await Promise.allSettled([
      few.ping(),
      few.getJob('x'),
      few.getJob('y'),
      few.listModels(),
    ]);
    const refused = answers.filter((answer) => answer.status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    for (const { reason } of refused) expect(reason).toMatchObject(unavailable('takes no more connections'));
    await few.close();
  });

  test('a full disk refuses what has no room, keeps what was answered, and goes on when there is room', async (context) => {
    const missing = missingSmallDisk();
    if (missing !== null) return context.skip(missing);
    const tiny = await startPostgres({ smallDisk: '16m' });
    try {
      await tiny.query(`CREATE TABLESPACE small LOCATION '${tiny.folder}/small'`);
      await tiny.query('CREATE DATABASE full_store TABLESPACE small');
      const store = await openPostgresRecords({ url: tiny.url('full_store'), ...quietEnv() });
      await tiny.query('CREATE TABLE ballast AS SELECT generate_series(1, 60000)', 'full_store');
      const hub = hubOn(store);
      const kept: string[] = [];
      const fill = async (): Promise<unknown> => {
        for (;;) {
          // Not to be compressed away.
          const noise = Array.from(
            { length: 40_000 },
            (_, n) => Math.imul(n + kept.length * 40_000, 2_654_435_761) >>> 0,
          );
          const answer = await hub.submit({ payload: { noise } }).catch((error: unknown) => error);
          if (typeof answer !== 'string') return answer;
          kept.push(answer);
        }
      };
      expect(await fill()).toMatchObject(unavailable('free space there'));
      expect(kept.length).toBeGreaterThan(0);
      for (const id of kept) expect(await hub.job(id)).toMatchObject({ state: 'waiting' });
      expect((await store.countJobs({})).waiting).toBe(kept.length);
      await tiny.query('DROP TABLE ballast', 'full_store');
      expect(await hub.submit({ payload: { noise: 'x'.repeat(50_000) } })).toMatch(/^job_/);
      await store.close();
    } finally {
      await tiny.close();
    }
  });
});

describe('a wire', () => {
  test('that goes silent is given up and a new one is used', async () => {
    const relay = await startRelay(server.port);
    const through = await open({
      url: url.replace(`:${server.port}/`, `:${relay.port}/`),
      statementLimitMs: 100,
      poolLimit: 4,
    });
    const hub = hubOn(through);
    const id = await hub.submit();
    relay.silence();
    expect(await hub.exit(id, '5', release)).toMatchObject({ applied: true, runs: 1 });
    relay.silence();
    expect(await hub.job(id)).toMatchObject({ state: 'waiting' });
    await through.close();
    await relay.close();
  });
});

/** Hands bytes on until it is told to swallow those of the connections that it has. */
async function startRelay(target: number) {
  const sockets = new Set<Socket>();
  let swallowed = new Set<Socket>();
  const relay = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('data', (chunk) => swallowed.has(from) || to.write(chunk));
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const address = relay.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a numbered port');
  return {
    port: address.port,
    silence: () => {
      swallowed = new Set(sockets);
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => relay.close(resolve));
    },
  };
}

test('text that PostgreSQL cannot hold is kept as near as it can be', async () => {
  const hub = hubOn(records);
  const odd = 'half \ud83d and nothing \u0000.';
  const id = await hub.submit({ labels: { odd }, payload: { odd } });
  const error = { code: 'CONNECTOR_FAILED', message: odd, retryable: true } as const;
  await hub.exit(id, '5', { kind: 'fail', error, notBeforeMs: null });
  expect(await hub.exit(id, '6', { kind: 'release', reason: odd })).toMatchObject({ applied: true });
  const plain = 'half \ufffd and nothing \ufffd.';
  expect((await records.timeline(id)).transitions.at(-1)).toMatchObject({ reason: plain });
  expect(await hub.job(id)).toMatchObject({ payload: { odd }, labels: { odd }, error });
  const listed = await records.listJobs({
    filter: { label: { key: 'odd', value: odd } },
    limit: 5,
    cursor: null,
  });
  expect(listed.items.map((job) => job.id)).toEqual([id]);
  expect(await records.getJob('no\u0000body')).toBeNull();
});
