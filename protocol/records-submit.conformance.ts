import { describe, expect, test } from 'vitest';
import { JobState } from './job.ts';
import {
  type Hub,
  hubOn,
  m1,
  newJob,
  type RecordsSetup,
  release,
  t0,
} from './records-fixture.conformance.ts';

/** Submit, the broker's mark, admission, and how jobs are read. */
export function submitSuite(setup: RecordsSetup): void {
  const hub = async () => hubOn((await setup()).records);

  describe('submit', () => {
    test('a job is read as it was submitted', async () => {
      const { records } = await hub();
      const job = newJob({
        labels: { project: 'moon' },
        models: ['flux-dev'],
        notBeforeMs: t0 + 5.25,
        expiresAtMs: t0 + 9_000,
        state: 'scheduled',
      });
      const [answer] = await records.submitJobs([job], t0);
      const { fingerprint: _, ...sent } = job;
      expect(answer).toMatchObject({ kind: 'created', job: sent });
      expect(await records.getJob(job.id)).toEqual(answer?.kind === 'created' && answer.job);
      expect(await records.getJob(job.id)).toMatchObject({
        ...sent,
        attempts: 0,
        runs: 0,
        fenceFloor: '0',
        token: null,
        submittedAtMs: t0,
        brokeredAtMs: null,
        progress: 0,
        result: null,
      });
    });

    test('payloads keep unicode, depth and size', async () => {
      const { records } = await hub();
      const payload = {
        'a"b\\c\u0000': ['雪', '🚀', { deep: [null, 1e-9, false] }],
        big: 'x'.repeat(900_000),
      };
      const job = newJob({ payload });
      await records.submitJobs([job], t0);
      expect((await records.getJob(job.id))?.payload).toEqual(payload);
    });

    test('T21: the same submission again is a repeat, also after the job has ended', async () => {
      const { records, complete } = await hub();
      const job = newJob();
      await records.submitJobs([job], t0);
      await complete(job.id, '7');
      const [again] = await records.submitJobs([{ ...job }], t0 + 1_000);
      expect(again).toMatchObject({ kind: 'exists', job: { state: 'succeeded', submittedAtMs: t0 } });
    });

    test('another submission under a known id is a conflict and the other jobs of the call are stored', async () => {
      const { records } = await hub();
      const [a, b] = [newJob(), newJob()];
      await records.submitJobs([a], t0);
      const answers = await records.submitJobs(
        [{ ...a, fingerprint: 'another' }, b, b, { ...b, fingerprint: 'third' }],
        t0,
      );
      expect(answers.map((answer) => answer.kind)).toEqual(['conflict', 'created', 'exists', 'conflict']);
      expect(await records.getJob(a.id)).toMatchObject({ payload: a.payload });
    });

    test('calls of one turn of the event loop are answered each for itself', async () => {
      const { records } = await hub();
      const bad = { ...newJob(), priority: 'high' as unknown as number };
      const jobs = Array.from({ length: 20 }, () => newJob());
      const answers = await Promise.allSettled(
        [...jobs.slice(0, 10), bad, ...jobs.slice(10)].map((job) => records.submitJobs([job], t0)),
      );
      expect(answers.map((answer) => answer.status).filter((status) => status === 'rejected')).toHaveLength(
        1,
      );
      expect(answers[10]?.status).toBe('rejected');
      expect(await records.getJob(bad.id)).toBeNull();
      for (const job of jobs) expect(await records.getJob(job.id)).toMatchObject({ state: 'waiting' });
    });

    test('a call that fails half-way leaves nothing, and those that share its commit stand', async () => {
      const { records, recorder } = await hub();
      const [before, first, after] = [newJob({ labels: { k: 'v' } }), newJob(), newJob()];
      const bad = { ...newJob(), priority: 'high' as unknown as number };
      const answers = await Promise.allSettled(
        [[before], [first, bad], [after]].map((jobs) => records.submitJobs(jobs, t0)),
      );
      expect(answers.map((answer) => answer.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      expect([await records.getJob(first.id), await records.getJob(bad.id)]).toEqual([null, null]);
      await records.assignSeq({ limit: 10, lease: await recorder() });
      expect((await records.listEvents({ after: 0, limit: 10 })).map((event) => event.jobId)).toEqual([
        before.id,
        after.id,
      ]);
    });

    test('R33: one submission from many callers at once is created once', async () => {
      const { records } = await hub();
      const job = newJob();
      const answers = await Promise.all(Array.from({ length: 12 }, () => records.submitJobs([job], t0)));
      expect(answers.flat().filter((answer) => answer.kind === 'created')).toHaveLength(1);
      expect((await records.timeline(job.id)).transitions).toHaveLength(1);
    });
  });

  describe('the broker mark', () => {
    test('unbrokered jobs are those waiting or scheduled that no broker took', async () => {
      const { records } = await hub();
      const [marked, held, cancelled, later, open] = ['marked', 'held', 'cancelled', 'later', 'open'].map(
        (id) => newJob({ id, ...(id === 'held' ? { state: 'held' } : {}) }),
      );
      await records.submitJobs([marked!, held!, cancelled!, open!], t0);
      await records.submitJobs([later!], t0 + 500);
      await records.markBrokered(['marked', 'never-heard-of'], t0 + 5);
      await records.requestCancel({ jobId: 'cancelled', actor: 'client', nowMs: t0 });
      const ids = (await records.unbrokeredJobs({ olderThanMs: t0 + 500, limit: 10 })).map((job) => job.id);
      expect(ids).toEqual(['open']);
      expect(await records.getJob('marked')).toMatchObject({ brokeredAtMs: t0 + 5 });
    });

    test('a mark keeps its first time and never lands on an ended job', async () => {
      const { records, submit, complete } = await hub();
      const [first, ended] = [await submit(), await submit()];
      await records.markBrokered([first], t0 + 1);
      await records.markBrokered([first], t0 + 2);
      await records.requestCancel({ jobId: ended, actor: 'client', nowMs: t0 });
      await records.finishCancel({ jobId: ended, actor: 'client', nowMs: t0 });
      await records.markBrokered([ended], t0 + 2);
      expect(await records.getJob(first)).toMatchObject({ brokeredAtMs: t0 + 1 });
      expect(await records.getJob(ended)).toMatchObject({ brokeredAtMs: null });
      await complete(first, '1');
    });

    test('a mark that names the floor does not land on the life after a requeue', async () => {
      const { records, submit, cancel } = await hub();
      const id = await submit();
      await cancel(id);
      await records.requeueJob({ jobId: id, actor: 'operator', nowMs: 0 });
      await records.markBrokered([{ jobId: id, fenceFloor: '0' }], t0 + 9);
      expect(await records.unbrokeredJobs({ olderThanMs: t0 + 1, limit: 10 })).toMatchObject([
        { id, brokeredAtMs: null, fenceFloor: '1' },
      ]);
      await records.markBrokered([{ jobId: id, fenceFloor: '1' }], t0 + 10);
      expect(await records.unbrokeredJobs({ olderThanMs: t0 + 1, limit: 10 })).toEqual([]);
    });

    test('a recorded claim or an exit proves that the broker had the job', async () => {
      const { records, submit, claim, exit } = await hub();
      const [claimed, released] = [await submit(), await submit()];
      await claim(claimed, '5');
      await exit(released, '6', release);
      expect(await records.unbrokeredJobs({ olderThanMs: t0 + 1, limit: 10 })).toEqual([]);
    });
  });

  listSuite(hub);
}

function listSuite(hub: () => Promise<Hub>): void {
  describe('lists', () => {
    test('R8: pages walk every job once, newest first, while new ones arrive', async () => {
      const { records } = await hub();
      const ids = Array.from({ length: 25 }, (_, n) => `page-${String(n).padStart(2, '0')}`);
      // Three to a millisecond: the order within one is the order of the commits.
      for (const [n, id] of ids.entries()) await records.submitJobs([newJob({ id })], t0 + Math.floor(n / 3));
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const page = await records.listJobs({ filter: {}, limit: 4, cursor });
        seen.push(...page.items.map((job) => job.id));
        cursor = page.nextCursor;
        await records.submitJobs([newJob()], t0 + 1_000 + seen.length);
      } while (cursor);
      expect(seen).toEqual(ids.toReversed());
    });

    test('each filter and all together choose the same jobs as their meaning', async () => {
      const { records, submit, claim } = await hub();
      await submit({
        id: 'a',
        service: 'ollama',
        customer: 'acme',
        pool: 'heavy',
        labels: { project: 'moon' },
      });
      await submit({ id: 'b', service: 'ollama', labels: { project: 'mars' } });
      await submit({ id: 'c', customer: 'acme', state: 'held', labels: { project: 'moon' } });
      await claim('a', '3');
      const ids = async (filter: Parameters<typeof records.listJobs>[0]['filter']) =>
        (await records.listJobs({ filter, limit: 10, cursor: null })).items.map((job) => job.id).sort();
      expect(await ids({ service: 'ollama' })).toEqual(['a', 'b']);
      expect(await ids({ customer: 'acme' })).toEqual(['a', 'c']);
      expect(await ids({ pool: 'heavy' })).toEqual(['a']);
      expect(await ids({ machineId: 'm1' })).toEqual(['a']);
      expect(await ids({ state: ['held', 'waiting', 'held'] })).toEqual(['b', 'c']);
      expect(await ids({ state: [] })).toEqual([]);
      expect(await ids({ label: { key: 'project', value: 'moon' } })).toEqual(['a', 'c']);
      expect(await ids({ submittedAfterMs: t0 })).toEqual([]);
      expect(
        await ids({
          submittedAfterMs: t0 - 1,
          label: { key: 'project', value: 'moon' },
          customer: 'acme',
          state: ['leased'],
          service: 'ollama',
          pool: 'heavy',
          machineId: 'm1',
        }),
      ).toEqual(['a']);
    });

    test('a cursor continues under a filter and a label', async () => {
      const { records, submit } = await hub();
      for (const id of ['l1', 'l2', 'l3']) await submit({ id, labels: { k: 'v' } });
      const filter = { label: { key: 'k', value: 'v' }, state: ['waiting', 'held'] satisfies JobState[] };
      const first = await records.listJobs({ filter, limit: 2, cursor: null });
      const second = await records.listJobs({ filter, limit: 2, cursor: first.nextCursor });
      expect([first, second].map((page) => page.items.map((job) => job.id))).toEqual([['l3', 'l2'], ['l1']]);
      expect(second.nextCursor).toBeNull();
    });

    test('a page that ends the list has no cursor, also when it is full', async () => {
      const { records, submit } = await hub();
      for (const id of ['f1', 'f2']) await submit({ id });
      expect((await records.listJobs({ filter: {}, limit: 2, cursor: null })).nextCursor).toBeNull();
      expect((await records.listJobs({ filter: {}, limit: 1, cursor: null })).nextCursor).not.toBeNull();
      expect(await records.listJobs({ filter: { service: 'none' }, limit: 1, cursor: null })).toEqual({
        items: [],
        nextCursor: null,
      });
    });

    test('R10: counts follow the same filters and name every state', async () => {
      const { records, submit } = await hub();
      await submit({ customer: 'acme', labels: { k: 'v' } });
      await submit({ customer: 'acme', state: 'held' });
      await submit();
      expect(Object.keys(await records.countJobs({})).sort()).toEqual([...JobState.options].sort());
      expect(await records.countJobs({ customer: 'acme' })).toMatchObject({ waiting: 1, held: 1, leased: 0 });
      expect(await records.countJobs({ state: ['held'] })).toMatchObject({ waiting: 0, held: 1 });
      expect(await records.countJobs({ label: { key: 'k', value: 'v' } })).toMatchObject({
        waiting: 1,
        held: 0,
      });
    });

    test.each([
      '',
      'x',
      '%%%',
      'MTox',
      `${'A'.repeat(4_000)}`,
      btoa('2:1:1'),
      btoa("1:1:1' OR 1=1"),
      btoa('1:-1:1'),
      btoa('1:NaN:1'),
    ])('the cursor %j is refused by name', async (cursor) => {
      const { records } = await hub();
      await expect(records.listJobs({ filter: {}, limit: 10, cursor })).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        errors: [{ pointer: '/cursor' }],
      });
    });

    test.each([0, -1, 1.5, 1_001, Number.NaN])('the limit %d is refused by name', async (limit) => {
      const { records } = await hub();
      await expect(records.listJobs({ filter: {}, limit, cursor: null })).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        errors: [{ pointer: '/limit' }],
      });
    });

    test('open jobs come in id order, a page after the last id, whatever their state', async () => {
      const { records, submit, claim, complete } = await hub();
      for (const id of ['o5', 'o1', 'o4', 'o2', 'o3'])
        await submit({ id, ...(id === 'o4' ? { state: 'held' } : {}) });
      await claim('o5', '1');
      await complete('o2', '2');
      const first = await records.openJobs({ after: null, limit: 2 });
      const second = await records.openJobs({ after: 'o3', limit: 10 });
      expect([first, second].map((page) => page.map((job) => job.id))).toEqual([
        ['o1', 'o3'],
        ['o4', 'o5'],
      ]);
    });

    test('of a list of ids, the ended and the unknown are told with their floors', async () => {
      const { records, submit, complete, exit } = await hub();
      await submit({ id: 'open' });
      await submit({ id: 'done' });
      await submit({ id: 'dead', maxAttempts: 1 });
      await complete('done', '40');
      await exit('dead', '50', { kind: 'expire', reason: 'silent' });
      expect(await records.endedAmong(['open', 'done', 'dead', 'gone'])).toEqual([
        { jobId: 'done', fenceFloor: '0', known: true },
        { jobId: 'dead', fenceFloor: '51', known: true },
        { jobId: 'gone', fenceFloor: '0', known: false },
      ]);
      expect(await records.endedAmong([])).toEqual([]);
    });

    test('what is unknown reads as nothing', async () => {
      const { records } = await hub();
      expect(await records.getJob('nobody')).toBeNull();
      expect(await records.timeline('nobody')).toEqual({ transitions: [], runs: [] });
      expect(await records.getPreview('nobody')).toBeNull();
    });

    test('preemption sees the lowest runs that may be given back, and the highest that wait', async () => {
      const { records, submit, claim } = await hub();
      const runs = [
        ['late', 10, true],
        ['early', 10, true],
        ['higher', 40, true],
        ['stays', 0, false],
      ] as const;
      for (const [id, priority, preemptible] of runs) await submit({ id, priority, preemptible });
      for (const [id, priority] of [
        ['ordinary', 50],
        ['high', 51],
        ['highest', 100],
        ['second', 100],
      ] as const)
        await submit({ id, priority });
      const looked = async (limit = 10) => {
        const { urgent, running } = await records.preemption({ limit });
        return [urgent.map(({ id }) => id), running.map(({ id }) => id)];
      };
      expect(await looked()).toEqual([[], []]);
      for (const [n, id] of (['early', 'late', 'higher', 'stays'] as const).entries())
        await claim(id, String(100 + n), m1, t0 + 10 + n);
      expect(await looked()).toEqual([
        ['highest', 'second', 'high'],
        ['late', 'early', 'higher'],
      ]);
      expect(await looked(1)).toEqual([['highest'], ['late']]);
      expect(await records.getJob('late')).toMatchObject({ preemptible: true });
    });

    test('runs past their limit are overdue, longest first', async () => {
      const { records, submit, claim } = await hub();
      await submit({ id: 'short', maxRunMs: 1_000 });
      await submit({ id: 'long', maxRunMs: 90_000 });
      await submit({ id: 'older', maxRunMs: 1_000 });
      for (const [n, id] of ['older', 'short', 'long'].entries()) await claim(id, String(n + 1), m1, t0 + n);
      expect(await records.overdueRuns({ nowMs: t0 + 1_000, limit: 10 })).toEqual([]);
      const overdue = await records.overdueRuns({ nowMs: t0 + 2_000, limit: 10 });
      expect(overdue).toEqual([
        { jobId: 'older', token: '1', ...m1 },
        { jobId: 'short', token: '2', ...m1 },
      ]);
    });
  });
}
