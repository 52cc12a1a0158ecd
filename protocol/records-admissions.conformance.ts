import { describe, expect, test } from 'vitest';
import { type LimitDefinition, limitsLimit } from './limit.ts';
import {
  expire,
  type Hub,
  hubOn,
  newJob,
  ordinary,
  type RecordsSetup,
  release,
  retryable,
  t0,
  withhold,
} from './records-fixture.conformance.ts';
import { compareTokens, tokenAfter } from './token.ts';

export const acme = { customer: 'acme', pool: 'standard', model: '-' };

export function limit(
  records: Hub['records'],
  name: string,
  definition: Partial<LimitDefinition>,
  nowMs = t0,
) {
  return records.putLimit({ name, definition: { reason: '', ...definition }, actor: 'ann', nowMs });
}

/** Ids of those that are let in. */
async function admit(hub: Hub, over: Partial<typeof acme> & { limit?: number; nowMs?: number } = {}) {
  const { jobs } = await hub.records.admitJobs({ ...acme, limit: 100, actor: 'hub', nowMs: t0, ...over });
  return jobs.map(({ id }) => id);
}

/** Holds `count` jobs of acme under the names 1, 2, … */
export async function hold(hub: Hub, count: number, over: Parameters<Hub['submit']>[0] = {}, prefix = '') {
  const held = { state: 'held', customer: 'acme', limited: true } as const;
  for (let n = 1; n <= count; n++) await hub.submit({ ...held, id: `${prefix}${n}`, ...over });
}

export function admissionsSuite(setup: RecordsSetup): void {
  const open = async () => hubOn((await setup()).records);

  describe('limits', () => {
    test('are kept by name with when they were made, and told as facts', async () => {
      const hub = await open();
      const { records } = hub;
      await limit(records, 'b', { customer: '*', pool: 'heavy', concurrent: 2 });
      const first = await limit(records, 'a', { model: 'sdxl', perMinute: 30, reason: 'paid by call' });
      expect(first).toMatchObject({ name: 'a', actor: 'ann', createdAtMs: t0, updatedAtMs: t0 });
      const changed = await limit(records, 'a', { model: 'sdxl', concurrent: 0 }, t0 + 9);
      expect(changed).toMatchObject({ concurrent: 0, reason: '', createdAtMs: t0, updatedAtMs: t0 + 9 });
      expect(changed.perMinute).toBeUndefined();
      expect((await records.listLimits()).map(({ name }) => name)).toEqual(['a', 'b']);
      expect(await records.removeLimit({ name: 'a', actor: 'bob', nowMs: t0 + 10 })).toBe(true);
      expect(await records.removeLimit({ name: 'a', actor: 'bob', nowMs: t0 + 11 })).toBe(false);
      expect(await records.listLimits()).toMatchObject([{ name: 'b', pool: 'heavy', concurrent: 2 }]);
      await records.assignSeq({ limit: 100, lease: await hub.recorder() });
      const types = ['limit.saved', 'limit.removed'];
      expect(await records.listEvents({ after: 0, limit: 10, types })).toMatchObject([
        { data: { name: 'b', actor: 'ann' } },
        { data: { name: 'a' } },
        { data: { name: 'a' }, atMs: t0 + 9 },
        { type: 'limit.removed', data: { name: 'a', actor: 'bob' }, atMs: t0 + 10 },
      ]);
    });

    test('beyond their number they are refused, and one that is kept may still change', async () => {
      const { records } = await open();
      for (let number = 0; number < limitsLimit; number++)
        await limit(records, `limit-${number}`, { pool: 'heavy', concurrent: 1 });
      await expect(limit(records, 'more', { pool: 'heavy', concurrent: 1 })).rejects.toMatchObject({
        code: 'CONFLICT',
      });
      await limit(records, 'limit-0', { pool: 'heavy', concurrent: 2 });
    }, 60_000);
  });

  describe('admission', () => {
    test('lets in by priority, then age, of one customer, pool and model', async () => {
      const hub = await open();
      await hold(hub, 1, { priority: 10 }, 'low');
      await hold(hub, 2, {}, 'mid');
      await hold(hub, 1, { pool: 'heavy', priority: 90 }, 'heavy');
      await hold(hub, 1, { customer: 'birch', priority: 90 }, 'birch');
      await hold(hub, 1, { affinity: 'sdxl', priority: 90 }, 'sdxl');
      expect(await admit(hub, { limit: 2 })).toEqual(['mid1', 'mid2']);
      expect(await hub.job('low1')).toMatchObject({ state: 'held' });
      expect(await admit(hub)).toEqual(['low1']);
      expect(await admit(hub)).toEqual([]);
      expect(await hub.facts('mid1')).toEqual(['job.submitted', 'job.admitted']);
      // No limit counts it: what it does next needs no room.
      expect(await hub.job('mid1')).toMatchObject({ state: 'waiting', limited: false, fenceFloor: '0' });
    });

    test('leaves out what a cancel was asked for, and what is to be tried later', async () => {
      const hub = await open();
      await hold(hub, 3, {}, 'a');
      await hub.records.requestCancel({ jobId: 'a1', actor: 'client', nowMs: t0 });
      await hold(hub, 1, { notBeforeMs: t0 + 500 }, 'later');
      const view = { after: null, limit: 10, nowMs: t0 };
      expect((await hub.records.admissionView(view)).nextDueMs).toBe(t0 + 500);
      expect(await admit(hub)).toEqual(['a2', 'a3']);
      expect(await admit(hub, { nowMs: t0 + 500 })).toEqual(['later1']);
      expect((await hub.records.admissionView({ ...view, nowMs: t0 + 500 })).nextDueMs).toBeNull();
    });

    test('refuses to let in more at once than it can do in one commit', async () => {
      const hub = await open();
      for (const wrong of [0, 501, 1.5])
        await expect(admit(hub, { limit: wrong })).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    });

    test('counts what waits or runs, until it ends, is given back or fails', async () => {
      const hub = await open();
      await limit(hub.records, 'three', { customer: 'acme', concurrent: 3 });
      await hold(hub, 9);
      expect(await admit(hub)).toEqual(['1', '2', '3']);
      expect(await hub.job('1')).toMatchObject({ limited: true });
      expect(await admit(hub)).toEqual([]);
      await hub.claim('1', '100');
      expect(await admit(hub)).toEqual([]);
      await hub.complete('1', '100');
      expect(await admit(hub)).toEqual(['4']);
      await hub.cancel('2');
      expect(await admit(hub)).toEqual(['5']);
      // Given back, silent, failed: each comes back behind the limit, and as the oldest is let in again first.
      await hub.exit('3', '200', release);
      expect(await hub.job('3')).toMatchObject({ state: 'held', limited: true });
      expect(await admit(hub)).toEqual(['3']);
      await hub.exit('3', '300', expire);
      expect(await hub.job('3')).toMatchObject({ state: 'held', attempts: 1 });
      expect(await admit(hub)).toEqual(['3']);
      await hub.exit('3', '400', retryable());
      expect(await hub.job('3')).toMatchObject({ state: 'held', attempts: 2 });
      expect(await admit(hub)).toEqual(['3']);
      const { admitted } = await hub.records.admissionView({ after: null, limit: 10, nowMs: t0 });
      expect(admitted).toEqual([{ ...acme, count: 3 }]);
    });

    test('a new limit counts what it names and runs', async () => {
      const hub = await open();
      for (const [id, customer] of [
        ['runs', 'acme'],
        ['other', 'birch'],
        ['waits', 'acme'],
      ] as const)
        await hub.submit({ id, customer });
      for (const id of ['runs', 'other']) await hub.claim(id, '100');
      await limit(hub.records, 'two', { customer: 'acme', concurrent: 2 });
      await limit(hub.records, 'none', { customer: '*', pool: 'heavy', concurrent: 0 });
      await hold(hub, 3);
      expect(await admit(hub)).toEqual(['1']);
      expect(await hub.job('other')).toMatchObject({ limited: false });
      expect(await hub.job('waits')).toMatchObject({ limited: false });
      await hub.complete('runs', '100');
      expect(await admit(hub)).toEqual(['2']);
    });

    test('a failed job is tried again after its pause, whatever room there is', async () => {
      const hub = await open();
      await limit(hub.records, 'one', { customer: 'acme', concurrent: 1 });
      await hold(hub, 2);
      expect(await admit(hub)).toEqual(['1']);
      await hub.exit('1', '100', retryable(t0 + 5_000));
      expect(await hub.job('1')).toMatchObject({ state: 'held', notBeforeMs: t0 + 5_000, attempts: 1 });
      expect(await admit(hub)).toEqual(['2']);
      await hub.complete('2', '200');
      expect(await admit(hub, { nowMs: t0 + 4_999 })).toEqual([]);
      expect(await admit(hub, { nowMs: t0 + 5_000 })).toEqual(['1']);
    });

    test('what was in the broker comes back above its tombstone, and as never brought there', async () => {
      const hub = await open();
      const { records } = hub;
      await limit(records, 'one', { customer: 'acme', concurrent: 1 });
      const id = await hub.submit({ customer: 'acme' });
      await records.markBrokered([id], t0);
      await hub.claim(id, '100');
      const answer = await hub.exit(id, '100', withhold);
      expect(answer).toMatchObject({ kind: 'ok', applied: true, state: 'held', attempts: 0 });
      const held = await hub.job(id);
      expect(held).toMatchObject({ state: 'held', limited: true, runs: 1, fenceFloor: tokenAfter('100') });
      expect(await records.unbrokeredJobs({ olderThanMs: t0 + 1, limit: 10 })).toEqual([]);
      expect(await admit(hub)).toEqual([id]);
      const admitted = await hub.job(id);
      expect(admitted).toMatchObject({ state: 'waiting', brokeredAtMs: null });
      expect(compareTokens(admitted.fenceFloor, held.fenceFloor)).toBe(1);
      expect(await records.unbrokeredJobs({ olderThanMs: t0 + 1, limit: 10 })).toMatchObject([{ id }]);
      expect(await hub.complete(id, '100')).toMatchObject({ kind: 'staleLease' });
    });

    test('a run that a limit forbade is not one of the twenty that a job may have', async () => {
      const hub = await open();
      const id = await hub.submit({ customer: 'acme' });
      for (let n = 1; n <= 30; n++) {
        await hub.exit(id, String(n * 10), withhold);
        expect(await admit(hub)).toEqual([id]);
      }
      expect(await hub.job(id)).toMatchObject({ state: 'waiting', runs: 30 });
    });

    test('a requeued job waits for room again', async () => {
      const hub = await open();
      await limit(hub.records, 'one', { customer: 'acme', concurrent: 1 });
      await hold(hub, 2);
      await admit(hub);
      await hub.cancel('1');
      expect(await admit(hub)).toEqual(['2']);
      expect(await hub.requeue('1')).toMatchObject({ kind: 'requeued', job: { state: 'held' } });
      expect(await admit(hub)).toEqual([]);
      await hub.complete('2', '100');
      expect(await admit(hub)).toEqual(['1']);
    });

    test('every limit that counts a job must have room', async () => {
      const hub = await open();
      await limit(hub.records, 'acme', { customer: 'acme', concurrent: 4 });
      await limit(hub.records, 'heavy', { pool: 'heavy', concurrent: 1 });
      await limit(hub.records, 'sdxl', { model: 'sdxl', concurrent: 2 });
      await hold(hub, 5, { pool: 'heavy', affinity: 'sdxl' }, 'both');
      await hold(hub, 5, { affinity: 'sdxl' }, 'model');
      await hold(hub, 5, {}, 'plain');
      await hold(hub, 1, { customer: 'birch', pool: 'heavy' }, 'birch');
      expect(await admit(hub, { pool: 'heavy', model: 'sdxl' })).toEqual(['both1']);
      expect(await admit(hub, { customer: 'birch', pool: 'heavy' })).toEqual([]);
      expect(await admit(hub, { model: 'sdxl' })).toEqual(['model1']);
      expect(await admit(hub)).toEqual(['plain1', 'plain2']);
      await hub.complete('both1', '100');
      expect(await admit(hub, { customer: 'birch', pool: 'heavy' })).toEqual(['birch1']);
    });

    test('a limit of every customer counts each on its own, one of none all together', async () => {
      const hub = await open();
      await limit(hub.records, 'each', { customer: '*', concurrent: 2 });
      for (const customer of ['acme', 'birch', 'cedar']) await hold(hub, 5, { customer }, customer);
      for (const customer of ['acme', 'birch', 'cedar']) {
        const admitted = await admit(hub, { customer });
        expect(admitted).toEqual([`${customer}1`, `${customer}2`]);
        for (const id of admitted) await hub.claim(id, '50');
      }
      await limit(hub.records, 'all', { pool: 'standard', concurrent: 6 });
      await hub.complete('acme1', '100');
      await limit(hub.records, 'each', { customer: '*', concurrent: 4 });
      expect(await admit(hub, { customer: 'birch' })).toEqual(['birch3']);
      expect(await admit(hub, { customer: 'cedar' })).toEqual([]);
    });

    test('a lower limit, or none, holds for what comes next', async () => {
      const hub = await open();
      await limit(hub.records, 'some', { customer: 'acme', concurrent: 3 });
      await hold(hub, 9);
      for (const id of await admit(hub)) await hub.claim(id, '100');
      await limit(hub.records, 'some', { customer: 'acme', concurrent: 1 });
      await hub.complete('1', '100');
      await hub.complete('2', '100');
      expect(await admit(hub)).toEqual([]);
      await limit(hub.records, 'some', { customer: 'acme', concurrent: 0 });
      await hub.complete('3', '100');
      expect(await admit(hub)).toEqual([]);
      await hub.records.removeLimit({ name: 'some', actor: 'ann', nowMs: t0 });
      expect(await admit(hub)).toHaveLength(6);
    });

    test('another limit lets in anew what one had let in and nobody runs', async () => {
      const hub = await open();
      await limit(hub.records, 'pool', { pool: 'standard', concurrent: 4 });
      await hold(hub, 4);
      await admit(hub);
      await hub.claim('1', '100');
      const limitedOf = async () => Promise.all(['1', '2'].map(async (id) => (await hub.job(id)).limited));
      expect(await limitedOf()).toEqual([true, true]);
      await limit(hub.records, 'acme', { customer: 'acme', concurrent: 1 });
      expect(await limitedOf()).toEqual([true, false]);
      // Caught when a machine would get it.
      await hub.exit('2', '200', withhold);
      expect(await admit(hub)).toEqual([]);
      await hub.complete('1', '100');
      expect(await admit(hub)).toEqual(['2']);
      // The same words again change nothing.
      await limit(hub.records, 'acme', { customer: 'acme', concurrent: 1, reason: 'their plan' });
      expect(await hub.job('2')).toMatchObject({ limited: true });
    });

    test('the time to live of a job that was held at its claim goes on', async () => {
      const hub = await open();
      const { records } = hub;
      const [recorded, unrecorded, ran] = ['recorded', 'unrecorded', 'ran'] as const;
      for (const id of [recorded, unrecorded, ran])
        await hub.submit({ id, customer: 'acme', expiresAtMs: t0 + 1_000 });
      await hub.claim(recorded, '100');
      await hub.exit(ran, '90', release);
      for (const id of [recorded, unrecorded, ran]) await hub.exit(id, '100', withhold);
      await hub.claim(unrecorded, '100');
      expect(await hub.job(recorded)).toMatchObject({ token: null, machineId: null, startedAtMs: null });
      const ended = await records.expireTtl({ nowMs: t0 + 1_000, limit: 10, lease: await hub.recorder() });
      expect(ended).toMatchObject({ kind: 'ok', value: [{ jobId: recorded }, { jobId: unrecorded }] });
      expect(await hub.job(ran)).toMatchObject({ state: 'held', token: '90' });
    });

    test('a run that was forbidden late leaves the job with the newer one', async () => {
      const hub = await open();
      const id = await hub.submit({ customer: 'acme' });
      await hub.claim(id, '200');
      expect(await hub.exit(id, '100', withhold)).toMatchObject({ applied: true, state: 'leased' });
      expect(await hub.complete(id, '200')).toMatchObject({ kind: 'committed' });
    });

    test('what is held belongs out of the broker, as what has ended does', async () => {
      const hub = await open();
      await hold(hub, 1);
      const waits = await hub.submit({ customer: 'acme' });
      expect(await hub.records.endedAmong(['1', waits])).toEqual([
        { jobId: '1', fenceFloor: '0', known: true },
      ]);
    });

    test('nothing of a paused customer is let in', async () => {
      const hub = await open();
      const pause = { kind: 'customer', name: 'acme', reason: '', actor: 'ann', sinceMs: t0 } as const;
      await hub.records.putPause(pause);
      await hold(hub, 1);
      await hold(hub, 1, { customer: 'birch' }, 'birch');
      expect(await admit(hub)).toEqual([]);
      expect(await admit(hub, { customer: 'birch' })).toEqual(['birch1']);
      await hub.records.endPause({ ...pause, nowMs: t0 + 1 });
      expect(await admit(hub)).toEqual(['1']);
    });

    test('the view names what is held once, page by page, and counts what limits let in', async () => {
      const hub = await open();
      await limit(hub.records, 'each', { customer: '*', concurrent: 2 });
      for (const customer of ['acme', 'birch', 'cedar'])
        for (const pool of ['heavy', 'standard'])
          await hold(hub, 4, { customer, pool }, `${customer}.${pool}`);
      await admit(hub);
      await admit(hub, { customer: 'birch', pool: 'heavy' });
      const first = await hub.records.admissionView({ after: null, limit: 4, nowMs: t0 });
      expect(first.held.map(({ customer, pool }) => `${customer} ${pool}`)).toEqual([
        'acme heavy',
        'acme standard',
        'birch heavy',
        'birch standard',
      ]);
      expect(first.admitted.sort((a, b) => (a.customer < b.customer ? -1 : 1))).toEqual([
        { ...acme, count: 2 },
        { customer: 'birch', pool: 'heavy', model: '-', count: 2 },
      ]);
      const rest = await hub.records.admissionView({ after: first.held[3]!, limit: 4, nowMs: t0 });
      expect(rest.held.map(({ customer, pool }) => `${customer} ${pool}`)).toEqual([
        'cedar heavy',
        'cedar standard',
      ]);
    });

    test('hubs that let in at once never let in more than one alone', async () => {
      const under = await setup();
      const others = under.another === undefined ? [] : [await under.another(), await under.another()];
      const hub = hubOn(under.records);
      await limit(hub.records, 'five', { customer: 'acme', concurrent: 5 });
      await limit(hub.records, 'pool', { pool: 'standard', concurrent: 8 });
      await under.records.submitJobs(
        Array.from({ length: 60 }, (_, n) => {
          const customer = n % 2 === 0 ? 'acme' : 'birch';
          return newJob({ id: `j${n}`, state: 'held', customer, limited: true });
        }),
        t0,
      );
      const stores = [under.records, ...others];
      const answers = await Promise.all(
        Array.from({ length: 24 }, (_, n) =>
          stores[n % stores.length]!.admitJobs({
            ...ordinary,
            customer: n % 4 < 2 ? 'acme' : 'birch',
            limit: 3,
            actor: 'hub',
            nowMs: t0,
          }),
        ),
      );
      const ids = answers.flatMap(({ jobs }) => jobs.map(({ id }) => id));
      expect(new Set(ids).size).toBe(ids.length);
      expect(ids).toHaveLength(8);
      const acmes = ids.filter((id) => Number(id.slice(1)) % 2 === 0);
      expect(acmes.length).toBeLessThanOrEqual(5);
    });
  });
}
