import { describe, expect, test } from 'vitest';
import { pausesLimit } from './records.ts';
import { hubOn, type RecordsSetup, t0 } from './records-fixture.conformance.ts';

/** Pools and services that operators hold back. */
export function pausesSuite(setup: RecordsSetup): void {
  const heavy = { kind: 'pool' as const, name: 'heavy', reason: 'full disks', actor: 'ann', sinceMs: t0 };

  describe('pauses', () => {
    test('are kept by kind and name, in order, and told as facts', async () => {
      const { records } = await setup();
      const hub = hubOn(records);
      const upscale = { ...heavy, kind: 'service' as const, name: 'upscale', reason: '' };
      await records.putPause(upscale);
      expect(await records.putPause(heavy)).toEqual(heavy);
      expect(await records.listPauses()).toEqual([heavy, upscale]);
      expect(await records.endPause({ kind: 'pool', name: 'heavy', actor: 'bob', nowMs: t0 + 5 })).toBe(true);
      expect(await records.endPause({ kind: 'pool', name: 'heavy', actor: 'bob', nowMs: t0 + 6 })).toBe(
        false,
      );
      expect(await records.listPauses()).toEqual([upscale]);
      await records.assignSeq({ limit: 100, lease: await hub.recorder() });
      const types = ['work.paused', 'work.resumed'];
      expect(await records.listEvents({ after: 0, limit: 10, types })).toMatchObject([
        { data: { kind: 'service', name: 'upscale', reason: '', actor: 'ann' }, atMs: t0 },
        { data: { kind: 'pool', name: 'heavy', reason: 'full disks', actor: 'ann' } },
        { type: 'work.resumed', data: { kind: 'pool', name: 'heavy', actor: 'bob' }, atMs: t0 + 5 },
      ]);
    });

    test('those of customers stand beside the others', async () => {
      const { records } = await setup();
      const amber = { kind: 'customer' as const, name: 'amber', reason: 'unpaid', actor: 'ann', sinceMs: t0 };
      await records.putPause(heavy);
      await records.putPause({ ...amber, reason: '' });
      // Of one name, and yet another: a service that has the name of a customer goes on.
      await records.putPause({ ...amber, kind: 'service', sinceMs: t0 + 1 });
      expect(await records.putPause({ ...amber, sinceMs: t0 + 2 })).toEqual(amber);
      expect((await records.listPauses()).map(({ kind, name }) => `${kind} ${name}`)).toEqual([
        'customer amber',
        'pool heavy',
        'service amber',
      ]);
      expect(await records.endPause({ kind: 'customer', name: 'amber', actor: 'bob', nowMs: t0 + 5 })).toBe(
        true,
      );
      expect((await records.listPauses()).map(({ kind }) => kind)).toEqual(['pool', 'service']);
    });

    test('a second word on what is held back changes its reason and keeps its time', async () => {
      const { records } = await setup();
      await records.putPause(heavy);
      const again = await records.putPause({ ...heavy, reason: 'a leak', actor: 'bob', sinceMs: t0 + 9 });
      expect(again).toEqual({ ...heavy, reason: 'a leak', actor: 'bob' });
      expect(await records.listPauses()).toEqual([again]);
    });

    test('beyond their limit they are refused, and one that holds may still change', async () => {
      const { records } = await setup();
      for (let number = 0; number < pausesLimit; number++)
        await records.putPause({ ...heavy, name: `pool-${number}` });
      await expect(records.putPause(heavy)).rejects.toMatchObject({ code: 'CONFLICT' });
      await records.putPause({ ...heavy, name: 'pool-0', reason: 'other' });
      expect(await records.listPauses()).toHaveLength(pausesLimit);
    });
  });
}
