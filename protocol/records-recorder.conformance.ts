import { describe, expect, test } from 'vitest';
import {
  expire,
  hubOn,
  m1,
  m2,
  type RecordsSetup,
  release,
  retryable,
  t0,
} from './records-fixture.conformance.ts';

/** The recorder's copy of the Broker's events, and the events that people and programs read. */
export function recorderSuite(setup: RecordsSetup): void {
  const hub = async () => hubOn((await setup()).records);

  describe('copying the broker’s events', () => {
    test('the same events again change nothing, and the cursor never falls', async () => {
      const { records, submit, record, event, job, facts } = await hub();
      const id = await submit();
      const events = [
        event('leased', id, { token: '500' }),
        event('progress', id, { token: '500', fraction: 0.25 }),
      ];
      expect(await record(...events)).toEqual({ kind: 'ok', value: { cursor: 2 } });
      const before = [await job(id), await records.timeline(id), await facts(id)];
      expect(await record(...events)).toEqual({ kind: 'ok', value: { cursor: 2 } });
      expect(await record()).toEqual({ kind: 'ok', value: { cursor: 2 } });
      expect([await job(id), await records.timeline(id), await facts(id)]).toEqual(before);
      expect(await records.recorderCursor('server-1')).toBe(2);
      expect(await records.recorderCursor('server-2')).toBe(0);
    });

    test('events at or before the cursor are not read again', async () => {
      const { submit, record, event, job, exit } = await hub();
      const id = await submit({ state: 'scheduled', notBeforeMs: t0 + 100 });
      const promoted = event('promoted', id, { atMs: t0 + 5_000 });
      await record(promoted, event('leased', id, { token: '500' }));
      await exit(id, '500', retryable(t0 + 3_000));
      expect(await record(promoted)).toEqual({ kind: 'ok', value: { cursor: 2 } });
      expect(await job(id)).toMatchObject({ state: 'scheduled', notBeforeMs: t0 + 3_000 });
    });

    test('another server that tells the same claim again adds nothing', async () => {
      const first = await hub();
      const id = await first.submit();
      await first.claim(id, '500');
      const before = [await first.job(id), await first.records.timeline(id), await first.facts(id)];
      const events = [first.event('leased', id, { id: 1, token: '500' })];
      await first.records.recordBrokerEvents({ identity: 'server-2', events, lease: await first.recorder() });
      expect([await first.job(id), await first.records.timeline(id), await first.facts(id)]).toEqual(before);
      expect(await first.records.recorderCursor('server-2')).toBe(1);
    });

    test('a claim below the floor or of an ended job moves nothing and is told as late, once', async () => {
      const { records, submit, exit, event, record, job, recorder } = await hub();
      const id = await submit();
      await exit(id, '500', release);
      const before = await job(id);
      await record(event('leased', id, { token: '400', ...m2 }));
      await records.recordBrokerEvents({
        identity: 'server-2',
        events: [event('leased', id, { id: 1, token: '400', ...m2 })],
        lease: await recorder(),
      });
      expect(await job(id)).toEqual(before);
      await records.assignSeq({ limit: 100, lease: await recorder() });
      const leased = await records.listEvents({ after: 0, limit: 10, types: ['job.leased'] });
      expect(leased).toMatchObject([{ jobId: id, machineId: 'm2', data: { token: '400', late: true } }]);
    });

    test('what made a machine choose a job is kept with its claim', async () => {
      const { records, submit, event, record, recorder } = await hub();
      const id = await submit();
      await record(event('leased', id, { token: '500', choice: { bonusMs: 9_000, penaltyMs: 250 } }));
      await records.assignSeq({ limit: 100, lease: await recorder() });
      const [leased] = await records.listEvents({ after: 0, limit: 10, types: ['job.leased'] });
      expect(leased?.data).toMatchObject({ token: '500', bonusMs: 9_000, penaltyMs: 250 });
    });

    test('a scheduled job is claimed when the broker says so', async () => {
      const { submit, claim, job } = await hub();
      const id = await submit({ state: 'scheduled', notBeforeMs: t0 + 5 });
      await claim(id, '500');
      expect(await job(id)).toMatchObject({ state: 'leased', token: '500' });
    });

    test('an adopted lease is a lease', async () => {
      const { submit, record, event, job, facts } = await hub();
      const id = await submit();
      await record(event('adopted', id, { token: '500', ...m2 }));
      expect(await job(id)).toMatchObject({ state: 'leased', token: '500', ...m2, runs: 1 });
      await record(event('leased', id, { token: '500', ...m2 }));
      expect(await job(id)).toMatchObject({ runs: 1 });
      expect(await facts(id)).toEqual(['job.submitted', 'job.adopted', 'job.leased']);
    });

    test('a promotion moves a scheduled job whose time has come, no other', async () => {
      const { submit, record, event, job, claim, exit } = await hub();
      const id = await submit({ state: 'scheduled', notBeforeMs: t0 + 100 });
      await record(event('promoted', id, { atMs: t0 + 99 }));
      expect(await job(id)).toMatchObject({ state: 'scheduled' });
      await record(event('promoted', id, { atMs: t0 + 100 }));
      expect(await job(id)).toMatchObject({ state: 'waiting' });
      await claim(id, '500');
      await record(event('promoted', id, { atMs: t0 + 101 }));
      expect(await job(id)).toMatchObject({ state: 'leased' });
      await exit(id, '500', retryable(t0 + 9_000));
      // Copied late: it is the promotion of the wait before.
      await record(event('promoted', id, { atMs: t0 + 102 }));
      expect(await job(id)).toMatchObject({ state: 'scheduled', notBeforeMs: t0 + 9_000 });
    });

    test('progress rises for the token that holds the job and for no other', async () => {
      const { submit, claim, record, event, job, exit, facts } = await hub();
      const id = await submit();
      const progress = (token: string, fraction: number | null) =>
        record(event('progress', id, { token, fraction }));
      await progress('500', 0.9);
      await claim(id, '500');
      await progress('500', 0.4);
      await progress('500', 0.2);
      await progress('499', 0.8);
      await progress('501', 0.8);
      await progress('500', null);
      expect(await job(id)).toMatchObject({ progress: 0.4 });
      await progress('500', 0.401);
      expect(await job(id)).toMatchObject({ progress: 0.401 });
      await exit(id, '500', expire);
      await progress('500', 0.95);
      expect(await job(id)).toMatchObject({ progress: 0 });
      expect(await facts(id)).toEqual(['job.submitted', 'job.leased', 'job.progressed', 'job.expired']);
    });

    test('events of jobs that Records do not know are passed over', async () => {
      const { record, event, submit, job } = await hub();
      const id = await submit();
      expect(
        await record(event('leased', 'nobody', { token: '1' }), event('leased', id, { token: '2' })),
      ).toMatchObject({ value: { cursor: 2 } });
      expect(await job(id)).toMatchObject({ state: 'leased' });
    });

    test('a recorder whose lease is gone copies nothing and moves no cursor', async () => {
      const under = await setup();
      const { records, submit, event, job, recorder } = hubOn(under.records);
      const id = await submit();
      const lease = await recorder();
      await under.elapse(600_001);
      const events = [event('leased', id, { token: '500' })];
      expect(await records.recordBrokerEvents({ identity: 'server-1', events, lease })).toEqual({
        kind: 'staleSingleton',
      });
      expect(await records.assignSeq({ limit: 10, lease })).toEqual({ kind: 'staleSingleton' });
      expect(await job(id)).toMatchObject({ state: 'waiting' });
      expect(await records.recorderCursor('server-1')).toBe(0);
      expect(await records.highestSeq()).toBe(0);
    });
  });

  describe('events', () => {
    test('seq is given by the recorder alone, in commit order, without gaps', async () => {
      const { records, submit, recorder, exit } = await hub();
      const [a, b] = [await submit(), await submit()];
      await exit(a, '1', release);
      expect(await records.listEvents({ after: 0, limit: 10 })).toEqual([]);
      expect(await records.assignSeq({ limit: 2, lease: await recorder() })).toEqual({
        kind: 'ok',
        value: { highestSeq: 2, assigned: 2 },
      });
      expect(await records.highestSeq()).toBe(2);
      expect(
        (await records.listEvents({ after: 0, limit: 10 })).map((event) => [event.seq, event.jobId]),
      ).toEqual([
        [1, a],
        [2, b],
      ]);
      await records.assignSeq({ limit: 10, lease: await recorder() });
      expect(await records.assignSeq({ limit: 10, lease: await recorder() })).toEqual({
        kind: 'ok',
        value: { highestSeq: 3, assigned: 0 },
      });
      expect(
        (await records.listEvents({ after: 2, limit: 10 })).map((event) => [event.seq, event.type]),
      ).toEqual([[3, 'job.released']]);
    });

    test('refused calls leave no gap in seq', async () => {
      const { records, submit, recorder } = await hub();
      await submit();
      const bad = { type: 'job.unheard', jobId: null, machineId: null, data: {}, atMs: t0 };
      await Promise.allSettled([records.appendEvent(bad), submit(), records.appendEvent(bad), submit()]);
      await records.assignSeq({ limit: 100, lease: await recorder() });
      expect((await records.listEvents({ after: 0, limit: 10 })).map((event) => event.seq)).toEqual([
        1, 2, 3,
      ]);
    });

    test('lists choose by job and by type, in order of seq', async () => {
      const { records, submit, exit, recorder } = await hub();
      const [a, b] = [await submit(), await submit()];
      await exit(b, '1', release);
      await exit(a, '1', release);
      await records.assignSeq({ limit: 100, lease: await recorder() });
      const seqs = async (options: { jobId?: string; types?: string[]; after?: number; limit?: number }) =>
        (await records.listEvents({ after: 0, limit: 10, ...options })).map((event) => event.seq);
      expect(await seqs({ types: ['job.released', 'job.submitted'] })).toEqual([1, 2, 3, 4]);
      expect(await seqs({ types: ['job.released'] })).toEqual([3, 4]);
      expect(await seqs({ types: [] })).toEqual([]);
      expect(await seqs({ jobId: a })).toEqual([1, 4]);
      expect(await seqs({ jobId: a, types: ['job.released'], after: 1 })).toEqual([4]);
      expect(await seqs({ types: ['job.released', 'job.submitted'], after: 1, limit: 2 })).toEqual([2, 3]);
    });

    test('facts of machines are appended in their form', async () => {
      const { records, recorder } = await hub();
      const incident = {
        type: 'machine.incident',
        jobId: null,
        machineId: 'm1',
        data: { incarnation: 1, kind: 'gpu.lost', detail: 'card 0 fell off the bus' },
        atMs: t0,
      };
      await records.appendEvent(incident);
      await records.assignSeq({ limit: 10, lease: await recorder() });
      expect(await records.listEvents({ after: 0, limit: 10 })).toEqual([{ seq: 1, ...incident }]);
    });

    test.each([
      ['/type', { type: 'machine.exploded', data: {} }],
      ['/data/kind', { type: 'machine.incident', data: { incarnation: 1, detail: 'x' } }],
      [
        '/data',
        {
          type: 'machine.incident',
          data: { incarnation: 1, kind: 'x', detail: 'x', fields: { log: 'x'.repeat(20_000) } },
        },
      ],
    ])('a fact of another form is refused at %s', async (pointer, wrong) => {
      const { records } = await hub();
      const appended = records.appendEvent({ jobId: null, machineId: 'm1', atMs: t0, ...wrong });
      await expect(appended).rejects.toMatchObject({ code: 'VALIDATION_FAILED', errors: [{ pointer }] });
    });

    test('a claim recorded after its completion is told as late', async () => {
      const { records, submit, claim, complete, recorder } = await hub();
      const id = await submit();
      await complete(id, '500');
      await claim(id, '500', m1);
      await records.assignSeq({ limit: 10, lease: await recorder() });
      expect(await records.listEvents({ after: 0, limit: 10, types: ['job.leased'] })).toMatchObject([
        { data: { late: true, run: 1 } },
      ]);
    });
  });
}
