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
  retryable,
  t0,
} from './records-fixture.conformance.ts';

/** How runs end: docs/protocol.md §1. */
export function exitSuite(setup: RecordsSetup): void {
  const hub = async () => hubOn((await setup()).records);

  describe('complete', () => {
    test('a completion commits the result, the run and the floor stays', async () => {
      const { records, submit, claim, complete, job, facts } = await hub();
      const id = await submit();
      await claim(id, '500');
      expect(await complete(id, '500')).toEqual({ kind: 'committed', fenceFloor: '0', limited: false });
      expect(await job(id)).toMatchObject({
        state: 'succeeded',
        result: { outputs: [], data: { answer: 42 } },
        progress: 1,
        fenceFloor: '0',
        finishedAtMs: t0 + 100,
        startedAtMs: t0 + 10,
        ...m1,
      });
      const { runs, transitions } = await records.timeline(id);
      expect(runs).toEqual([
        {
          jobId: id,
          run: 1,
          token: '500',
          ...m1,
          startedAtMs: t0 + 10,
          endedAtMs: t0 + 100,
          outcome: 'succeeded',
          counted: false,
          error: null,
        },
      ]);
      expect(transitions.map((each) => [each.from, each.to, each.operation, each.actor])).toEqual([
        [null, 'waiting', 'submit', 'client'],
        ['waiting', 'leased', 'claim', 'recorder'],
        ['leased', 'succeeded', 'complete', 'm1/1'],
      ]);
      expect(await facts(id)).toEqual(['job.submitted', 'job.leased', 'job.succeeded']);
    });

    test('a completion stands although its claim was never recorded, and the claim copied later dates it', async () => {
      const { records, submit, claim, complete, job, facts } = await hub();
      const id = await submit();
      expect(await complete(id, '500', { holder: m2, nowMs: t0 + 900 })).toMatchObject({ kind: 'committed' });
      await claim(id, '500', m2, t0 + 300);
      expect(await job(id)).toMatchObject({
        state: 'succeeded',
        ...m2,
        token: '500',
        runs: 1,
        startedAtMs: t0 + 300,
        finishedAtMs: t0 + 900,
      });
      expect((await records.timeline(id)).runs).toMatchObject([
        { run: 1, outcome: 'succeeded', startedAtMs: t0 + 300, endedAtMs: t0 + 900 },
      ]);
      expect(await facts(id)).toEqual(['job.submitted', 'job.succeeded', 'job.leased']);
    });

    test('the same token again is told that it had committed, another token that it had not', async () => {
      const { submit, complete, job } = await hub();
      const id = await submit();
      await complete(id, '500');
      const before = await job(id);
      expect(await complete(id, '500', { nowMs: t0 + 999 })).toEqual({
        kind: 'terminal',
        state: 'succeeded',
        fenceFloor: '0',
        same: true,
      });
      expect(await complete(id, '501', { holder: m2 })).toEqual({
        kind: 'terminal',
        state: 'succeeded',
        fenceFloor: '0',
        same: false,
      });
      expect(await job(id)).toEqual(before);
    });

    test('a machine that was granted the very token of another is told that its completion is not the one', async () => {
      const { records, submit, claim, complete } = await hub();
      const id = await submit();
      await claim(id, '500', m1);
      await complete(id, '500', { holder: m1 });
      expect(await complete(id, '500', { holder: m2 })).toMatchObject({ kind: 'terminal', same: false });
      expect(await complete(id, '500', { holder: m1 })).toMatchObject({ kind: 'terminal', same: true });
      expect((await records.timeline(id)).runs).toMatchObject([{ ...m1, outcome: 'succeeded' }]);
    });

    test('R2: a token below the floor is stale, its run is closed and nothing else changes', async () => {
      const { records, submit, claim, complete, exit, job } = await hub();
      const id = await submit();
      await claim(id, '500');
      await exit(id, '600', expire, { holder: m2 });
      const before = await job(id);
      expect(await complete(id, '500')).toEqual({ kind: 'staleLease', fenceFloor: '601' });
      expect(await job(id)).toEqual(before);
      expect((await records.timeline(id)).runs).toMatchObject([
        { token: '500', outcome: 'released' },
        { token: '600', outcome: 'expired', counted: true },
      ]);
    });

    test('a token exactly at the floor completes', async () => {
      const { submit, complete, exit } = await hub();
      const id = await submit();
      await exit(id, '500', release);
      expect(await complete(id, '501')).toMatchObject({ kind: 'committed' });
    });

    test('a held job was never handed out: a completion of it is stale', async () => {
      const { submit, complete, job } = await hub();
      const id = await submit({ state: 'held' });
      expect(await complete(id, '500')).toMatchObject({ kind: 'staleLease' });
      expect(await job(id)).toMatchObject({ state: 'held', result: null });
    });

    test('tokens beyond what a double counts exactly are kept digit by digit', async () => {
      const { submit, complete, job } = await hub();
      const id = await submit();
      await complete(id, '9007199254740993');
      expect(await job(id)).toMatchObject({ token: '9007199254740993' });
    });

    test('an unknown job is unknown', async () => {
      const { complete, exit } = await hub();
      expect(await complete('nobody', '1')).toEqual({ kind: 'unknown' });
      expect(await exit('nobody', '1', release)).toEqual({ kind: 'unknown' });
    });

    test('T5: of a completion and an expiry at once exactly one has its way', async () => {
      const { records, submit, claim, complete, exit, job } = await hub();
      const id = await submit();
      await claim(id, '500');
      const [completed, expired] = await Promise.all([complete(id, '500'), exit(id, '500', expire)]);
      const won = completed.kind === 'committed';
      expect(expired).toMatchObject({ applied: !won });
      expect((await job(id)).state).toBe(won ? 'succeeded' : 'waiting');
      expect((await records.timeline(id)).runs).toHaveLength(1);
    });
  });

  describe('every other exit', () => {
    test('a retryable failure counts an attempt, raises the floor past its token and waits its delay', async () => {
      const { records, submit, claim, exit, job, facts } = await hub();
      const id = await submit();
      await claim(id, '500');
      const answer = await exit(id, '500', retryable(t0 + 5_000));
      expect(answer).toEqual({
        kind: 'ok',
        limited: false,
        applied: true,
        state: 'scheduled',
        fenceFloor: '501',
        attempts: 1,
        runs: 1,
        notBeforeMs: t0 + 5_000,
        cancelRequested: false,
      });
      expect(await job(id)).toMatchObject({
        state: 'scheduled',
        attempts: 1,
        notBeforeMs: t0 + 5_000,
        error: { code: 'CONNECTOR_FAILED' },
        reason: null,
        finishedAtMs: null,
      });
      expect((await records.timeline(id)).runs).toMatchObject([
        { outcome: 'failed', counted: true, error: { message: 'the service died' } },
      ]);
      expect(await facts(id)).toEqual(['job.submitted', 'job.leased', 'job.retried']);
    });

    test('a delay that has passed already is none', async () => {
      const { submit, exit } = await hub();
      expect(await exit(await submit(), '500', retryable(t0 + 100), { nowMs: t0 + 100 })).toMatchObject({
        state: 'waiting',
        notBeforeMs: null,
      });
    });

    test('a release keeps its attempt and the progress starts anew', async () => {
      const { records, submit, claim, record, event, exit, job } = await hub();
      const id = await submit();
      await claim(id, '500');
      await record(event('progress', id, { token: '500', fraction: 0.7 }));
      expect(await exit(id, '500', release)).toMatchObject({
        applied: true,
        state: 'waiting',
        attempts: 0,
        runs: 1,
      });
      expect(await job(id)).toMatchObject({ state: 'waiting', progress: 0, machineId: 'm1' });
      expect((await records.timeline(id)).runs).toMatchObject([{ outcome: 'released', counted: false }]);
    });

    test('a permanent error ends the job at once without counting', async () => {
      const { submit, exit, job, facts } = await hub();
      const id = await submit();
      expect(await exit(id, '500', permanent)).toMatchObject({ applied: true, state: 'failed', attempts: 0 });
      expect(await job(id)).toMatchObject({
        state: 'failed',
        error: { code: 'JOB_FAILED', retryable: false },
        finishedAtMs: t0 + 100,
      });
      expect(await facts(id)).toEqual(['job.submitted', 'job.failed']);
    });

    test('T11: attempts used up by machines that fell silent are called poison, with the machines', async () => {
      const { submit, exit, job, facts } = await hub();
      const id = await submit({ maxAttempts: 2 });
      await exit(id, '500', expire);
      expect(await exit(id, '600', expire, { holder: m2 })).toMatchObject({
        state: 'dead',
        attempts: 2,
        runs: 2,
      });
      const { reason } = await job(id);
      expect(reason).toContain('all 2 attempts');
      expect(reason).toContain('m1/1, m2/4');
      expect(reason).toContain('poison');
      expect(await facts(id)).toEqual(['job.submitted', 'job.expired', 'job.dead']);
    });

    test('attempts used up by errors are not called poison', async () => {
      const { submit, exit, job } = await hub();
      const id = await submit({ maxAttempts: 2 });
      await exit(id, '500', expire);
      await exit(id, '600', retryable());
      const { state, reason } = await job(id);
      expect(state).toBe('dead');
      expect(reason).not.toContain('poison');
      expect(reason).toContain('CONNECTOR_FAILED');
    });

    test(`${runsLimit} runs end a job that is always released`, async () => {
      const { submit, exit, job } = await hub();
      const id = await submit();
      for (let run = 1; run < runsLimit; run++)
        expect(await exit(id, String(run * 10), release)).toMatchObject({ state: 'waiting', runs: run });
      expect(await exit(id, '9000', release)).toMatchObject({ state: 'dead', attempts: 0, runs: runsLimit });
      expect((await job(id)).reason).toContain(`${runsLimit} runs`);
    });

    test.each([
      ['a failure', retryable()],
      ['a permanent error', permanent],
      ['an expiry', expire],
      ['a release', release],
      ['its cancel', { kind: 'cancel', reason: 'asked to' }],
    ] as const)('after a cancel was requested, %s ends the job as cancelled', async (_, cause) => {
      const { records, submit, claim, exit, job } = await hub();
      const id = await submit({ maxAttempts: 1 });
      await claim(id, '500');
      await records.requestCancel({ jobId: id, actor: 'client', nowMs: t0 + 50 });
      expect(await exit(id, '500', cause)).toMatchObject({
        applied: true,
        state: 'cancelled',
        fenceFloor: '501',
      });
      expect(await job(id)).toMatchObject({ state: 'cancelled', finishedAtMs: t0 + 100 });
    });

    test('an exit below the floor changes nothing and tells the present state', async () => {
      const { records, submit, claim, exit, job } = await hub();
      const id = await submit();
      await exit(id, '500', expire);
      await claim(id, '700', m2);
      const before = await job(id);
      expect(await exit(id, '500', expire)).toEqual({
        kind: 'ok',
        limited: false,
        applied: false,
        state: 'leased',
        fenceFloor: '501',
        attempts: 1,
        runs: 2,
        notBeforeMs: null,
        cancelRequested: false,
      });
      expect(await job(id)).toEqual(before);
      await records.requestCancel({ jobId: id, actor: 'client', nowMs: t0 });
      expect(await exit(id, '500', expire)).toMatchObject({ state: 'leased', cancelRequested: true });
    });

    test('a late exit of an ended job closes its run and leaves everything else', async () => {
      const { records, submit, claim, exit, cancel, complete, job } = await hub();
      const id = await submit();
      await claim(id, '400', m2);
      await claim(id, '500');
      await complete(id, '500');
      const before = await job(id);
      expect((await records.timeline(id)).runs).toMatchObject([
        { token: '400', outcome: 'running' },
        { token: '500', outcome: 'succeeded' },
      ]);
      expect(await exit(id, '400', retryable(), { holder: m2 })).toMatchObject({
        applied: false,
        state: 'succeeded',
        attempts: 0,
      });
      expect(await exit(id, '500', expire)).toMatchObject({ applied: false, state: 'succeeded' });
      expect(await job(id)).toEqual(before);
      expect((await records.timeline(id)).runs).toMatchObject([
        { token: '400', outcome: 'failed', counted: false },
        { token: '500', outcome: 'succeeded' },
      ]);
      await cancel(id);
    });

    test('the exit of a run that a newer recorded claim overtook leaves the job with the newer one', async () => {
      const { records, submit, claim, exit, complete, job } = await hub();
      const id = await submit();
      await claim(id, '400', m2);
      await claim(id, '500');
      expect(await exit(id, '400', expire, { holder: m2 })).toMatchObject({
        applied: true,
        state: 'leased',
        fenceFloor: '401',
        attempts: 1,
      });
      expect(await job(id)).toMatchObject({ state: 'leased', token: '500', ...m1 });
      expect(await complete(id, '500')).toMatchObject({ kind: 'committed' });
      expect((await records.timeline(id)).transitions.map((each) => each.to)).toEqual([
        'waiting',
        'leased',
        'succeeded',
      ]);
    });

    test('many exits at once of one token count once', async () => {
      const { submit, claim, exit, job } = await hub();
      const id = await submit({ maxAttempts: 5 });
      await claim(id, '500');
      const answers = await Promise.all(Array.from({ length: 8 }, () => exit(id, '500', expire)));
      expect(answers.filter((answer) => answer.kind === 'ok' && answer.applied)).toHaveLength(1);
      expect(await job(id)).toMatchObject({ attempts: 1, runs: 1, fenceFloor: '501' });
    });
  });

  describe('previews', () => {
    test('the newest run’s last preview is kept, also when the run fails', async () => {
      const { records, submit, exit } = await hub();
      const id = await submit();
      const put = (token: string, byte: number) =>
        records.putPreview({
          jobId: id,
          token,
          mime: 'image/webp',
          bytes: Uint8Array.of(byte, 0, 255),
          nowMs: t0,
        });
      await put('500', 1);
      await put('500', 2);
      await put('400', 3);
      await exit(id, '500', permanent);
      const preview = await records.getPreview(id);
      expect({ ...preview, bytes: [...(preview?.bytes ?? [])] }).toEqual({
        mime: 'image/webp',
        token: '500',
        bytes: [2, 0, 255],
      });
    });

    test('a preview over 64 KiB and one of an unknown job are refused', async () => {
      const { records, submit } = await hub();
      const preview = {
        jobId: await submit(),
        token: '1',
        mime: 'image/webp',
        bytes: new Uint8Array(65_537),
        nowMs: t0,
      };
      await expect(records.putPreview(preview)).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' });
      await expect(
        records.putPreview({ ...preview, jobId: 'nobody', bytes: new Uint8Array(1) }),
      ).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await records.putPreview({ ...preview, bytes: new Uint8Array(65_536) });
    });
  });
}
