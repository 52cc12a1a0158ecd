import { describe, expect, test } from 'vitest';
import type { Records } from './records.ts';
import type { RecordsSetup } from './records-fixture.conformance.ts';

const ttlMs = 10_000;
type Wanted = Parameters<Records['registerHub']>[0];

/** Who runs on a store, as the hubs tell each other through it. */
export function hubsSuite(setup: RecordsSetup): void {
  const hub = (hubId: string, over: Partial<Wanted> = {}): Wanted => ({
    hubId,
    url: `http://${hubId}:7700`,
    version: '0.1.0',
    broker: null,
    ttlMs,
    run: null,
    ...over,
  });

  async function begin(records: Records, wanted: Wanted) {
    const answer = await records.registerHub(wanted);
    if (answer.kind !== 'registered') throw new Error(`${wanted.hubId} was answered ${answer.kind}`);
    return answer;
  }

  const names = ({ hubs }: { hubs: { hubId: string }[] }) => hubs.map((row) => row.hubId);

  describe('hubs', () => {
    test('a hub that registers learns of all that run, itself included, by id', async () => {
      const { records } = await setup();
      await begin(records, hub('b'));
      const answer = await begin(records, hub('a', { url: null }));
      expect(answer.hubs).toMatchObject([
        { hubId: 'a', url: null, version: '0.1.0', run: answer.run },
        { hubId: 'b', url: 'http://b:7700' },
      ]);
    });

    test('a hub that is not renewed is gone after its time, and its rest goes on', async () => {
      const { records, elapse } = await setup();
      const a = await begin(records, hub('a'));
      const b = await begin(records, hub('b'));
      await elapse(ttlMs - 2_000);
      await begin(records, hub('b', { run: b.run }));
      await elapse(3_000);
      const seen = await begin(records, hub('b', { run: b.run }));
      expect(names(seen)).toEqual(['b']);
      // Nobody took the id meanwhile: a late renewal is as good as one in time.
      expect(await begin(records, hub('a', { run: a.run }))).toMatchObject({ run: a.run });
    });

    test('a renewal carries a new URL and a new broker', async () => {
      const { records } = await setup();
      const { run, hubs: before } = await begin(records, hub('a'));
      expect(before).toMatchObject([{ broker: null }]);
      const { hubs } = await begin(records, hub('a', { run, url: 'http://moved:1', broker: '17' }));
      expect(hubs).toMatchObject([{ hubId: 'a', url: 'http://moved:1', broker: '17', run }]);
    });

    test('the list is of those that run, and asking for it registers nobody', async () => {
      const { records, elapse } = await setup();
      expect(await records.listHubs()).toEqual([]);
      await begin(records, hub('b', { broker: '17' }));
      const { hubs } = await begin(records, hub('a'));
      expect(await records.listHubs()).toEqual(hubs);
      await elapse(ttlMs + 1);
      expect(await records.listHubs()).toEqual([]);
    });

    test('a new start takes the id, and the older process is told so while the newer runs', async () => {
      const { records, elapse } = await setup();
      const older = await begin(records, hub('a', { url: 'http://old:1' }));
      const newer = await begin(records, hub('a', { url: 'http://new:1' }));
      expect(newer.run).toBeGreaterThan(older.run);
      expect(await records.registerHub(hub('a', { run: older.run }))).toEqual({ kind: 'superseded' });
      expect((await begin(records, hub('b'))).hubs).toMatchObject([{ url: 'http://new:1' }, { hubId: 'b' }]);
      await elapse(ttlMs + 1);
      const back = await begin(records, hub('a', { run: older.run }));
      expect(back.run).toBeGreaterThan(newer.run);
    });

    test('a hub that says that it ends is gone at once; the word of an older run is not heard', async () => {
      const { records } = await setup();
      const older = await begin(records, hub('a'));
      const newer = await begin(records, hub('a'));
      await records.unregisterHub({ hubId: 'a', run: older.run });
      expect(names(await begin(records, hub('b')))).toEqual(['a', 'b']);
      await records.unregisterHub({ hubId: 'a', run: newer.run });
      expect(names(await begin(records, hub('b')))).toEqual(['b']);
      expect((await begin(records, hub('a'))).run).toBeGreaterThan(newer.run);
      await records.unregisterHub({ hubId: 'never', run: 1 });
    });

    test('starts of one id at once get numbers of their own', async () => {
      const { records } = await setup();
      const answers = await Promise.all(Array.from({ length: 8 }, () => begin(records, hub('a'))));
      expect(new Set(answers.map((answer) => answer.run)).size).toBe(8);
    });

    test.each<[string, Partial<Wanted>]>([
      ['/hubId', { hubId: 'a/b' }],
      ['/url', { url: 'no url' }],
      ['/url', { url: `http://${'a'.repeat(2_100)}` }],
      ['/version', { version: 'v'.repeat(65) }],
      ['/broker', { broker: 'b'.repeat(129) }],
      ['/ttlMs', { ttlMs: 999 }],
      ['/ttlMs', { ttlMs: 600_001 }],
    ])('a row with a bad %s is refused by name', async (pointer, over) => {
      const { records } = await setup();
      await expect(records.registerHub(hub('a', over))).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        errors: [{ pointer }],
      });
      expect(names(await begin(records, hub('b')))).toEqual(['b']);
    });
  });
}
