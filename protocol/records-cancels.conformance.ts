import { describe, expect, test } from 'vitest';
import { runsLimit } from './job.ts';
import {
  expire,
  hubOn,
  m1,
  m2,
  permanent,
  type RecordsSetup,
  release,
  t0,
} from './records-fixture.conformance.ts';

/** Cancel, requeue, time to live: docs/protocol.md §2. */
export function cancelSuite(setup: RecordsSetup): void {
  const hub = async () => hubOn((await setup()).records);

  describe('cancel', () => {
    test('a request tells the floor and who holds the job, and is found until it is finished', async () => {
      const { records, submit, claim, job, facts } = await hub();
      const [waiting, leased] = [await submit(), await submit()];
      await claim(leased, '500');
      const request = (jobId: string) => records.requestCancel({ jobId, actor: 'client', nowMs: t0 + 50 });
      expect(await request(waiting)).toEqual({ kind: 'requested', fenceFloor: '0', holder: null });
      expect(await request(leased)).toEqual({ kind: 'requested', fenceFloor: '0', holder: m1 });
      expect(await request(leased)).toEqual({ kind: 'already', fenceFloor: '0', ended: false });
      expect(await job(leased)).toMatchObject({ state: 'leased', cancelRequestedAtMs: t0 + 50 });
      expect(await records.unfinishedCancels({ olderThanMs: t0 + 50, limit: 10 })).toEqual([]);
      expect(
        (await records.unfinishedCancels({ olderThanMs: t0 + 51, limit: 10 })).map((each) => each.id),
      ).toEqual([waiting, leased]);
      for (const jobId of [waiting, leased])
        expect(await records.finishCancel({ jobId, actor: 'client', nowMs: t0 + 60 })).toEqual({
          kind: 'cancelled',
        });
      expect(await records.unfinishedCancels({ olderThanMs: t0 + 999, limit: 10 })).toEqual([]);
      expect(await job(leased)).toMatchObject({
        state: 'cancelled',
        fenceFloor: '501',
        finishedAtMs: t0 + 60,
      });
      expect((await records.timeline(leased)).runs).toMatchObject([
        { outcome: 'cancelled', counted: false, endedAtMs: t0 + 60 },
      ]);
      expect(await facts(waiting)).toEqual(['job.submitted', 'job.cancel_requested', 'job.cancelled']);
    });

    test('a completion committed earlier wins', async () => {
      const { records, submit, complete, job } = await hub();
      const id = await submit();
      await records.requestCancel({ jobId: id, actor: 'client', nowMs: t0 });
      expect(await complete(id, '500')).toMatchObject({ kind: 'committed' });
      expect(await records.finishCancel({ jobId: id, actor: 'client', nowMs: t0 })).toEqual({
        kind: 'tooLate',
      });
      expect(await records.requestCancel({ jobId: id, actor: 'client', nowMs: t0 })).toEqual({
        kind: 'tooLate',
        state: 'succeeded',
      });
      expect(await records.unfinishedCancels({ olderThanMs: t0 + 999, limit: 10 })).toEqual([]);
      expect(await job(id)).toMatchObject({ state: 'succeeded' });
    });

    test('a completion after the cancel is refused and leaves no result', async () => {
      const { submit, claim, cancel, complete, job } = await hub();
      const id = await submit();
      await claim(id, '500');
      await cancel(id);
      expect(await complete(id, '500')).toMatchObject({ kind: 'terminal', state: 'cancelled', same: false });
      expect(await job(id)).toMatchObject({ state: 'cancelled', result: null });
    });

    test('finishing needs a request, and twice is once', async () => {
      const { records, submit, cancel, job } = await hub();
      const id = await submit();
      const finish = () => records.finishCancel({ jobId: id, actor: 'reconciler', nowMs: t0 });
      expect(await finish()).toEqual({ kind: 'tooLate' });
      expect(await job(id)).toMatchObject({ state: 'waiting' });
      await cancel(id);
      expect(await finish()).toEqual({ kind: 'cancelled' });
      expect(await records.requestCancel({ jobId: id, actor: 'client', nowMs: t0 })).toEqual({
        kind: 'already',
        fenceFloor: '0',
        ended: true,
      });
      expect((await records.timeline(id)).transitions.map((each) => each.to)).toEqual([
        'waiting',
        'cancelled',
      ]);
    });

    test('a cancel that nobody asked for, or that a requeue took back, gives the job back', async () => {
      const { submit, claim, exit, job, records } = await hub();
      const id = await submit();
      await claim(id, '500');
      expect(await exit(id, '500', { kind: 'cancel', reason: 'told late' })).toMatchObject({
        applied: true,
        state: 'waiting',
        attempts: 0,
        fenceFloor: '501',
      });
      expect(await job(id)).toMatchObject({ state: 'waiting', attempts: 0 });
      const { runs } = await records.timeline(id);
      expect(runs).toMatchObject([{ outcome: 'released', counted: false }]);
    });

    test('unknown jobs are unknown', async () => {
      const { records, requeue } = await hub();
      const by = { jobId: 'nobody', actor: 'client', nowMs: t0 };
      expect(await records.requestCancel(by)).toEqual({ kind: 'unknown' });
      expect(await records.finishCancel(by)).toEqual({ kind: 'unknown' });
      expect(await requeue('nobody')).toEqual({ kind: 'unknown' });
    });
  });

  describe('requeue', () => {
    test('a dead job gets a new life above every token of the old one', async () => {
      const { records, submit, claim, exit, job, requeue, complete, facts } = await hub();
      const id = await submit({ maxAttempts: 1, expiresAtMs: t0 + 500 });
      await claim(id, '500');
      await exit(id, '500', expire);
      const answer = await requeue(id);
      expect(answer).toMatchObject({
        kind: 'requeued',
        job: {
          id,
          state: 'waiting',
          fenceFloor: '502',
          attempts: 0,
          brokeredAtMs: null,
          cancelRequestedAtMs: null,
          expiresAtMs: null,
          finishedAtMs: null,
          reason: null,
          error: null,
        },
      });
      expect(await job(id)).toEqual(answer.kind === 'requeued' && answer.job);
      expect(await complete(id, '501')).toMatchObject({ kind: 'staleLease' });
      expect(await exit(id, '502', expire)).toMatchObject({
        applied: true,
        state: 'dead',
        attempts: 1,
        runs: 2,
      });
      expect(await facts(id)).toContain('job.requeued');
      expect((await records.timeline(id)).runs.map((run) => run.run)).toEqual([1, 2]);
    });

    test('the floor rises above the recorded token of a job that was cancelled while leased', async () => {
      const { records, submit, claim, requeue } = await hub();
      const id = await submit();
      await claim(id, '700');
      await records.requestCancel({ jobId: id, actor: 'client', nowMs: t0 });
      await records.finishCancel({ jobId: id, actor: 'client', nowMs: t0 });
      const answer = await requeue(id);
      expect(answer.kind === 'requeued' && Number(answer.job.fenceFloor)).toBeGreaterThan(700);
    });

    test('the floor rises above a newer run that was going on when an older one ended the job', async () => {
      const { submit, claim, exit, requeue, complete } = await hub();
      const id = await submit({ maxAttempts: 1 });
      await claim(id, '400', m2);
      await claim(id, '500');
      expect(await exit(id, '400', expire, { holder: m2 })).toMatchObject({
        state: 'dead',
        fenceFloor: '401',
      });
      expect(await requeue(id)).toMatchObject({ kind: 'requeued', job: { fenceFloor: '501' } });
      expect(await complete(id, '500')).toMatchObject({ kind: 'staleLease' });
    });

    test('the floor rises above every claim until now, also of one that records never heard of', async () => {
      const { submit, cancel, claim, requeue, job, complete } = await hub();
      const id = await submit();
      await cancel(id);
      const unheard = String(t0 * 1_000);
      const fenceFloor = String((t0 + 200) * 1_000 + 1);
      expect(await requeue(id, t0 + 200)).toMatchObject({ kind: 'requeued', job: { fenceFloor } });
      await claim(id, unheard);
      expect(await job(id)).toMatchObject({ state: 'waiting', token: null, machineId: null, runs: 0 });
      expect(await complete(id, unheard)).toEqual({ kind: 'staleLease', fenceFloor });
    });

    test('a job dead of too many runs may run as often again', async () => {
      const { submit, exit, requeue } = await hub();
      const id = await submit();
      for (let run = 1; run <= runsLimit; run++) await exit(id, String(run), release);
      await requeue(id);
      for (let run = 1; run < runsLimit; run++)
        expect(await exit(id, String(100 + run), release)).toMatchObject({ state: 'waiting' });
      expect(await exit(id, '900', release)).toMatchObject({ state: 'dead', runs: 2 * runsLimit });
    });

    test('what has not ended, and what succeeded, is not requeued', async () => {
      const { submit, claim, complete, requeue, job } = await hub();
      const id = await submit();
      expect(await requeue(id)).toEqual({ kind: 'notTerminal', state: 'waiting' });
      await claim(id, '5');
      expect(await requeue(id)).toEqual({ kind: 'notTerminal', state: 'leased' });
      await complete(id, '5');
      expect(await requeue(id)).toEqual({ kind: 'succeeded' });
      expect(await job(id)).toMatchObject({ state: 'succeeded', fenceFloor: '0' });
    });

    test('two operators at once requeue once', async () => {
      const { submit, exit, requeue, job } = await hub();
      const id = await submit();
      await exit(id, '500', permanent);
      const answers = await Promise.all([requeue(id), requeue(id)]);
      expect(answers.map((answer) => answer.kind).sort()).toEqual(['notTerminal', 'requeued']);
      expect(await job(id)).toMatchObject({ fenceFloor: '502' });
    });
  });

  describe('time to live', () => {
    test('jobs that nobody claimed in time are dead, oldest first, at most the limit', async () => {
      const { records, submit, claim, job, facts, recorder } = await hub();
      for (const [n, state] of (['waiting', 'held', 'scheduled'] as const).entries())
        await submit({ id: state, state, expiresAtMs: t0 + n });
      await submit({ id: 'claimed', expiresAtMs: t0 });
      await claim('claimed', '5');
      await submit({ id: 'later', expiresAtMs: t0 + 50 });
      await submit({ id: 'endless' });
      const lease = await recorder();
      const sweep = (limit: number) => records.expireTtl({ nowMs: t0 + 10, limit, lease });
      expect(await sweep(2)).toEqual({
        kind: 'ok',
        value: [
          { jobId: 'waiting', fenceFloor: '0' },
          { jobId: 'held', fenceFloor: '0' },
        ],
      });
      expect(await sweep(2)).toEqual({ kind: 'ok', value: [{ jobId: 'scheduled', fenceFloor: '0' }] });
      expect(await sweep(2)).toEqual({ kind: 'ok', value: [] });
      expect(await job('held')).toMatchObject({ state: 'dead', finishedAtMs: t0 + 10 });
      expect((await job('held')).reason).toContain('time to live');
      expect(await facts('waiting')).toEqual(['job.submitted', 'job.dead']);
    });

    test('of the jobs whose time has passed only those that are named end, and none that was claimed since', async () => {
      const { records, submit, claim, job, recorder } = await hub();
      for (const id of ['a', 'b', 'c']) await submit({ id, expiresAtMs: t0 });
      await submit({ id: 'later', expiresAtMs: t0 + 50 });
      const nowMs = t0 + 10;
      expect(await records.passedTtl({ nowMs, limit: 10 })).toEqual(['a', 'b', 'c']);
      expect(await records.passedTtl({ nowMs, limit: 2 })).toEqual(['a', 'b']);
      await claim('b', '5');
      const jobIds = ['a', 'b', 'later', 'nobody'];
      expect(await records.expireTtl({ nowMs, limit: 10, jobIds, lease: await recorder() })).toEqual({
        kind: 'ok',
        value: [{ jobId: 'a', fenceFloor: '0' }],
      });
      expect(await records.passedTtl({ nowMs, limit: 10 })).toEqual(['c']);
      expect((await job('b')).state).toBe('leased');
      expect((await job('later')).state).toBe('waiting');
    });

    test('a sweeper whose lease is gone expires nothing', async () => {
      const { records, submit, recorder, job } = await hub();
      const id = await submit({ expiresAtMs: t0 });
      const lease = await recorder();
      for (const stale of [
        { ...lease, token: lease.token + 1 },
        { ...lease, holder: 'other' },
        { ...lease, name: 'sweeper' },
      ]) {
        expect(await records.expireTtl({ nowMs: t0 + 10, limit: 10, lease: stale })).toEqual({
          kind: 'staleSingleton',
        });
      }
      expect(await job(id)).toMatchObject({ state: 'waiting' });
    });
  });
}
