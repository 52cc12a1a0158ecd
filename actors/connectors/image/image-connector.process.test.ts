import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectorConformance } from '#actors/connectors/connector.conformance.ts';
import type { StagedInput } from '#protocol/connector.ts';
import type { Env } from '#protocol/env.ts';
import type { JsonObject } from '#protocol/json.ts';
import { systemClock } from '#runtime/env.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { ImageBench, photo } from './image-bench.ts';
import { ImageConnector } from './image-connector.ts';

const env: Env = { ...simEnv({ seed: 1 }), clock: systemClock };
const cat = photo('chelsea.jpg');
const coffee = photo('coffee.jpg');

let bench: ImageBench;
beforeAll(async () => {
  bench = await ImageBench.open(env);
});
afterAll(() => bench.close());

const run = (operations: JsonObject[], inputs: StagedInput[] = []) => bench.run(operations, inputs);

connectorConformance('image', async (workDir) => {
  const connector = new ImageConnector({ env, workDir });
  const noise = { op: 'generate', pattern: 'clouds', width: 6_000, height: 6_000 };
  return {
    connector,
    quick: {
      payload: {
        operations: [{ op: 'resize', width: 64 }, { op: 'convert', format: 'webp' }, { op: 'grayscale' }],
      },
      inputs: [cat],
      models: [],
    },
    long: {
      payload: { operations: [{ op: 'load', input: cat.name }, noise, noise, noise] },
      inputs: [cat],
      models: [],
    },
    refused: { payload: { operations: [{ op: 'blur', sigma: 0 }] }, pointer: '/operations/0/sigma' },
    childPids: () => connector.pids,
  };
});

describe('inputs that cannot be used are named, and the next job works', () => {
  const damaged: [string, () => Promise<StagedInput>, RegExp][] = [
    ['text', () => bench.file('note.png', Buffer.from('not a picture at all')), /no PNG, JPEG/],
    ['an empty file', () => bench.file('empty.png', new Uint8Array()), /no PNG, JPEG/],
    [
      'an SVG, which may refer to other files',
      () =>
        bench.file('x.svg', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')),
      /no PNG, JPEG/,
    ],
    [
      'a JPEG that is cut short',
      async () => bench.file('cut.jpg', (await readFile(cat.path)).subarray(0, 6_000)),
      /damaged or cut short/,
    ],
    [
      'a PNG that is cut short',
      async () => bench.file('cut.png', (await sharp(cat.path).png().toBuffer()).subarray(0, 30_000)),
      /damaged or cut short/,
    ],
    [
      'a PNG header with nothing behind',
      () => bench.file('head.png', Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')),
      /cannot be read|damaged/,
    ],
    [
      'a PNG that claims 30000x30000 pixels',
      () => bench.file('bomb.png', bombPng(30_000, 30_000)),
      /limit of 64 megapixels/,
    ],
    ['a picture with a side beyond the limit', () => bench.file('long.png', bombPng(20_000, 10)), /side/],
  ];

  test.each(damaged)('%s', async (_what, make, detail) => {
    const input = await make();
    const failed = run([{ op: 'resize', width: 10 }], [input]);
    await expect(failed).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      retryable: false,
      message: expect.stringMatching(detail),
      errors: [{ pointer: '/inputs', detail: expect.stringContaining(`"${input.name}"`) }],
    });
    await bench.connector.probe(new AbortController().signal);
    await expect(run([{ op: 'resize', width: 10 }], [cat])).resolves.toBeDefined();
  });

  test('no message names the folder of the file', async () => {
    const input = await bench.file('cut2.jpg', (await readFile(cat.path)).subarray(0, 6_000));
    const error = await run([{ op: 'grayscale' }], [input]).catch((reason: Error) => reason);
    expect((error as Error).message).not.toContain(bench.dir);
  });

  test('one bad input among good ones is the one that is named', async () => {
    const bad = await bench.file('bad.png', Buffer.from('\x89PNG\r\n\x1a\nxx', 'latin1'));
    await expect(run([{ op: 'contactSheet' }], [cat, bad, coffee])).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('"bad.png"'),
    });
  });
});

describe('payloads that do not fit the picture are refused at their field', () => {
  const small = { op: 'generate', pattern: 'noise', width: 100, height: 50 };
  test.each<[string, JsonObject[], string]>([
    ['nothing to work on', [{ op: 'blur', sigma: 1 }], '/operations/0'],
    ['nothing to write', [{ op: 'convert', format: 'png' }], '/operations/0'],
    ['a sheet of no inputs', [{ op: 'contactSheet' }], '/operations/0'],
    [
      'a crop to the right',
      [small, { op: 'crop', left: 60, top: 0, width: 41, height: 1 }],
      '/operations/1/width',
    ],
    ['a crop below', [small, { op: 'crop', left: 0, top: 50, width: 1, height: 1 }], '/operations/1/height'],
    ['a resize beyond 64 megapixels', [small, { op: 'resize', width: 12_000 }], '/operations/1/width'],
    [
      'a side that follows beyond the limit',
      [small, { op: 'resize', height: 9_000 }],
      '/operations/1/height',
    ],
    [
      'a generated picture beyond 64 megapixels',
      [{ ...small, width: 9_000, height: 9_000 }],
      '/operations/0/width',
    ],
    [
      'letters wider than the picture',
      [small, { op: 'annotate', text: 'a', size: 200 }],
      '/operations/1/size',
    ],
  ])('%s', async (_what, operations, pointer) => {
    await expect(run(operations)).rejects.toMatchObject({ code: 'PAYLOAD_INVALID', errors: [{ pointer }] });
  });
});

test('progress counts the operations and shows the picture at the end', async () => {
  const { reports } = await run(
    [{ op: 'grayscale' }, { op: 'blur', sigma: 2 }, { op: 'convert', format: 'webp' }],
    [cat],
  );
  expect(reports.map(({ fraction }) => fraction)).toEqual([0.25, 0.5, 0.75]);
  const preview = reports.at(-1)?.preview;
  expect(preview?.mime).toBe('image/jpeg');
  expect(await sharp(preview!.bytes).metadata()).toMatchObject({ format: 'jpeg', width: 256 });
});

test('a worker that is killed during a job fails it for another try, and the next job works', async () => {
  const slow = { op: 'generate', pattern: 'clouds', width: 6_000, height: 6_000 };
  const before = bench.connector.pids;
  const failed = expect(run([{ op: 'load', input: cat.name }, slow], [cat])).rejects.toMatchObject({
    code: 'CONNECTOR_FAILED',
    retryable: true,
  });
  for (const pid of before) process.kill(pid, 'SIGKILL');
  await failed;
  await expect(run([{ op: 'grayscale' }], [cat])).resolves.toBeDefined();
});

test('a file that vanished is the failure of the machine, and its path stays there', async () => {
  const error = await run([{ op: 'grayscale' }], [{ ...cat, path: join(bench.dir, 'vanished.jpg') }]).catch(
    (reason: Error) => reason,
  );
  expect(error).toMatchObject({
    code: 'CONNECTOR_FAILED',
    message: 'input "chelsea.jpg" cannot be opened on the machine (ENOENT)',
  });
});

/** A PNG of a few hundred bytes whose header promises this many pixels. */
function bombPng(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 0, 0, 0, 0], 8);
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const frame = Buffer.alloc(body.length + 8);
    frame.writeUInt32BE(data.length, 0);
    frame.set(body, 4);
    frame.writeUInt32BE(crc32(body), body.length + 4);
    return frame;
  };
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.alloc(1_000))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}
