import { describe, expect, test } from 'vitest';
import { hubOn, type RecordsSetup, t0 } from './records-fixture.conformance.ts';
import { ScheduleDefinition, type ScheduleOutcome, schedulesLimit } from './schedule.ts';

/** Jobs that come again and again. */
export function schedulesSuite(setup: RecordsSetup): void {
  const definition = ScheduleDefinition.parse({
    cron: '0 3 * * *',
    timezone: 'Europe/Berlin',
    job: { service: 'simulation', payload: { 'nul \u0000': 'und \ud800 halb' } },
  });
  const nightly = { name: 'nightly', definition, nextAtMs: t0 + 1_000, actor: 'ann', nowMs: t0 };
  const submitted: ScheduleOutcome = {
    dueAtMs: t0 + 1_000,
    outcome: 'submitted',
    jobId: 'nightly.1',
    detail: '',
  };
  const hub = async () => {
    const { records } = await setup();
    const { recorder } = hubOn(records);
    const advance = async (last: ScheduleOutcome, over: { fromMs?: number; nextAtMs?: number | null } = {}) =>
      await records.advanceSchedule({
        name: 'nightly',
        fromMs: t0 + 1_000,
        nextAtMs: t0 + 2_000,
        last,
        lease: await recorder(),
        nowMs: t0 + 1_500,
        ...over,
      });
    return { records, recorder, advance };
  };

  describe('schedules', () => {
    test('are kept by name, with everything their definition says', async () => {
      const { records } = await hub();
      const kept = await records.putSchedule(nightly);
      const { name, nextAtMs, actor } = nightly;
      const times = { createdAtMs: t0, updatedAtMs: t0 };
      expect(kept).toEqual({ ...definition, name, nextAtMs, actor, last: null, lastJobId: null, ...times });
      await records.putSchedule({ ...nightly, name: 'hourly', nextAtMs: null });
      expect(await records.listSchedules()).toEqual([{ ...kept, name: 'hourly', nextAtMs: null }, kept]);
    });

    test('come due in the order of their times, paused ones never', async () => {
      const { records } = await hub();
      await records.putSchedule(nightly);
      await records.putSchedule({ ...nightly, name: 'earlier', nextAtMs: t0 + 500 });
      await records.putSchedule({ ...nightly, name: 'paused', nextAtMs: null });
      const due = async (nowMs: number, limit = 10) =>
        (await records.dueSchedules({ nowMs, limit })).map((each) => each.name);
      expect(await due(t0 + 499)).toEqual([]);
      expect(await due(t0 + 999)).toEqual(['earlier']);
      expect(await due(t0 + 1_000)).toEqual(['earlier', 'nightly']);
      expect(await due(t0 + 1_000, 1)).toEqual(['earlier']);
      await expect(due(t0, 1_001)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    });

    test('come due in pages, those of one time by name', async () => {
      const { records } = await hub();
      for (const name of ['b', 'a', 'B', 'a-1']) await records.putSchedule({ ...nightly, name });
      await records.putSchedule({ ...nightly, name: 'earlier', nextAtMs: t0 + 500 });
      await records.putSchedule({ ...nightly, name: 'later', nextAtMs: t0 + 1_001 });
      const pages: string[][] = [];
      for (let after: Parameters<typeof records.dueSchedules>[0]['after'] = null; pages.length < 4; ) {
        const page = await records.dueSchedules({ nowMs: t0 + 1_000, limit: 2, after });
        pages.push(page.map(({ name }) => name));
        const last = page.at(-1);
        after = last === undefined ? after : { nextAtMs: last.nextAtMs ?? 0, name: last.name };
      }
      expect(pages).toEqual([['earlier', 'B'], ['a', 'a-1'], ['b'], []]);
    });

    test('what became of a time is noted once, and the job submitted last is kept', async () => {
      const { records, advance } = await hub();
      await records.putSchedule(nightly);
      expect(await advance(submitted)).toEqual({ kind: 'ok', value: true });
      expect(await advance(submitted)).toEqual({ kind: 'ok', value: false });
      const late: ScheduleOutcome = { dueAtMs: t0 + 2_000, outcome: 'skipped', jobId: null, detail: 'late' };
      expect(await advance(late, { fromMs: t0 + 2_000, nextAtMs: null })).toEqual({
        kind: 'ok',
        value: true,
      });
      expect(await records.listSchedules()).toMatchObject([
        { nextAtMs: null, last: late, lastJobId: 'nightly.1' },
      ]);
    });

    test('a changed one keeps what it did; one that was changed or removed meanwhile is not moved on', async () => {
      const { records, advance } = await hub();
      await records.putSchedule(nightly);
      await advance(submitted);
      const changed = { ...nightly, nextAtMs: t0 + 9_000, actor: 'bob', nowMs: t0 + 3_000 };
      expect(await records.putSchedule(changed)).toMatchObject({
        last: submitted,
        lastJobId: 'nightly.1',
        createdAtMs: t0,
        updatedAtMs: t0 + 3_000,
        actor: 'bob',
      });
      expect(await advance(submitted, { fromMs: t0 + 2_000 })).toEqual({ kind: 'ok', value: false });
      const by = { name: 'nightly', actor: 'bob', nowMs: t0 + 4_000 };
      expect(await records.removeSchedule(by)).toBe(true);
      expect(await records.removeSchedule(by)).toBe(false);
      expect(await advance(submitted, { fromMs: t0 + 9_000 })).toEqual({ kind: 'ok', value: false });
    });

    test('every change is told as a fact', async () => {
      const { records, advance, recorder } = await hub();
      await records.putSchedule(nightly);
      await advance(submitted);
      await records.removeSchedule({ name: 'nightly', actor: 'bob', nowMs: t0 + 4_000 });
      await records.assignSeq({ limit: 100, lease: await recorder() });
      const types = ['schedule.saved', 'schedule.came_due', 'schedule.removed'];
      expect(await records.listEvents({ after: 0, limit: 10, types })).toMatchObject([
        { type: 'schedule.saved', data: { name: 'nightly', actor: 'ann', nextAtMs: t0 + 1_000 } },
        {
          type: 'schedule.came_due',
          jobId: 'nightly.1',
          data: { outcome: 'submitted', dueAtMs: t0 + 1_000 },
        },
        { type: 'schedule.removed', data: { name: 'nightly', actor: 'bob' }, atMs: t0 + 4_000 },
      ]);
    });

    test('without the role nothing is moved', async () => {
      const under = await setup();
      const { records } = under;
      await records.putSchedule(nightly);
      const lease = await hubOn(records).recorder();
      await under.elapse(600_001);
      const asked = { name: 'nightly', fromMs: t0 + 1_000, nextAtMs: null, last: submitted, nowMs: t0 };
      expect(await records.advanceSchedule({ ...asked, lease })).toEqual({ kind: 'staleSingleton' });
      expect(await records.listSchedules()).toMatchObject([{ last: null }]);
    });

    test('beyond their limit they are refused, and one that is kept may still change', async () => {
      const { records } = await hub();
      for (let number = 0; number < schedulesLimit; number++)
        await records.putSchedule({ ...nightly, name: `s-${number}` });
      await expect(records.putSchedule(nightly)).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await records.putSchedule({ ...nightly, name: 's-0', actor: 'bob' })).toMatchObject({
        actor: 'bob',
      });
    });
  });
}
