import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { type entryOf, openRig, type Rig } from '#protocol/broker-fixture.conformance.ts';
import type { Job } from '#protocol/job.ts';
import { indexProblems } from '#protocol/redis/index-audit.conformance.ts';
import { describeOnRedis, redisSetup } from '#protocol/redis/setup.conformance.ts';
import type { Timeline } from '#simulations/observation.ts';
import { type Look, leftBehind, leftLimit } from './rest.ts';

const jobOf = (id: string, state: Job['state'] = 'succeeded') => ({ id, state, fenceFloor: '0' }) as Job;

describeOnRedis('what is left in a real Broker', (server) => {
  /** One machine, whose jobs have all ended in Records; what a look finds after `leave`. */
  async function found(leave: (rig: Rig, redis: Redis) => Promise<unknown>, over: Partial<Look> = {}) {
    const rig = await openRig(() => redisSetup(server(), 'function'));
    const redis = new Redis({ path: server().path });
    onTestFinished(async () => {
      redis.disconnect();
      await rig.under.close();
    });
    await leave(rig, redis);
    const jobs = [jobOf('a'), jobOf('b')];
    const problems = () => indexProblems(redis);
    const look = { broker: rig.broker, indexProblems: problems, jobs, timelines: new Map(), machines: 1 };
    return await leftBehind({ ...look, ...over });
  }

  const trim = async ({ broker }: Rig) => {
    const { identity, events } = await broker.events({ after: 0, limit: 1_000 });
    await broker.trimEvents({ identity, upTo: events.at(-1)?.id ?? 0 });
  };
  /** A job that ran and whose end the Broker was told, with its events copied. */
  const ended = async (rig: Rig) => {
    const machine = await rig.machine('m1');
    await rig.add('a');
    const { token } = await machine.lease();
    await rig.broker.complete({ jobId: 'a', fenceFloor: '0', token });
    await trim(rig);
  };

  test('is nothing where every end was told and every event copied', async () => {
    expect(await found(ended)).toEqual([]);
  });

  test('is a lease of a job that has ended, with who holds it', async () => {
    const left = await found(async (rig) => {
      const machine = await rig.machine('m1');
      await rig.add('a');
      await machine.lease();
      await trim(rig);
    });
    expect(left).toContain(
      'I11: both stores agree at rest: a is succeeded in Records and leased in the Broker',
    );
    expect(left).toContain('a is leased at m1/1');
  });

  test.each<[string, Partial<ReturnType<typeof entryOf>>]>([
    ['waiting', {}],
    ['delayed', { notBeforeMs: 9_000_000_000_000 }],
  ])('is an entry that is still %s', async (state, over) => {
    const left = await found(async (rig) => {
      await rig.add('a', over);
      await trim(rig);
    });
    expect(left).toContain(`a is ${state}`);
  });

  test('is an entry of a job that Records do not know', async () => {
    expect(await found((rig) => rig.add('ghost'))).toContain('ghost is waiting');
  });

  test('is an event that nobody copied', async () => {
    const left = await found(async (rig) => {
      const machine = await rig.machine('m1');
      await rig.add('a');
      const { token } = await machine.lease();
      await rig.broker.complete({ jobId: 'a', fenceFloor: '0', token });
    });
    expect(left).toEqual([expect.stringMatching(/^I12: .*events: \d+$/)]);
  });

  test('is an incarnation of a process that is gone', async () => {
    const left = await found(async (rig) => {
      await rig.machine('m1');
      await rig.machine('m2');
      await trim(rig);
    });
    expect(left).toEqual(['the Broker keeps 2 incarnations of 1 machines']);
  });

  test('is an index that is not true', async () => {
    const left = await found(async (rig, redis) => {
      await ended(rig);
      await redis.set('{emp:0}:job:ghost', 'w 1 0 0 0 0 - 0 0 g - standard 0 0 0 ');
    });
    expect(left[0]).toMatch(/^I2, I7: /);
  });

  test('is a Broker that is closed', async () => {
    const left = await found(async (rig) => {
      await ended(rig);
      await rig.under.restart();
      await rig.broker.identity();
    });
    expect(left).toContain('I11: both stores agree at rest: the Broker is still closed at rest');
  });

  test('is a timeline that is no life', async () => {
    const at = { jobId: 'a', actor: 'client', reason: null, token: null, atMs: 0 } as const;
    const submitted: Timeline = {
      transitions: [{ ...at, from: null, to: 'waiting', operation: 'submit' }],
      runs: [],
    };
    const left = await found(ended, { timelines: new Map([['a', submitted]]) });
    expect(left).toEqual([expect.stringContaining('its timeline ends with waiting')]);
  });

  test('is told in a bounded number of lines', async () => {
    const left = await found(async (rig) => {
      for (let number = 0; number < 2 * leftLimit; number++) await rig.add(`job-${number}`);
    });
    expect(left).toHaveLength(leftLimit);
  });
});
