import { describe, expect, test } from 'vitest';
import { acme, hold, limit } from './records-admissions.conformance.ts';
import { hubOn, type RecordsSetup, t0 } from './records-fixture.conformance.ts';

/** Limits per minute. */
export function ratesSuite(setup: RecordsSetup): void {
  const open = async () => hubOn((await setup()).records);

  describe('rates', () => {
    test('a rate lets a tenth of a minute’s share in at once, then one after the other', async () => {
      const hub = await open();
      await limit(hub.records, 'rate', { model: '-', perMinute: 60 });
      await hold(hub, 30);
      const ask = (nowMs: number) =>
        hub.records.admitJobs({ ...acme, limit: 100, actor: 'hub', nowMs: t0 + nowMs });
      expect(await ask(0)).toMatchObject({ jobs: { length: 6 }, nextAtMs: t0 + 1_000 });
      expect(await ask(999)).toMatchObject({ jobs: [], nextAtMs: t0 + 1_000 });
      expect(await ask(1_000)).toMatchObject({ jobs: { length: 1 }, nextAtMs: t0 + 2_000 });
      expect(await ask(4_500)).toMatchObject({ jobs: { length: 3 }, nextAtMs: t0 + 5_000 });
      // What was not used for long is not saved up.
      expect(await ask(600_000)).toMatchObject({ jobs: { length: 6 } });
      await hub.records.removeLimit({ name: 'rate', actor: 'ann', nowMs: t0 });
      await limit(hub.records, 'rate', { model: '-', perMinute: 60 });
      expect(await ask(600_000)).toMatchObject({ jobs: { length: 6 }, nextAtMs: t0 + 601_000 });
    });

    test('a rate that was raised, or written by a clock that was ahead, is not waited for', async () => {
      const hub = await open();
      await limit(hub.records, 'rate', { model: '-', perMinute: 1 });
      await hold(hub, 40);
      const ask = (nowMs: number) =>
        hub.records.admitJobs({ ...acme, limit: 100, actor: 'hub', nowMs: t0 + nowMs });
      expect(await ask(86_400_000)).toMatchObject({ jobs: { length: 1 } });
      expect(await ask(0)).toMatchObject({ jobs: [], nextAtMs: t0 + 60_000, isFull: true });
      expect(await ask(59_000)).toMatchObject({ jobs: [], nextAtMs: t0 + 60_000 });
      expect(await ask(60_000)).toMatchObject({ jobs: { length: 1 }, nextAtMs: t0 + 120_000 });
      await limit(hub.records, 'rate', { model: '-', perMinute: 600 });
      expect(await ask(61_000)).toMatchObject({ jobs: [], nextAtMs: t0 + 61_100 });
      expect(await ask(62_000)).toMatchObject({ jobs: { length: 10 } });
    });
  });
}
