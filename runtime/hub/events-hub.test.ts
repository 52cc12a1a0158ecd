import { expect, test } from 'vitest';
import { openSqliteRecords } from '#protocol/sqlite/records.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { EventsHub } from './events-hub.ts';

test.each(['newer', 'ofJob'] as const)(
  'who begins to wait (%s) while the number of the newest event is being read is woken by it',
  async (method) => {
    const env = simEnv({ seed: 'events' });
    const records = await openSqliteRecords({ path: ':memory:', clock: env.clock, rng: env.rng });
    let reached = (): void => {};
    const events = new EventsHub({
      env,
      records: {
        ...records,
        highestSeq: async () => {
          const highest = await records.highestSeq();
          reached();
          await env.clock.settle();
          return highest;
        },
      },
    });
    await events.start();
    const atMs = env.clock.now();
    const data = { hubId: 'h1', version: '1' };
    await records.appendEvent({ type: 'hub.started', jobId: null, machineId: null, data, atMs });
    const lease = await records.holdSingleton({
      name: 'recorder',
      holder: 'h1',
      ttlMs: 60_000,
      current: null,
    });
    if (lease === null) throw new Error('another holds the recorder');
    await records.assignSeq({ limit: 10, lease });
    const waits: Promise<boolean>[] = [];
    reached = () => {
      const signal = new AbortController().signal;
      waits.push(events[method]({ after: 0, waitMs: 1_000, signal, jobId: 'j1' }));
    };
    await events.publish();
    await env.clock.advanceBy(2_000);
    expect(await Promise.all(waits)).toEqual([true]);
    await records.close();
  },
);
