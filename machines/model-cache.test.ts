import { afterAll, describe, expect, test } from 'vitest';
import { fromPromise } from 'xstate';
import { EmpError } from '#protocol/errors.ts';
import type { ModelManifest } from '#protocol/model.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ChartCoverage, chartRig, question } from './chart-rig.fixture.ts';
import { modelCacheChart, type ScanResult } from './model-cache.ts';
import { modelFetchChart, type SignedModel } from './model-fetch.ts';

const coverage = new ChartCoverage(modelCacheChart);
const sha256 = 'a'.repeat(64);

function setup(options: { motionsLimit?: number } = {}) {
  const clock = new VirtualClock();
  const scan = question<ScanResult, { folder: string }>();
  const measure = question<{ freeBytes: number }, { folder: string }>();
  const evict = question<void, { modelId: string }>();
  const fetchFile = question<{ sha256: string }, { modelId: string }>();
  const bytes: Record<string, number> = {};
  const fetchChart = modelFetchChart.provide({
    actors: {
      describe: fromPromise<SignedModel, { modelId: string }>(async ({ input }) => {
        const file = { name: 'w.bin', bytes: bytes[input.modelId] ?? 10, sha256 };
        const manifest: ModelManifest = {
          id: input.modelId,
          service: 'test',
          kind: 'x',
          files: [{ ...file, sources: [] }],
          memoryMb: 1,
          licence: 'MIT',
        };
        return { manifest, files: [{ ...file, urls: ['http://a'] }] };
      }),
      fetchFile: fetchFile.logic as never,
      discard: fromPromise<void, { modelId: string; name: string | null }>(async () => undefined),
      publish: fromPromise<void, { manifest: ModelManifest }>(async () => undefined),
    },
  });
  const rig = chartRig({
    chart: modelCacheChart.provide({
      actors: { scan: scan.logic, measure: measure.logic, evict: evict.logic },
    }),
    clock,
    coverage,
    peers: ['runs', 'claimer', 'reporter', 'supervisor', 'run/1', 'run/2', 'run/3'],
    systemId: 'cache',
    input: {
      settings: {
        fetch: { rounds: 1, retry: { baseMs: 10, limitMs: 10 } },
        budgetBytes: 100,
        reserveBytes: 20,
        remeasureMs: 60_000,
        motionsLimit: options.motionsLimit ?? 8,
      },
      folder: '/models',
      modelFetch: fetchChart,
      rng: seededRng(1),
    },
  });
  return {
    clock,
    rig,
    scan,
    measure,
    evict,
    fetchFile,
    bytes,
    scanned: (models: ScanResult['models'] = [], freeBytes = 1_000) => scan.answer({ models, freeBytes }),
    async want(run: string, ...models: string[]) {
      rig.send({ type: 'models.want', run, jobId: 'j', service: 'test', models });
      await clock.settle();
    },
    async arrived() {
      await fetchFile.answer({ sha256 });
      await clock.settle();
    },
    types: (peer: string) => rig.to(peer).map((event) => event.type),
  };
}

describe('model-cache', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test('what is on disk at the start is resident, told to claimer and reporter, and ready at once', async () => {
    const { rig, scanned, want } = setup();
    await scanned([{ modelId: 'm1', bytes: 40 }]);
    expect(rig.to('claimer')).toEqual([{ type: 'claim.resident', resident: ['m1'] }]);
    expect(rig.to('reporter')).toMatchObject([
      {
        type: 'residency',
        present: ['m1'],
        entries: [{ modelId: 'm1', state: 'resident', bytes: 40, fraction: 1 }],
      },
    ]);
    expect(rig.to('runs')).toEqual([{ type: 'cache.up' }]);
    await want('run/1', 'm1');
    expect(rig.to('run/1')).toEqual([
      { type: 'models.ready', models: [{ id: 'm1', dir: '/models/m1', bytes: 40 }] },
    ]);
  });

  test('a wish that comes before the scan is asked again by its run', async () => {
    const { rig, want, types } = setup();
    await want('run/1', 'm1');
    rig.send({ type: 'models.release', run: 'run/1' });
    rig.send({ type: 'roll.call' });
    expect(types('run/1')).toEqual([]);
  });

  test('a missing model is fetched, told as it grows, and handed to all who want it', async () => {
    const { rig, scanned, want, arrived, fetchFile, types } = setup();
    await scanned();
    await want('run/1', 'm1');
    await want('run/2', 'm1');
    expect(fetchFile.asked).toHaveLength(1);
    rig.send({ type: 'fetch.progress', modelId: 'm1', fraction: 0.55 });
    expect(rig.to('reporter').at(-1)).toMatchObject({
      entries: [{ modelId: 'm1', state: 'fetching', fraction: 0.5 }],
    });
    await arrived();
    expect(types('run/1')).toEqual(['models.ready']);
    expect(types('run/2')).toEqual(['models.ready']);
    expect(rig.to('claimer').at(-1)).toEqual({ type: 'claim.resident', resident: ['m1'] });
  });

  test('models make room for others when nobody uses them, and not before', async () => {
    const { rig, bytes, scanned, want, arrived, evict, fetchFile, types } = setup();
    bytes['new'] = 70;
    await scanned([{ modelId: 'old', bytes: 60 }]);
    await want('run/1', 'old');
    await want('run/2', 'new');
    expect(evict.asked).toHaveLength(0);
    rig.send({ type: 'models.release', run: 'run/1' });
    expect(evict.asked.map(({ input }) => input.modelId)).toEqual(['old']);
    expect(fetchFile.asked).toHaveLength(0);
    await evict.answer();
    await arrived();
    expect(types('run/2')).toEqual(['models.ready']);
    expect(rig.to('reporter').at(-1)).toMatchObject({ present: ['new'] });
  });

  test('a model that cannot be removed stays', async () => {
    const { bytes, scanned, want, evict, rig } = setup();
    bytes['new'] = 70;
    await scanned([{ modelId: 'old', bytes: 60 }]);
    await want('run/1', 'new');
    await evict.fail(new Error('busy'));
    await want('run/2', 'old');
    expect(rig.to('run/2')).toMatchObject([{ type: 'models.ready' }]);
  });

  test('a failed fetch fails every run that waits, with its code', async () => {
    const { rig, scanned, want, fetchFile, clock } = setup();
    await scanned();
    await want('run/1', 'm1');
    await want('run/2', 'm1');
    await fetchFile.answer({ sha256: 'b'.repeat(64) });
    await clock.settle();
    for (const run of ['run/1', 'run/2'])
      expect(rig.to(run)).toMatchObject([
        { type: 'models.failed', error: { code: 'MODEL_CHECKSUM_MISMATCH' } },
      ]);
  });

  test('a fetch that dies of a bug is a failed fetch', async () => {
    const { rig, scanned, want } = setup();
    await scanned();
    await want('run/1', 'm1');
    rig.send({ type: 'xstate.error.actor.fetch/m1', actorId: 'fetch/m1', error: new Error('bug') });
    expect(rig.to('run/1')).toMatchObject([{ type: 'models.failed', error: { code: 'INTERNAL' } }]);
  });

  test('a full disk shrinks the budget to what is really there and degrades the machine until it has room', async () => {
    const { rig, scanned, want, fetchFile, measure, clock } = setup();
    await scanned([{ modelId: 'old', bytes: 40 }]);
    await want('run/1', 'm1');
    await fetchFile.fail(new EmpError('DISK_FULL'));
    await clock.settle();
    expect(rig.to('run/1')).toMatchObject([
      { type: 'models.failed', error: { code: 'DISK_FULL' }, here: true },
    ]);
    await measure.answer({ freeBytes: 30 });
    // 40 on disk + 30 free - 20 in reserve.
    expect(rig.context()['ledger']).toMatchObject({ limitBytes: 50 });
    expect(rig.to('supervisor').at(-1)).toMatchObject({ type: 'machine.degraded', reason: 'disk' });
    await clock.advanceBy(60_000);
    await measure.fail(new Error('no such device'));
    await clock.advanceBy(60_000);
    await measure.answer({ freeBytes: 500 });
    expect(rig.context()['ledger']).toMatchObject({ limitBytes: 100 });
    expect(rig.to('runs').at(-1)).toEqual({ type: 'disk.roomy' });
    expect(rig.to('supervisor').at(-1)).toMatchObject({ type: 'machine.recovered', reason: 'disk' });
  });

  test('a model that the budget could never take is no matter of this disk', async () => {
    const { rig, scanned, want, bytes } = setup();
    await scanned();
    bytes['huge'] = 101;
    await want('run/1', 'huge');
    expect(rig.to('run/1')).toMatchObject([
      { type: 'models.failed', error: { code: 'DISK_FULL' }, here: false },
    ]);
  });

  test('inputs without room degrade the machine until a later measurement finds some', async () => {
    const { rig, scanned, measure, clock } = setup();
    rig.send({ type: 'disk.check', detail: 'early' });
    await scanned();
    rig.send({ type: 'disk.check', detail: 'no room for a.png' });
    expect(rig.to('supervisor').at(-1)).toMatchObject({ type: 'machine.degraded', reason: 'disk' });
    await clock.advanceBy(60_000);
    await measure.answer({ freeBytes: 500 });
    expect(rig.to('supervisor').at(-1)).toMatchObject({ type: 'machine.recovered', reason: 'disk' });
    expect(rig.to('runs').at(-1)).toEqual({ type: 'disk.roomy' });
  });

  test('a full disk that a crashed fetch met is measured, too', async () => {
    const { rig, scanned, want, measure } = setup();
    await scanned();
    await want('run/1', 'm1');
    rig.send({ type: 'xstate.error.actor.fetch/m1', actorId: 'fetch/m1', error: new EmpError('DISK_FULL') });
    expect(measure.asked).toHaveLength(1);
  });

  test('a disk that has less room than the budget from the start limits it', async () => {
    const { rig, scanned } = setup();
    await scanned([{ modelId: 'old', bytes: 10 }], 50);
    expect(rig.context()['ledger']).toMatchObject({ limitBytes: 40 });
  });

  test('a folder that cannot be read degrades the machine and is tried again', async () => {
    const { rig, scan, scanned, clock, want } = setup();
    await scan.fail(new Error('EACCES'));
    expect(rig.to('supervisor')).toMatchObject([{ type: 'machine.degraded', reason: 'disk' }]);
    await want('run/1', 'm1');
    rig.send({ type: 'models.release', run: 'run/1' });
    await clock.advanceBy(60_000);
    await scanned();
    expect(rig.to('runs')).toEqual([{ type: 'cache.up' }]);
    expect(rig.to('supervisor').at(-1)).toMatchObject({ type: 'machine.recovered', reason: 'disk' });
  });

  test('fetches beyond the limit of motions wait for one to end', async () => {
    const { scanned, want, arrived, fetchFile } = setup({ motionsLimit: 1 });
    await scanned();
    await want('run/1', 'm1');
    await want('run/2', 'm2');
    expect(fetchFile.asked).toHaveLength(1);
    await arrived();
    expect(fetchFile.asked).toHaveLength(2);
  });

  test('finished fetches and evictions leave nothing behind', async () => {
    const { rig, bytes, scanned, want, arrived, evict } = setup();
    await scanned();
    for (let round = 0; round < 10; round++) {
      bytes[`m${round}`] = 80;
      await want('run/1', `m${round}`);
      if (round > 0) await evict.answer();
      await arrived();
      rig.send({ type: 'models.release', run: 'run/1' });
    }
    expect(Object.keys(rig.subject.getSnapshot().children)).toEqual([]);
  });

  test('a roll call tells everything anew', async () => {
    const { rig, scanned, types } = setup();
    await scanned([{ modelId: 'm1', bytes: 40 }]);
    rig.send({ type: 'roll.call' });
    expect(types('claimer')).toHaveLength(2);
    expect(types('runs')).toHaveLength(2);
  });
});
