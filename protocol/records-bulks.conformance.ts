import { describe, expect, test } from 'vitest';
import { type Bulk, bulksLimit } from './bulk.ts';
import { hubOn, type RecordsSetup, t0 } from './records-fixture.conformance.ts';

/** What is done to many jobs at once. */
export function bulksSuite(setup: RecordsSetup): void {
  const bulk = (id: string, over: Partial<Bulk> = {}): Bulk => ({
    id,
    action: 'cancel',
    filter: { customer: 'ann', label: { key: 'team', value: 'a' } },
    state: 'running',
    matched: 7,
    done: 0,
    refused: 0,
    actor: 'ann',
    createdAtMs: t0,
    updatedAtMs: t0,
    ...over,
  });
  const hub = async () => {
    const { records } = await setup();
    const { recorder } = hubOn(records);
    const advance = async (id: string, over: { done?: number; refused?: number; cursor?: string | null }) =>
      await records.advanceBulk({
        ...{ done: 0, refused: 0, cursor: null, id, lease: await recorder(), nowMs: t0 + 5 },
        ...over,
      });
    return { records, recorder, advance };
  };

  describe('bulk actions', () => {
    test('are kept as they were begun, the newest first in a list, the oldest first at work', async () => {
      const { records } = await hub();
      const [first, second] = [bulk('first'), bulk('second', { action: 'requeue' })];
      await records.putBulk(first);
      await records.putBulk(second);
      expect(await records.getBulk('first')).toEqual(first);
      expect(await records.getBulk('third')).toBeNull();
      expect(await records.listBulks({ limit: 10 })).toEqual([second, first]);
      expect(await records.listBulks({ limit: 1 })).toEqual([second]);
      expect(await records.runningBulks()).toEqual([
        { ...first, cursor: null },
        { ...second, cursor: null },
      ]);
    });

    test('go on page by page, and are through when there is no page after', async () => {
      const { records, advance } = await hub();
      await records.putBulk(bulk('a'));
      expect(await advance('a', { done: 3, refused: 1, cursor: 'there' })).toEqual({
        kind: 'ok',
        value: true,
      });
      expect(await records.runningBulks()).toMatchObject([{ done: 3, refused: 1, cursor: 'there' }]);
      expect(await advance('a', { done: 2, cursor: null })).toEqual({ kind: 'ok', value: true });
      expect(await records.runningBulks()).toEqual([]);
      expect(await records.getBulk('a')).toMatchObject({
        state: 'done',
        done: 5,
        refused: 1,
        updatedAtMs: t0 + 5,
      });
      expect(await advance('a', { done: 2 })).toEqual({ kind: 'ok', value: false });
    });

    test('one that is aborted goes no further and stays as it is', async () => {
      const { records, advance, recorder } = await hub();
      await records.putBulk(bulk('a'));
      await advance('a', { done: 3, cursor: 'there' });
      const by = { id: 'a', actor: 'bob', nowMs: t0 + 9 };
      expect(await records.abortBulk(by)).toBe(true);
      expect(await records.abortBulk(by)).toBe(false);
      expect(await records.abortBulk({ ...by, id: 'b' })).toBe(false);
      expect(await advance('a', { done: 3, cursor: 'further' })).toEqual({ kind: 'ok', value: false });
      expect(await records.getBulk('a')).toMatchObject({ state: 'aborted', done: 3 });
      await records.assignSeq({ limit: 100, lease: await recorder() });
      const types = ['bulk.started', 'bulk.ended'];
      expect(await records.listEvents({ after: 0, limit: 10, types })).toMatchObject([
        { data: { bulkId: 'a', action: 'cancel', matched: 7, actor: 'ann' }, atMs: t0 },
        { data: { bulkId: 'a', state: 'aborted', done: 3, refused: 0, actor: 'bob' }, atMs: t0 + 9 },
      ]);
    });

    test('without the role nothing goes on', async () => {
      const under = await setup();
      const { records } = under;
      await records.putBulk(bulk('a'));
      const lease = await hubOn(records).recorder();
      await under.elapse(600_001);
      const asked = { id: 'a', done: 1, refused: 0, cursor: null, lease, nowMs: t0 };
      expect(await records.advanceBulk(asked)).toEqual({ kind: 'staleSingleton' });
      expect(await records.getBulk('a')).toMatchObject({ state: 'running', done: 0 });
    });

    test('beyond their limit no more are begun', async () => {
      const { records, advance } = await hub();
      for (let number = 0; number < bulksLimit; number++) await records.putBulk(bulk(`b-${number}`));
      await expect(records.putBulk(bulk('more'))).rejects.toMatchObject({ code: 'CONFLICT' });
      await advance('b-0', { cursor: null });
      await records.putBulk(bulk('more'));
    });

    test('jobs are told by when they were submitted and when they ended', async () => {
      const { records } = await setup();
      const { submit, exit } = hubOn(records);
      const id = await submit();
      const ids = async (filter: object) =>
        (await records.listJobs({ filter, limit: 10, cursor: null })).items.map((job) => job.id);
      expect(await ids({ submittedBeforeMs: t0 })).toEqual([]);
      expect(await ids({ submittedBeforeMs: t0 + 1 })).toEqual([id]);
      expect(await ids({ finishedBeforeMs: t0 + 1_000_000 })).toEqual([]);
      await exit(id, '5', {
        kind: 'fail',
        error: { code: 'INTERNAL', message: 'x', retryable: false },
        notBeforeMs: null,
      });
      expect(await ids({ finishedBeforeMs: t0 + 100 })).toEqual([]);
      expect(await ids({ finishedBeforeMs: t0 + 101 })).toEqual([id]);
      expect(await records.countJobs({ finishedBeforeMs: t0 + 101 })).toMatchObject({ failed: 1 });
    });
  });
}
