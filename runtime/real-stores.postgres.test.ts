import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Log } from '#protocol/env.ts';
import { describeOnRedis } from '#protocol/redis/setup.conformance.ts';
import { systemEnv } from './env.ts';
import { HubConfig, type HubConfigInput } from './hub-config.ts';
import { type RunningHub, startHub } from './start-hub.ts';
import { type PostgresServer, startPostgres } from './toolchain/postgres-server.ts';
import { RedisServer } from './toolchain/redis-server.ts';

const warnings: string[] = [];
const log: Log = {
  debug: () => {},
  info: () => {},
  warn: (event) => {
    warnings.push(event);
  },
  error: () => {},
  child: () => log,
};
const env = systemEnv(log);
const cleanUps: (() => Promise<unknown>)[] = [];

/** Asks again, every few ms, until the answer is not null. */
async function until<T>(ask: () => Promise<T | null>): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (answer !== null) return answer;
    await new Promise<void>((done) => env.clock.setTimeout(done, 5));
  }
}

async function call(hub: RunningHub, method: string, path: string, json?: unknown) {
  const body =
    json === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(json) };
  const answer = await fetch(hub.url + path, { method, ...body });
  return { status: answer.status, text: await answer.text() };
}

const ready = (hub: RunningHub) =>
  until(async () => ((await call(hub, 'GET', '/readyz')).status === 200 ? true : null));

const waiting = (hub: RunningHub) =>
  until(async () => {
    const { broker } = JSON.parse((await call(hub, 'GET', '/v1/status')).text);
    return broker !== null && broker.waiting > 0 ? (broker.waiting as number) : null;
  });

describeOnRedis('a hub on Redis and PostgreSQL', onServer, { tcp: true });

function onServer(redis: () => RedisServer): void {
  let postgres: PostgresServer | null = null;
  const database = async () => {
    assert(postgres !== null);
    return await postgres.database();
  };

  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterEach(async () => {
    for (const clean of cleanUps.splice(0).reverse()) await clean();
    warnings.splice(0);
  });
  afterAll(async () => {
    await postgres?.close();
  });

  const redisUrl = () => `redis://127.0.0.1:${redis().port}`;

  async function folder(): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), 'emp-stores-'));
    cleanUps.push(() => rm(dir, { recursive: true, force: true }));
    return dir;
  }

  async function start(config: HubConfigInput): Promise<RunningHub> {
    const short = { port: 0, leaseTtlMs: 1_000, singletonTtlMs: 1_000, reconcileEveryMs: 100 };
    const hub = await startHub({ config: HubConfig.parse({ ...short, ...config }), env });
    cleanUps.push(() => hub.stop());
    return hub;
  }

  test('two hubs serve the same jobs, and a third after both are gone', async () => {
    const stores = {
      redisUrl: redisUrl(),
      databaseUrl: await database(),
      redisPrefix: 'two-hubs',
      dataDir: await folder(),
    };
    const first = await start(stores);
    await ready(first);
    const second = await start(stores);
    await ready(second);
    expect(JSON.parse((await call(second, 'GET', '/v1/status')).text).stores).toMatchObject({
      records: 'postgresql',
      broker: 'redis',
      durable: true,
    });
    expect((await call(first, 'POST', '/v1/jobs', { service: 'simulation', id: 'j1' })).status).toBe(201);
    expect((await call(second, 'POST', '/v1/jobs', { service: 'simulation', id: 'j1' })).status).toBe(200);
    expect((await call(second, 'POST', '/v1/jobs/j1/cancel')).status).toBe(202);
    expect(JSON.parse((await call(first, 'GET', '/v1/jobs/j1')).text).job.state).toBe('cancelled');
    expect((await call(first, 'POST', '/v1/jobs', { service: 'simulation', id: 'j2' })).status).toBe(201);
    await first.stop();
    await second.stop();
    const third = await start(stores);
    expect(JSON.parse((await call(third, 'GET', '/v1/jobs/j2')).text).job.state).toBe('waiting');
    await ready(third);
    expect(await waiting(third)).toBe(1);
  });

  test('a hub of other records is refused by the queue of these, and harms nothing', async () => {
    const stores = { redisUrl: redisUrl(), redisPrefix: 'owned', dataDir: await folder() };
    const hub = await start({ ...stores, databaseUrl: await database() });
    await ready(hub);
    expect((await call(hub, 'POST', '/v1/jobs', { service: 'simulation', id: 'j1' })).status).toBe(201);
    const refusal = { code: 'CONFIG_INVALID', message: expect.stringMatching(/REDIS_URL.*EMP_REDIS_PREFIX/) };
    // DATABASE_URL was forgotten, or is that of another installation.
    await expect(start({ ...stores, dataDir: await folder() })).rejects.toMatchObject(refusal);
    await expect(start({ ...stores, databaseUrl: await database() })).rejects.toMatchObject(refusal);
    expect(await waiting(hub)).toBe(1);
  });

  test('a hub of these records with another queue is refused while others run, and not when they have ended', async () => {
    const databaseUrl = await database();
    const stores = { redisUrl: redisUrl(), databaseUrl, dataDir: await folder(), hubTtlMs: 1_000 };
    const first = await start({ ...stores, redisPrefix: 'right', hubId: 'first' });
    const second = await start({ ...stores, redisPrefix: 'right', hubId: 'second' });
    await until(async () => {
      const { hubs } = JSON.parse((await call(second, 'GET', '/v1/status')).text);
      return hubs.length > 0 ? true : null;
    });
    const wrong = { ...stores, redisPrefix: 'wrong', hubId: 'third' };
    await expect(start(wrong)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/hub (first|second), which shares these records, uses another Redis/),
    });
    // The right ones are not made unready by it, and what it had registered is gone.
    await ready(first);
    await until(async () => (first.core.hub.peers.list().length === 1 ? true : null));
    await first.stop();
    await second.stop();
    await ready(await start(wrong));
  });

  test('of two hubs that start at once on these records with different queues one is refused', async () => {
    const stores = { redisUrl: redisUrl(), databaseUrl: await database(), dataDir: await folder() };
    const starts = ['left', 'right'].map((hubId) =>
      start({ ...stores, hubTtlMs: 1_000, redisPrefix: `at-once-${hubId}`, hubId }),
    );
    const ended = await Promise.allSettled(starts);
    const [started] = ended.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const refusals = ended.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    assert(started !== undefined);
    expect(refusals).toEqual([expect.objectContaining({ code: 'CONFIG_INVALID' })]);
    expect(refusals[0].message).toContain(`REDIS_URL: hub ${started.hubId}, which shares these records`);
    await ready(started);
  });

  test('temporary records take over the queue of the start before, and never that of kept ones', async () => {
    const stores = { redisUrl: redisUrl(), redisPrefix: 'temporary' };
    const first = await start(stores);
    expect((await call(first, 'POST', '/v1/jobs', { service: 'simulation', id: 'j1' })).status).toBe(201);
    await ready(first);
    expect(await waiting(first)).toBe(1);
    await first.stop();
    const second = await start(stores);
    await ready(second);
    expect((await call(second, 'GET', '/v1/jobs/j1')).status).toBe(404);
    const kept = await start({ ...stores, redisPrefix: 'kept', dataDir: await folder() });
    await ready(kept);
    const refusal = { code: 'CONFIG_INVALID', message: expect.stringMatching(/REDIS_URL.*EMP_REDIS_PREFIX/) };
    await expect(start({ ...stores, redisPrefix: 'kept' })).rejects.toMatchObject(refusal);
    await expect(start({ ...stores, dataDir: await folder() })).rejects.toMatchObject(refusal);
  });

  test('R25: without Redis a hub starts, accepts jobs, says why it is not ready, and drives them when Redis comes', async () => {
    const late = await RedisServer.start({ tcp: true });
    cleanUps.push(() => late.close());
    await late.kill();
    const hub = await start({
      redisUrl: `redis://127.0.0.1:${late.port}`,
      databaseUrl: await database(),
      dataDir: await folder(),
    });
    expect(warnings).toContain('broker.unreachable');
    expect((await call(hub, 'GET', '/livez')).status).toBe(200);
    const probe = await call(hub, 'GET', '/readyz');
    expect(probe.status).toBe(503);
    expect(probe.text).toMatch(/broker: .*ECONNREFUSED/);
    expect((await call(hub, 'POST', '/v1/jobs', { service: 'simulation' })).status).toBe(201);
    await late.run();
    await ready(hub);
    expect(await waiting(hub)).toBe(1);
  });

  test('R25: a hub waits for a PostgreSQL that starts after it', async () => {
    const late = await startPostgres();
    cleanUps.push(() => late.close());
    const databaseUrl = await late.database();
    await late.stop();
    const starting = start({
      redisUrl: redisUrl(),
      databaseUrl,
      redisPrefix: 'late',
      dataDir: await folder(),
    });
    await until(async () => (warnings.includes('records.waiting') ? true : null));
    await late.start();
    await ready(await starting);
  });

  test('a PostgreSQL that does not come ends the start with what to do', async () => {
    const gone = await startPostgres();
    const databaseUrl = await gone.database();
    await gone.close();
    await expect(
      start({ redisUrl: redisUrl(), databaseUrl, startLimitMs: 300, dataDir: await folder() }),
    ).rejects.toMatchObject({ code: 'RECORDS_UNAVAILABLE' });
  });

  test('a Redis that would drop jobs is refused at once', async () => {
    const evicting = await RedisServer.start({ tcp: true, args: ['--maxmemory-policy', 'allkeys-lru'] });
    cleanUps.push(() => evicting.close());
    const databaseUrl = await database();
    await expect(
      start({ redisUrl: `redis://127.0.0.1:${evicting.port}`, databaseUrl, dataDir: await folder() }),
    ).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('noeviction') });
  });
}
