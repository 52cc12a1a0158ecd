import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { openSqliteRecords } from '#protocol/sqlite/records.ts';
import { systemEnv } from './env.ts';
import { HubConfig, type HubConfigInput } from './hub-config.ts';
import { processLog } from './log.ts';
import { startHub } from './start-hub.ts';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanUps.splice(0).reverse()) await clean();
});

const env = systemEnv(processLog({ level: 'silent', fields: {} }));

async function start(config: HubConfigInput = {}) {
  const hub = await startHub({ config: HubConfig.parse({ port: 0, ...config }), env });
  cleanUps.push(() => hub.stop());
  return hub;
}

/** No hub has begun its work on the records of this folder. */
async function expectUntouched(dir: string): Promise<void> {
  const records = await openSqliteRecords({
    path: join(dir, 'records.sqlite'),
    clock: env.clock,
    rng: env.rng,
  });
  cleanUps.push(() => records.close());
  // The first holder of a role has token 1.
  const role = { name: 'sweeper', holder: 'test', ttlMs: 1_000, current: null };
  expect(await records.holdSingleton(role)).toMatchObject({ token: 1 });
  expect(await records.listEvents({ after: 0, limit: 10 })).toEqual([]);
}

test('a port that is taken is refused with what to do', async () => {
  const hub = await start();
  await expect(start({ port: Number(new URL(hub.url).port) })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('--listen'),
  });
});

test('a hub that cannot listen has taken no role and left no word in its records', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'emp-data-'));
  cleanUps.push(() => rm(dir, { recursive: true, force: true }));
  const first = await start();
  const port = Number(new URL(first.url).port);
  await expect(start({ port, dataDir: dir })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await expectUntouched(dir);
});

test('a start that is told to end has taken no role, left no word in its records and freed its port', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'emp-data-'));
  cleanUps.push(() => rm(dir, { recursive: true, force: true }));
  const first = await start();
  const port = Number(new URL(first.url).port);
  await first.stop();
  const config = HubConfig.parse({ port, dataDir: dir });
  const reason = new Error('interrupted');
  await expect(startHub({ config, env, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  await expectUntouched(dir);
  await start({ port });
});
