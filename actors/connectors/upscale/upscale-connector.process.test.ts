import { copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectorConformance } from '#actors/connectors/connector.conformance.ts';
import type { ConnectorRun, ResidentModel, RunProgress, StagedInput } from '#protocol/connector.ts';
import type { Env } from '#protocol/env.ts';
import type { JsonObject } from '#protocol/json.ts';
import { systemClock } from '#runtime/env.ts';
import { builtInFiles, builtInModels } from '#runtime/models/catalogue.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { UpscaleConnector } from './upscale-connector.ts';
import { UpscalePayload, upscaleSpec } from './upscale-spec.ts';

const env: Env = { ...simEnv({ seed: 1 }), clock: systemClock };
const photos = new URL('../../../runtime/demo/photos/', import.meta.url).pathname;
const models: ResidentModel[] = builtInModels.map(({ manifest: { id } }) => {
  const path = builtInFiles().find(({ modelId }) => modelId === id)?.absolutePath ?? '';
  return { id, dir: dirname(path), bytes: 0 };
});
const slim = models[0]!;

let dir: string;
let connector: UpscaleConnector;
let small: StagedInput;
let large: StagedInput;
let runs = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'emp-upscale-'));
  small = await scaledPhoto('chelsea', 64, 48);
  large = await scaledPhoto('coffee', 1_200, 900);
  connector = new UpscaleConnector({ env, workDir: join(dir, 'work') });
  await connector.start(new AbortController().signal);
});
afterAll(async () => {
  await connector.stop();
  await rm(dir, { recursive: true });
});

connectorConformance('upscale', async (workDir) => {
  const subject = new UpscaleConnector({ env, workDir });
  return {
    connector: subject,
    quick: { payload: {}, inputs: [small], models: [slim] },
    long: { payload: {}, inputs: [large], models: [slim] },
    refused: { payload: { model: 'esrgan-slim-x3' }, pointer: '/model' },
    childPids: () => subject.pids,
  };
});

async function scaledPhoto(name: string, width: number, height: number): Promise<StagedInput> {
  const path = join(dir, `${name}-${width}.png`);
  await sharp(join(photos, `${name}.jpg`))
    .resize({ width, height, fit: 'fill' })
    .png()
    .toFile(path);
  return { name: `${name}.png`, path, bytes: 1, mime: 'image/png' };
}

async function run(payload: JsonObject, change: Partial<ConnectorRun> = {}, subject = connector) {
  const outDir = join(dir, `out-${++runs}`);
  await mkdir(outDir);
  const reports: RunProgress[] = [];
  const result = await subject.run({
    jobId: 'job_1',
    token: '1',
    payload,
    inputs: [small],
    models,
    outDir,
    signal: new AbortController().signal,
    progress: (report) => reports.push(report),
    ...change,
  });
  return {
    reports,
    outputs: result.outputs,
    data: result.data as JsonObject,
    first: result.outputs[0]!.path,
  };
}

/** Peak signal-to-noise ratio of two pictures of one size, dB over all channels. */
async function psnr(a: string | Buffer, b: string | Buffer): Promise<number> {
  const [left, right] = await Promise.all(
    [a, b].map((picture) => sharp(picture).removeAlpha().raw().toBuffer()),
  );
  let sum = 0;
  for (const [at, value] of left!.entries()) sum += (value - (right![at] ?? 0)) ** 2;
  return 10 * Math.log10((255 * 255 * left!.length) / sum);
}

describe('the networks restore more of a shrunken photo than plain enlargement does', () => {
  test.each([
    ['esrgan-slim-x2', 'chelsea', 2],
    ['esrgan-slim-x2', 'coffee', 2],
    ['esrgan-medium-x2', 'chelsea', 2],
    ['esrgan-thick-x4', 'coffee', 4],
  ])('%s on %s', async (model, name, scale) => {
    const original = join(photos, `${name}.jpg`);
    const shrunken = await scaledPhoto(name, 256 / scale, 192 / scale);
    const { first, data } = await run({ model }, { inputs: [shrunken] });
    expect(data).toMatchObject({
      model,
      width: 256,
      height: 192,
      inputWidth: 256 / scale,
      inputHeight: 192 / scale,
    });
    expect(await sharp(first).metadata()).toMatchObject({
      format: 'png',
      width: 256,
      height: 192,
      channels: 3,
    });
    const plain = await sharp(shrunken.path)
      .resize({ width: 256, height: 192, kernel: 'cubic' })
      .png()
      .toBuffer();
    expect(await psnr(first, original)).toBeGreaterThan((await psnr(plain, original)) + 0.3);
  });
});

test('equal inputs give equal bytes', async () => {
  const [first, second] = [await run({}), await run({})];
  expect(await readFile(first.first)).toEqual(await readFile(second.first));
});

test('progress goes tile by tile, with a picture of the work after each row of tiles', async () => {
  const input = await scaledPhoto('rocket', 200, 150);
  const { reports, data } = await run({}, { inputs: [input] });
  expect(data).toMatchObject({ tiles: 4, rssMb: expect.any(Number), millis: expect.any(Number) });
  expect(reports.map(({ message }) => message)).toEqual([1, 2, 3, 4].map((tile) => `tile ${tile} of 4`));
  expect(reports.map(({ preview }) => preview !== undefined)).toEqual([false, true, false, true]);
  expect(await sharp(reports[1]!.preview!.bytes).metadata()).toMatchObject({
    format: 'jpeg',
    width: 320,
    height: 240,
  });
});

test('a comparison shows plain enlargement and the network side by side, with their names', async () => {
  const { outputs } = await run({ compareWith: 'nearest', format: 'webp', quality: 90 });
  expect(outputs.map(({ name, mime }) => [name, mime])).toEqual([
    ['upscaled.webp', 'image/webp'],
    ['comparison.webp', 'image/webp'],
  ]);
  const [upscaled, comparison] = outputs.map(({ path }) => path) as [string, string];
  const { width, height } = await sharp(comparison).metadata();
  expect({ width, height }).toEqual({ width: 2 * 128 + 36, height: 96 + 12 + 40 });
  const right = await sharp(comparison)
    .extract({ left: 152, top: 12, width: 128, height: 96 })
    .png()
    .toBuffer();
  const left = await sharp(comparison)
    .extract({ left: 12, top: 12, width: 128, height: 96 })
    .png()
    .toBuffer();
  expect(await psnr(right, upscaled)).toBeGreaterThan((await psnr(left, upscaled)) + 3);
  const caption = await sharp(comparison).extract({ left: 12, top: 108, width: 128, height: 40 }).stats();
  expect(caption.channels[0]!.min).toBeLessThan(120);
});

test('transparency is kept in PNG and laid on white in JPEG', async () => {
  const path = join(dir, 'clear.png');
  const clear = { width: 40, height: 30, channels: 4, background: '#ff000000' } as const;
  await sharp({ create: clear }).png().toFile(path);
  const inputs = [{ ...small, path }];
  const png = await sharp((await run({}, { inputs })).first)
    .raw()
    .toBuffer({ resolveWithObject: true });
  expect({ channels: png.info.channels, width: png.info.width, alpha: png.data[3] }).toEqual({
    channels: 4,
    width: 80,
    alpha: 0,
  });
  const jpeg = await sharp((await run({ format: 'jpeg' }, { inputs })).first).stats();
  expect(jpeg.channels.map(({ mean }) => Math.round(mean))).toEqual([255, 255, 255]);
});

test('a gray picture and one of a single pixel are enlarged, too', async () => {
  const gray = join(dir, 'gray.png');
  await sharp(small.path).grayscale().png().toFile(gray);
  expect((await run({}, { inputs: [{ ...small, path: gray }] })).data).toMatchObject({
    width: 128,
    height: 96,
  });
  const dot = join(dir, 'dot.png');
  await sharp({ create: { width: 1, height: 1, channels: 3, background: '#804020' } })
    .png()
    .toFile(dot);
  expect((await run({}, { inputs: [{ ...small, path: dot }] })).data).toMatchObject({
    width: 2,
    height: 2,
    tiles: 1,
  });
});

describe('inputs that cannot be used', () => {
  test.each([
    ['esrgan-slim-x2', 1_500, 1_400],
    ['esrgan-thick-x4', 800, 700],
  ])('%s refuses %ix%i pixels and says its limit', async (model, width, height) => {
    const path = join(dir, `blank-${width}.png`);
    await sharp({ create: { width, height, channels: 3, background: '#fff' } })
      .png()
      .toFile(path);
    await expect(run({ model }, { inputs: [{ ...small, path }] })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringMatching(/limit of (2|0\.5) megapixels/),
    });
  });

  test('a damaged picture is named, and the worker stays', async () => {
    await run({});
    const before = connector.pids;
    const path = join(dir, 'cut.png');
    await writeFile(path, (await readFile(small.path)).subarray(0, 2_000));
    await expect(run({}, { inputs: [{ ...small, name: 'cut.png', path }] })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      errors: [{ pointer: '/inputs', detail: expect.stringContaining('"cut.png"') }],
    });
    expect((await run({})).data).toMatchObject({ loadMs: 0 });
    expect(connector.pids).toEqual(before);
  });

  test.each([0, 2])('%i pictures instead of one are refused', async (count) => {
    const inputs = Array.from({ length: count }, () => small);
    await expect(run({}, { inputs })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      errors: [{ pointer: '/inputs' }],
    });
  });
});

describe('models that cannot be used fail the run for another try, and the next run works', () => {
  async function broken(change: (copy: string) => Promise<void>): Promise<ResidentModel> {
    const copy = await mkdtemp(join(dir, 'model-'));
    await cp(slim.dir, copy, { recursive: true });
    await change(copy);
    return { ...slim, dir: copy };
  }
  const weights = 'group1-shard1of1.bin';

  test.each<[string, (copy: string) => Promise<void>, RegExp]>([
    ['weights that are missing', (copy) => rm(join(copy, weights)), /group1-shard1of1\.bin cannot be read/],
    [
      'weights that are cut short',
      (copy) => writeFile(join(copy, weights), new Uint8Array(1_000)),
      /1000 bytes where/,
    ],
    ['a model.json that is none', (copy) => writeFile(join(copy, 'model.json'), '{'), /no JSON/],
    ['a model.json of another form', (copy) => writeFile(join(copy, 'model.json'), '{}'), /expected form/],
    [
      'a model.json that names a file elsewhere',
      async (copy) => {
        const text = await readFile(join(copy, 'model.json'), 'utf8');
        await writeFile(join(copy, 'model.json'), text.replace(weights, '../../outside.bin'));
      },
      /expected form/,
    ],
    [
      'another network than its name says',
      (copy) => copyFile(join(models[2]!.dir, 'model.json'), join(copy, 'model.json')),
      /cannot be read/,
    ],
  ])('%s', async (_what, change, message) => {
    await connector.evict(slim.id);
    const failed = run({}, { models: [await broken(change)] });
    await expect(failed).rejects.toMatchObject({
      code: 'CONNECTOR_FAILED',
      retryable: true,
      message: expect.stringMatching(message),
    });
    await expect(run({})).resolves.toBeDefined();
  });

  test('a model that is not resident', async () => {
    await expect(run({ model: 'esrgan-medium-x2' }, { models: [slim] })).rejects.toMatchObject({
      code: 'CONNECTOR_FAILED',
      fields: { modelId: 'esrgan-medium-x2' },
    });
  });
});

describe('workers', () => {
  test('one that is killed in the middle fails its run for another try, and the next run gets a new one', async () => {
    await run({});
    const [pid] = connector.pids;
    const failed = run({}, { inputs: [large], progress: () => process.kill(pid!, 'SIGKILL') });
    await expect(failed).rejects.toMatchObject({ code: 'CONNECTOR_FAILED', retryable: true });
    await run({});
    expect(connector.pids).not.toContain(pid);
  });

  test('a model stays loaded for the next run; its eviction ends the process', async () => {
    await run({});
    const [pid] = connector.pids;
    expect((await run({})).data).toMatchObject({ loadMs: 0 });
    expect(connector.pids).toEqual([pid]);
    await connector.evict('esrgan-medium-x2');
    expect(connector.pids).toEqual([pid]);
    await connector.evict('esrgan-slim-x2');
    expect(connector.pids).toEqual([]);
    expect(() => process.kill(pid!, 0)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
  });

  test('two places keep two models loaded, and a model that is unused long enough is unloaded', async () => {
    const virtual = simEnv({ seed: 1 });
    const subject = new UpscaleConnector(
      { env: virtual, workDir: join(dir, 'virtual') },
      { workers: 2, idleLimitMs: 60_000 },
    );
    try {
      await subject.start(new AbortController().signal);
      await run({ model: 'esrgan-slim-x2' }, {}, subject);
      await run({ model: 'esrgan-medium-x2' }, {}, subject);
      const both = subject.pids;
      expect(both).toHaveLength(2);
      await virtual.clock.advanceBy(40_000);
      await run({ model: 'esrgan-medium-x2' }, {}, subject);
      await virtual.clock.advanceBy(20_000);
      expect(subject.pids).toEqual([both[1]]);
      await virtual.clock.advanceBy(40_000);
      expect(subject.pids).toEqual([]);
      await expect(run({}, {}, subject)).resolves.toBeDefined();
    } finally {
      await subject.stop();
    }
  });
});

describe('payload', () => {
  test('an empty payload takes the smallest network', () => {
    expect(UpscalePayload.parse({})).toEqual({ model: 'esrgan-slim-x2', format: 'png', compareWith: 'none' });
    expect(upscaleSpec.models({})).toEqual(['esrgan-slim-x2']);
    expect(upscaleSpec.models({ model: 'esrgan-thick-x4' })).toEqual(['esrgan-thick-x4']);
  });

  test('larger networks are expected to take longer', () => {
    const [a, b, c] = models.map(({ id }) => upscaleSpec.expectedMs({ model: id })) as [
      number,
      number,
      number,
    ];
    expect([a, b, c]).toEqual([a, b, c].toSorted((x, y) => x - y));
  });

  test.each<[JsonObject, string]>([
    [{ model: 'esrgan-thick-x2' }, 'model'],
    [{ format: 'gif' }, 'format'],
    [{ quality: 80 }, 'quality'],
    [{ format: 'jpeg', quality: 101 }, 'quality'],
    [{ compareWith: 'lanczos' }, 'compareWith'],
  ])('%j is refused at its field', (payload, field) => {
    expect(UpscalePayload.safeParse(payload).error?.issues.map(({ path }) => path)).toEqual([[field]]);
  });
});
