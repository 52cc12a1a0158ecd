import { describe, expect, test } from 'vitest';
import type { CountedWork } from './limit.ts';
import { acme, limit } from './records-admissions.conformance.ts';
import { hubOn, permanent, type RecordsSetup, release, t0 } from './records-fixture.conformance.ts';

const any: CountedWork = { customer: null, pool: null, model: null };

export function waitingSuite(setup: RecordsSetup): void {
  const open = async () => {
    const hub = hubOn((await setup()).records);
    /** One count. */
    const count = async (over: Partial<CountedWork> = {}, most = 1_000) =>
      (await hub.records.countWaiting([{ ...any, ...over, limit: most }]))[0];
    return { ...hub, count };
  };

  describe('what waits', () => {
    test('is what is accepted and not begun: scheduled, held and waiting jobs', async () => {
      const hub = await open();
      await hub.submit({ id: 'later', customer: 'acme', state: 'scheduled', notBeforeMs: t0 + 900 });
      await hub.submit({ id: 'held', customer: 'acme', state: 'held', limited: true });
      for (const id of ['runs', 'failed', 'gone', 'back']) await hub.submit({ id, customer: 'acme' });
      expect(await hub.count({ customer: 'acme' })).toBe(6);
      await hub.claim('runs', '100');
      expect(await hub.count({ customer: 'acme' })).toBe(5);
      await hub.exit('failed', '100', permanent);
      await hub.cancel('gone');
      await hub.claim('back', '200');
      expect(await hub.count({ customer: 'acme' })).toBe(2);
      await hub.exit('back', '200', release);
      expect(await hub.count({ customer: 'acme' })).toBe(3);
      await hub.requeue('failed');
      expect(await hub.count({ customer: 'acme' })).toBe(4);
    });

    test('is counted by every mix of customer, pool and model, all of them with one question', async () => {
      const hub = await open();
      const customers = ['acme', 'birch'] as const;
      const pools = ['heavy', 'standard', 'x'] as const;
      const models = ['-', 'sdxl', 'wan'] as const;
      for (const [a, customer] of customers.entries())
        for (const [b, pool] of pools.entries())
          for (const [c, affinity] of models.entries())
            for (let n = 0; n <= a + b + c; n++)
              await hub.submit({ id: `${customer}.${pool}.${c}.${n}`, customer, pool, affinity });
      const sum = (with_: CountedWork) => {
        let all = 0;
        for (const [a, customer] of customers.entries())
          for (const [b, pool] of pools.entries())
            for (const [c, model] of models.entries())
              if ((with_.customer ?? customer) === customer && (with_.pool ?? pool) === pool)
                if ((with_.model ?? model) === model) all += a + b + c + 1;
        return all;
      };
      const asked = [null, ...customers].flatMap((customer) =>
        [null, ...pools].flatMap((pool) => [null, ...models].map((model) => ({ customer, pool, model }))),
      );
      const limited = asked.map((each) => ({ ...each, limit: 1_000 }));
      expect(await hub.records.countWaiting(limited)).toEqual(asked.map(sum));
      for (const nobody of [{ customer: 'zoe' }, { pool: 'none' }, { model: 'none' }])
        expect(await hub.count(nobody)).toBe(0);
      expect(await hub.records.countWaiting([])).toEqual([]);
    });

    test('is counted to the limit of the question, each to its own', async () => {
      const hub = await open();
      for (const pool of ['heavy', 'standard'])
        for (let n = 0; n < 5; n++) await hub.submit({ customer: 'acme', pool, affinity: 'sdxl' });
      const asks = [{ customer: 'acme' }, { pool: 'heavy' }, { model: 'sdxl' }, {}];
      for (const asked of asks) {
        expect(await hub.count(asked, 3)).toBe(3);
        expect(await hub.count(asked, 1)).toBe(1);
      }
      const two = [2, 7].map((most) => ({ ...any, model: 'sdxl', limit: most }));
      expect(await hub.records.countWaiting(two)).toEqual([2, 7]);
      for (const wrong of [0, 1.5, 1_000_002])
        await expect(hub.count({}, wrong)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    });

    test('a limit on it alone holds nothing back, and counts nothing that is let in', async () => {
      const hub = await open();
      const { records } = hub;
      await hub.submit({ id: 'runs', customer: 'acme' });
      await hub.claim('runs', '100');
      const kept = await limit(records, 'acme', { customer: 'acme', waiting: 0 });
      expect(kept).toMatchObject({ waiting: 0 });
      expect(kept.concurrent).toBeUndefined();
      expect(await hub.job('runs')).toMatchObject({ limited: false });
      await hub.submit({ id: 'held', customer: 'acme', state: 'held', limited: true });
      const answer = await records.admitJobs({ ...acme, limit: 10, actor: 'hub', nowMs: t0 });
      expect(answer).toMatchObject({ jobs: [{ id: 'held', limited: false }], nextAtMs: null, isFull: false });
      // With a number of those let in it counts what runs, as a new limit does.
      await limit(records, 'acme', { customer: 'acme', waiting: 0, concurrent: 1 });
      expect(await hub.job('runs')).toMatchObject({ limited: true });
      expect((await records.admitJobs({ ...acme, limit: 10, actor: 'hub', nowMs: t0 })).isFull).toBe(true);
    });
  });
}
