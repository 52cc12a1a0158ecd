import { readdir, readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { nodeDisk } from '#actors/node-disk.ts';
import type { Disk } from '#protocol/disk.ts';
import { EmpError } from '#protocol/errors.ts';
import type { ModelManifest } from '#protocol/model.ts';
import { sha256, type TestHub } from './machine-hub.fixture.ts';
import { machineRig } from './machine-rig.fixture.ts';
import { machineSettings } from './machine-settings.ts';

const bytesOf = (id: string, size: number) => Buffer.alloc(size, id);

/** Registers models at the hub: `sources` are object keys, best first; the content stands under the first unless it exists. */
function register(hub: TestHub, models: Record<string, { size: number; sources?: string[] }>): void {
  for (const [id, { size, sources = [`models/${id}`] }] of Object.entries(models)) {
    for (const key of sources) if (!hub.objects.has(key)) hub.objects.set(key, bytesOf(id, size));
  }
  const usual = hub.handlers.sign;
  hub.handlers.sign = (body) => {
    if (body.what !== 'model') throw new Error('only models are signed here');
    const model = models[body.modelId];
    if (model === undefined)
      return (
        usual?.(body) ?? {
          kind: 'refused',
          error: { code: 'UNKNOWN_MODEL', message: body.modelId, retryable: false },
        }
      );
    const file = { name: 'w.bin', bytes: model.size, sha256: sha256(bytesOf(body.modelId, model.size)) };
    const manifest: ModelManifest = {
      id: body.modelId,
      service: 'test',
      kind: 'x',
      files: [{ ...file, sources: [] }],
      memoryMb: 1,
      licence: 'MIT',
    };
    const urls = (model.sources ?? [`models/${body.modelId}`]).map((key) => hub.objectUrl(key));
    return {
      kind: 'signed',
      files: [{ ...file, object: 'x', urls, mime: 'application/octet-stream' }],
      manifest,
    };
  };
}

const lastResidency = (hub: TestHub, modelId: string) =>
  hub.notices
    .flatMap((notice) =>
      notice.type === 'residency' ? (notice.body['entries'] as { modelId: string; state: string }[]) : [],
    )
    .filter((entry) => entry.modelId === modelId)
    .at(-1)?.state;

describe('models of a machine', () => {
  test('a job gets its models whole, in a folder of their own, and the hub learns where they are', async () => {
    const { hub, runs, began } = await machineRig();
    register(hub, { m1: { size: 300_000 } });
    await hub.saw('claim');
    hub.submit({ jobId: 'j1', models: ['m1'] });
    await began(1);
    const [model] = runs[0]?.models ?? [];
    expect(model).toMatchObject({ id: 'm1', bytes: 300_000 });
    expect(await readFile(`${model?.dir}/w.bin`)).toEqual(bytesOf('m1', 300_000));
    await hub.saw('beat', () => lastResidency(hub, 'm1') === 'resident');
    runs[0]?.finish();
    await hub.saw('complete', (complete) => complete.next?.resident.includes('m1') ?? false);
  });

  test('two jobs with one model fetch it once', async () => {
    const { hub, runs, began } = await machineRig({ slots: 2 });
    register(hub, { m1: { size: 100_000 } });
    await hub.saw('claim');
    hub.submit({ jobId: 'j1', models: ['m1'] }, { wake: false });
    hub.submit({ jobId: 'j2', models: ['m1'] });
    await began(2);
    expect(hub.bodies('sign')).toHaveLength(1);
    expect(runs.map((run) => run.models[0]?.id)).toEqual(['m1', 'm1']);
  });

  test('a source with the wrong bytes is refused, reported, and the next one is used', async () => {
    const { hub, runs, began } = await machineRig();
    hub.objects.set('poisoned', bytesOf('x', 100_000));
    register(hub, { m1: { size: 100_000, sources: ['poisoned', 'models/m1'] } });
    await hub.saw('claim');
    hub.submit({ jobId: 'j1', models: ['m1'] });
    await began(1);
    expect(await readFile(`${runs[0]?.models[0]?.dir}/w.bin`)).toEqual(bytesOf('m1', 100_000));
    await hub.saw('beat', () =>
      hub.notices.some((notice) => notice.type === 'incident' && notice.body['kind'] === 'model.refused'),
    );
  });

  test('wrong bytes everywhere fail the job by the name of the model, and nothing of them stays', async () => {
    const { hub, dir } = await machineRig({
      settings: {
        cache: { ...machineSettings.cache, fetch: { rounds: 2, retry: { baseMs: 1, limitMs: 1 } } },
      },
    });
    hub.objects.set('poisoned', bytesOf('x', 1_000));
    register(hub, { m1: { size: 1_000, sources: ['poisoned'] } });
    await hub.saw('claim');
    hub.submit({ jobId: 'j1', models: ['m1'] });
    const exit = await hub.saw('exit');
    expect(exit.cause).toMatchObject({
      kind: 'fail',
      error: { code: 'MODEL_CHECKSUM_MISMATCH', message: expect.stringContaining('m1'), retryable: true },
    });
    expect(await readdir(`${dir}/models/.parts`)).toEqual([]);
  });

  test('an unregistered model fails the job at once', async () => {
    const { hub } = await machineRig();
    register(hub, {});
    await hub.saw('claim');
    hub.submit({ jobId: 'j1', models: ['nobody-knows'] });
    expect((await hub.saw('exit')).cause).toMatchObject({ kind: 'fail', error: { code: 'UNKNOWN_MODEL' } });
  });

  test('the least used model makes room, and the budget holds', async () => {
    const { hub, runs, began, dir } = await machineRig({ budgetBytes: 250_000 });
    register(hub, { m1: { size: 100_000 }, m2: { size: 100_000 }, m3: { size: 100_000 } });
    await hub.saw('claim');
    for (const [index, modelId] of ['m1', 'm2', 'm1', 'm3'].entries()) {
      hub.submit({ jobId: `j${index}`, models: [modelId] });
      await began(index + 1);
      runs[index]?.finish();
      await hub.saw('complete', (body) => body.jobId === `j${index}`);
    }
    const onDisk = (await nodeDisk.list(`${dir}/models`))
      .map((entry) => entry.name)
      .filter((name) => name.startsWith('m'));
    expect(onDisk).toEqual(['m1', 'm3']);
  });

  test('a model larger than the whole budget is refused with DISK_FULL', async () => {
    const { hub } = await machineRig({ budgetBytes: 1_000 });
    register(hub, { m1: { size: 2_000 } });
    await hub.saw('claim');
    hub.submit({ jobId: 'j1', models: ['m1'] });
    expect((await hub.saw('exit')).cause).toMatchObject({
      kind: 'fail',
      error: { code: 'DISK_FULL', retryable: true },
    });
  });

  test('a disk that runs full gives the job back and degrades the machine, which offers nothing until it has room', async () => {
    let full = true;
    const disk: Disk = {
      ...nodeDisk,
      freeBytes: async (path) => (full ? 0 : await nodeDisk.freeBytes(path)),
      append: async (path, keepBytes) => {
        const sink = await nodeDisk.append(path, keepBytes);
        return {
          ...sink,
          write: async (chunk) =>
            full ? Promise.reject(new EmpError('DISK_FULL')) : await sink.write(chunk),
        };
      },
    };
    const { hub, machine, began } = await machineRig({
      disk,
      settings: { cache: { ...machineSettings.cache, reserveBytes: 0, remeasureMs: 20 } },
      hub: () => (full = false),
    });
    register(hub, { m1: { size: 1_000 } });
    await hub.saw('claim');
    full = true;
    hub.submit({ jobId: 'j1', models: ['m1'] });
    expect((await hub.saw('exit')).cause).toMatchObject({ kind: 'release' });
    const degraded = await hub.saw(
      'beat',
      (beat) =>
        beat.report.state === 'degraded' && beat.report.reasons.some((reason) => reason.startsWith('disk')),
    );
    expect(degraded.free).toEqual([{ service: 'test', slots: 0 }]);
    full = false;
    await hub.next('beat', (beat) => beat.report.state === 'ready');
    hub.submit({ jobId: 'j2', models: ['m1'] });
    await began(1);
    expect(machine.health().reasons).toEqual([]);
  });

  test('models outlive their machine: the next process finds them, and throws away what is not whole', async () => {
    const first = await machineRig();
    register(first.hub, { m1: { size: 5_000 } });
    await first.hub.saw('claim');
    first.hub.submit({ jobId: 'j1', models: ['m1'] });
    await first.began(1);
    first.machine.kill();
    await nodeDisk.makeFolder(`${first.dir}/models/half`);
    await nodeDisk.writeText(`${first.dir}/models/half/w.bin`, 'x');
    const second = await machineRig({ dir: first.dir });
    const claim = await second.hub.saw('claim');
    expect(claim.resident).toEqual(['m1']);
    expect((await nodeDisk.list(`${first.dir}/models`)).map((entry) => entry.name)).toEqual(['m1']);
  });
});
