import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock as clock } from '#runtime/env.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { Cluster } from './cluster.ts';
import { appendOnly, singleRedis } from './redis-side.ts';
import { untilAtRest } from './rest.ts';
import { redisCommand } from './server-control.ts';
import { missingServers } from './session.ts';
import { usualShape } from './standing.ts';

/** Real servers, hubs and machines at rest, and with a key in Redis that no index explains. */

const inCi = process.env['CI'] === 'true';

async function setup(): Promise<Cluster> {
  const dir = await mkdtemp(join(tmpdir(), 'emp-rest-'));
  const { signal } = new AbortController();
  const host = { clock, dir, logDir: join(dir, 'logs'), rng: seededRng('rest'), signal, onProcess: () => {} };
  const cluster = await Cluster.start(usualShape, host, () => singleRedis(appendOnly));
  onTestFinished(async () => {
    await cluster.stop();
    await rm(dir, { recursive: true, force: true });
  }, 60_000);
  return cluster;
}

test('a cluster rests when its jobs have ended, and not with a key that no entry explains', {
  timeout: 240_000,
}, async (context) => {
  const missing = missingServers();
  if (missing !== null && !inCi) return context.skip(missing);
  const cluster = await setup();
  const submitted = await cluster.ask((client) =>
    client.submit({ id: 'chaos-1-1', service: 'simulation', payload: { durationMs: 20 }, pool: 'fast-lane' }),
  );
  await cluster.ask((client) => client.wait(submitted.job.id));
  expect(await untilAtRest(cluster, { prefix: 'chaos-1-' })).toMatchObject({ left: [] });

  await redisCommand(cluster.redis.port, ['SET', '{emp:0}:body:ghost', '{}']);
  const { left } = await untilAtRest(cluster, { prefix: 'chaos-1-' });
  expect(left).toEqual([expect.stringMatching(/^I2, I7: .*body of ghost has no job/)]);
});
