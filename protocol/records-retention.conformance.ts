import { describe, expect, test } from 'vitest';
import { hubOn, type RecordsSetup, t0 } from './records-fixture.conformance.ts';

/** What is old enough is forgotten, in pages, by the holder of a role. */
export function retentionSuite(setup: RecordsSetup): void {
  const hub = async () => hubOn((await setup()).records);
  const later = t0 + 1_000;

  describe('retention of jobs', () => {
    test('jobs that ended are listed in the order of their ends; those that have not are not', async () => {
      const { records, submit, complete, claim, cancel } = await hub();
      const [first, second, third, running] = [
        await submit(),
        await submit(),
        await submit(),
        await submit(),
      ];
      await submit();
      await claim(running, '900');
      await cancel(third, t0 + 10);
      await complete(second, '500', { nowMs: t0 + 20 });
      await complete(first, '400', { nowMs: t0 + 30 });
      expect(await records.endedJobs({ beforeMs: later, limit: 10 })).toEqual([third, second, first]);
      expect(await records.endedJobs({ beforeMs: later, limit: 2 })).toEqual([third, second]);
      expect(await records.endedJobs({ beforeMs: t0 + 30, limit: 10 })).toEqual([third, second]);
    });

    test('a forgotten job is gone with all that hangs on it, and the counts know; its id is free again', async () => {
      const { records, submit, claim, complete, recorder, facts } = await hub();
      const id = await submit({ labels: { album: 'a' } });
      const other = await submit({ labels: { album: 'a' } });
      await claim(id, '500');
      await records.putPreview({
        jobId: id,
        token: '500',
        mime: 'image/png',
        bytes: new Uint8Array(3),
        nowMs: t0,
      });
      await complete(id, '500');
      const lease = await recorder();
      const asked = { jobIds: [id, other, 'nobody'], beforeMs: later, lease };
      expect(await records.forgetJobs(asked)).toEqual({ kind: 'ok', value: [id] });
      expect(await records.forgetJobs(asked)).toEqual({ kind: 'ok', value: [] });
      expect(await records.getJob(id)).toBeNull();
      expect(await records.getPreview(id)).toBeNull();
      expect(await records.timeline(id)).toEqual({ transitions: [], runs: [] });
      const labelled = { filter: { label: { key: 'album', value: 'a' } }, limit: 10, cursor: null };
      expect((await records.listJobs(labelled)).items.map((job) => job.id)).toEqual([other]);
      expect(await records.countJobs({})).toMatchObject({ succeeded: 0, waiting: 1 });
      expect(await facts(id)).toEqual(['job.submitted', 'job.leased', 'job.succeeded']);
      expect(await submit({ id })).toBe(id);
    });

    test('a job that was requeued, or ended again later, is kept', async () => {
      const { records, submit, cancel, requeue, recorder, job } = await hub();
      const [again, late] = [await submit(), await submit()];
      await cancel(again);
      await cancel(late, t0 + 5_000);
      const jobIds = [again, late];
      await requeue(again);
      const asked = { jobIds, beforeMs: later, lease: await recorder() };
      expect(await records.forgetJobs(asked)).toEqual({ kind: 'ok', value: [] });
      expect((await job(again)).state).toBe('waiting');
      expect((await job(late)).state).toBe('cancelled');
    });

    test('a stale role forgets nothing', async () => {
      const { records, submit, cancel, recorder, job } = await hub();
      const id = await submit();
      await cancel(id);
      const lease = await recorder();
      await records.dropSingleton(lease);
      const stale = { kind: 'staleSingleton' };
      expect(await records.forgetJobs({ jobIds: [id], beforeMs: later, lease })).toEqual(stale);
      expect(await records.forgetEvents({ beforeMs: later, limit: 10, lease })).toEqual(stale);
      expect((await job(id)).state).toBe('cancelled');
    });

    test.each([0, 1_001])('a page of %i jobs is refused', async (limit) => {
      const { records } = await hub();
      await expect(records.endedJobs({ beforeMs: later, limit })).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
      });
    });
  });

  describe('retention of events', () => {
    const incident = (number: number, atMs: number) => ({
      type: 'hub.started',
      jobId: null,
      machineId: null,
      data: { hubId: `h${number}`, version: '1' },
      atMs,
    });

    test('the oldest numbered ones go, up to the first that is too young; numbers go on', async () => {
      const { records, recorder } = await hub();
      const lease = await recorder();
      for (const [number, atMs] of [t0, t0 + 10, t0 + 9_000, t0 + 20].entries())
        await records.appendEvent(incident(number, atMs));
      await records.assignSeq({ limit: 100, lease });
      await records.appendEvent(incident(9, t0 + 1));
      const seqs = async () => (await records.listEvents({ after: 0, limit: 100 })).map(({ seq }) => seq);
      const before = await seqs();
      // One that is as old as the bound is too young.
      expect(await records.forgetEvents({ beforeMs: t0, limit: 100, lease })).toEqual({
        kind: 'ok',
        value: 0,
      });
      expect(await records.forgetEvents({ beforeMs: later, limit: 1, lease })).toEqual({
        kind: 'ok',
        value: 1,
      });
      expect(await seqs()).toEqual(before.slice(1));
      expect(await records.forgetEvents({ beforeMs: later, limit: 100, lease })).toEqual({
        kind: 'ok',
        value: 1,
      });
      expect(await records.forgetEvents({ beforeMs: later, limit: 100, lease })).toEqual({
        kind: 'ok',
        value: 0,
      });
      expect(await seqs()).toEqual(before.slice(2));
      await records.assignSeq({ limit: 100, lease });
      expect(await seqs()).toEqual([...before.slice(2), (before.at(-1) ?? 0) + 1]);
    });

    test('where all are forgotten, the next one still has a higher number', async () => {
      const { records, recorder } = await hub();
      const lease = await recorder();
      await records.appendEvent(incident(1, t0));
      await records.assignSeq({ limit: 100, lease });
      const highest = await records.highestSeq();
      await records.forgetEvents({ beforeMs: later, limit: 100, lease });
      expect(await records.listEvents({ after: 0, limit: 10 })).toEqual([]);
      await records.appendEvent(incident(2, t0 + 1));
      await records.assignSeq({ limit: 100, lease });
      expect((await records.listEvents({ after: 0, limit: 10 })).map(({ seq }) => seq)).toEqual([
        highest + 1,
      ]);
    });
  });
}
