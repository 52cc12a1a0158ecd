import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { StagedInput } from '#protocol/connector.ts';
import type { Env } from '#protocol/env.ts';
import type { JsonObject } from '#protocol/json.ts';
import { systemClock } from '#runtime/env.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { describePicture, ImageBench, photo } from './image-bench.ts';

const env: Env = { ...simEnv({ seed: 1 }), clock: systemClock };
const cat = photo('chelsea.jpg');
const coffee = photo('coffee.jpg');
const rocket = photo('rocket.jpg');

let bench: ImageBench;
beforeAll(async () => {
  bench = await ImageBench.open(env);
});
afterAll(() => bench.close());

const run = (operations: JsonObject[], inputs: StagedInput[] = []) => bench.run(operations, inputs);

describe('operations on real pictures', () => {
  test('a pipeline without a source works on the first input and ends as PNG', async () => {
    const { outputs } = await run([{ op: 'resize', width: 128 }], [cat]);
    expect(outputs).toMatchObject([
      { name: 'picture.png', mime: 'image/png', format: 'png', width: 128, height: 96 },
    ]);
  });

  test('each convert writes one output in its format', async () => {
    const convert = (format: string) => ({ op: 'convert', format, name: 'x' });
    const { outputs, data } = await run(['png', 'jpeg', 'webp', 'avif'].map(convert), [coffee]);
    expect(outputs.map(({ name, mime, format }) => [name, mime, format])).toEqual([
      ['x.png', 'image/png', 'png'],
      ['x.jpg', 'image/jpeg', 'jpeg'],
      ['x.webp', 'image/webp', 'webp'],
      ['x.avif', 'image/avif', 'heif'],
    ]);
    expect(data).toMatchObject({
      operations: 4,
      outputs: outputs.map(({ name }) => ({ name, width: 256, height: 192 })),
    });
  });

  test('a lower quality gives a smaller file, and no output keeps metadata of the input', async () => {
    const tagged = join(bench.dir, 'tagged.jpg');
    await sharp(cat.path)
      .withExif({ IFD0: { Artist: 'somebody' } })
      .toFile(tagged);
    const { outputs } = await run(
      [80, 20].map((quality) => ({ op: 'convert', format: 'jpeg', quality, name: `q${quality}` })),
      [{ ...cat, path: tagged }],
    );
    const [good, poor] = await Promise.all(outputs.map(({ path }) => readFile(path)));
    expect(poor!.length).toBeLessThan(good!.length / 2);
    expect(good!.includes('somebody')).toBe(false);
  });

  test('fit decides between cutting, bars and distortion', async () => {
    const wide = await bench.plain('wide.png', { width: 40, height: 20, colour: '#ff0000' });
    const size = async (fit: string) =>
      (await run([{ op: 'resize', width: 20, height: 20, fit, background: '#0000ff' }], [wide])).first;
    expect(await size('inside')).toMatchObject({ width: 20, height: 10 });
    expect(await size('outside')).toMatchObject({ width: 40, height: 20 });
    expect((await size('contain')).pixel(10, 1)).toEqual([0, 0, 255, 255]);
    expect((await size('cover')).pixel(10, 1)).toEqual([255, 0, 0, 255]);
  });

  test('enlarge: false leaves a smaller picture alone', async () => {
    const { first } = await run([{ op: 'resize', width: 1_000, enlarge: false }], [cat]);
    expect(first).toMatchObject({ width: 256, height: 192 });
  });

  test('operations act in their order: a crop after a resize is not a resize after a crop', async () => {
    const crop = { op: 'crop', left: 0, top: 0, width: 50, height: 40 };
    const resize = { op: 'resize', width: 100 };
    expect((await run([resize, crop], [cat])).first).toMatchObject({ width: 50, height: 40 });
    expect((await run([crop, resize], [cat])).first).toMatchObject({ width: 100, height: 80 });
  });

  test('a crop keeps exactly its pixels', async () => {
    const whole = await describePicture(cat.path);
    const { first } = await run([{ op: 'crop', left: 30, top: 40, width: 20, height: 10 }], [cat]);
    expect(first.pixel(0, 0)).toEqual(whole.pixel(30, 40));
    expect(first.pixel(19, 9)).toEqual(whole.pixel(49, 49));
  });

  test('a rotation by 90 degrees is exact, another grows the canvas', async () => {
    const whole = await describePicture(cat.path);
    const { first: right } = await run([{ op: 'rotate', angle: 90 }], [cat]);
    expect(right).toMatchObject({ width: 192, height: 256 });
    expect(right.pixel(191, 0)).toEqual(whole.pixel(0, 0));
    const { first: tilted } = await run([{ op: 'rotate', angle: 45, background: '#00ff00' }], [cat]);
    expect(tilted.width).toBeGreaterThan(310);
    expect(tilted.pixel(0, 0)).toEqual([0, 255, 0, 255]);
  });

  test('grayscale leaves no colour, blur no detail, sharpen more of it', async () => {
    const { first: gray } = await run([{ op: 'grayscale' }], [coffee]);
    for (const at of [0, 5_000, 40_000]) {
      const [red, green, blue] = gray.pixels.subarray(at * 4);
      expect([green, blue]).toEqual([red, red]);
    }
    const detail = async (operations: JsonObject[]) => {
      const { pixels } = (await run([...operations, { op: 'grayscale' }], [cat])).first;
      let sum = 0;
      for (let at = 4; at < pixels.length; at += 4)
        sum += Math.abs((pixels[at] ?? 0) - (pixels[at - 4] ?? 0));
      return sum;
    };
    const plainDetail = await detail([]);
    expect(await detail([{ op: 'blur', sigma: 4 }])).toBeLessThan(plainDetail / 2);
    expect(await detail([{ op: 'sharpen', sigma: 1 }])).toBeGreaterThan(plainDetail * 1.2);
  });

  test('an upright picture comes out for a camera that was held sideways', async () => {
    const path = join(bench.dir, 'sideways.jpg');
    await sharp(cat.path).withMetadata({ orientation: 6 }).toFile(path);
    expect((await run([{ op: 'convert', format: 'png' }], [{ ...cat, path }])).first).toMatchObject({
      width: 192,
      height: 256,
    });
  });

  test.each([
    ['16 bits and gray', (picture: Sharp) => picture.grayscale().toColourspace('grey16').png()],
    ['gray and transparency', (picture: Sharp) => picture.grayscale().ensureAlpha(0.5).png()],
    ['CMYK', (picture: Sharp) => picture.toColourspace('cmyk').jpeg()],
    ['a palette', (picture: Sharp) => picture.png({ palette: true })],
    ['GIF', (picture: Sharp) => picture.gif()],
    ['TIFF', (picture: Sharp) => picture.tiff()],
    ['AVIF', (picture: Sharp) => picture.avif({ effort: 0 })],
  ])('an input in %s comes out as sRGB', async (what, encode) => {
    const path = join(bench.dir, `${what.replaceAll(' ', '-')}.bin`);
    await encode(sharp(cat.path)).toFile(path);
    const { first } = await run([{ op: 'convert', format: 'png' }], [{ ...cat, path }]);
    const { space, depth } = await sharp(first.path).metadata();
    expect({ space, depth, width: first.width }).toEqual({ space: 'srgb', depth: 'uchar', width: 256 });
  });
});

describe('several pictures', () => {
  test('an overlay lies at its place, with its opacity, and is cut at the edge', async () => {
    const [base, layer] = [
      await bench.plain('base.png', { width: 100, height: 80, colour: '#000000' }),
      await bench.plain('layer.png', { width: 40, height: 40, colour: '#ff0000' }),
    ];
    const over = async (change: JsonObject) =>
      (await run([{ op: 'composite', input: 'layer.png', ...change }], [base, layer])).first;
    const corner = await over({ gravity: 'southeast', opacity: 0.5 });
    expect(corner.pixel(99, 79)).toEqual([128, 0, 0, 255]);
    expect(corner.pixel(59, 79)).toEqual([0, 0, 0, 255]);
    const cut = await over({ at: { left: -20, top: 70 } });
    expect(cut).toMatchObject({ width: 100, height: 80 });
    expect([cut.pixel(19, 79), cut.pixel(20, 79)]).toEqual([
      [255, 0, 0, 255],
      [0, 0, 0, 255],
    ]);
    const small = await over({ width: 10, at: { left: 0, top: 0 } });
    expect([small.pixel(9, 9), small.pixel(10, 10)]).toEqual([
      [255, 0, 0, 255],
      [0, 0, 0, 255],
    ]);
  });

  test('an overlay that misses the picture, or an input that is not there, is refused', async () => {
    await expect(
      run([{ op: 'composite', input: 'coffee.jpg', at: { left: 256, top: 0 } }], [cat, coffee]),
    ).rejects.toMatchObject({
      code: 'PAYLOAD_INVALID',
      errors: [{ pointer: '/operations/0/at' }],
    });
    await expect(run([{ op: 'composite', input: 'tea.jpg' }], [cat, coffee])).rejects.toMatchObject({
      code: 'PAYLOAD_INVALID',
      errors: [
        { pointer: '/operations/0/input', detail: expect.stringContaining('"chelsea.jpg", "coffee.jpg"') },
      ],
    });
  });

  test('a contact sheet shows every input in its cell, with a caption below', async () => {
    const sheet = {
      op: 'contactSheet',
      columns: 2,
      cellWidth: 100,
      cellHeight: 80,
      gap: 10,
      background: '#ffffff',
    };
    const { first } = await run([sheet], [cat, coffee, rocket]);
    expect(first).toMatchObject({ width: 230, height: 2 * (80 + 24) + 30 });
    const inked = (left: number, top: number, width: number, height: number) => {
      let count = 0;
      for (let y = top; y < top + height; y++)
        for (let x = left; x < left + width; x++) if (first.pixel(x, y)[0]! < 200) count++;
      return count;
    };
    expect(inked(10, 12, 100, 75)).toBeGreaterThan(3_000);
    expect(inked(120, 12, 100, 75)).toBeGreaterThan(3_000);
    expect(inked(10, 90, 100, 24)).toBeGreaterThan(100);
    expect(inked(120, 126, 100, 104)).toBe(0);
    const bare = await run([{ ...sheet, captions: 'none' }], [cat, coffee, rocket]);
    expect(bare.first.height).toBe(2 * 80 + 30);
  });

  test('captions that are too long are cut, not laid over the next one', async () => {
    const long = { ...cat, name: `${'W'.repeat(120)}.jpg` };
    const sheet = { op: 'contactSheet', columns: 2, cellWidth: 60, cellHeight: 40, gap: 20 };
    const { first } = await run([sheet], [long, { ...coffee, name: 'c' }]);
    for (let y = 60; y < 84; y++) expect(first.pixel(90, y)).toEqual([255, 255, 255, 255]);
  });
});

describe('text', () => {
  const blank = {
    op: 'generate',
    pattern: 'checker',
    width: 600,
    height: 120,
    colours: ['#000000', '#000000'],
  };
  const style = { op: 'annotate', size: 40, background: '#00000000', gravity: 'centre' };
  /** Columns of the picture that hold ink. */
  const inkWidth = async (text: string, change: JsonObject = {}) => {
    const { first } = await run([blank, { ...style, text, ...change }]);
    const columns = Array.from({ length: 600 }, (_, x) =>
      Array.from({ length: 120 }, (_, y) => first.pixel(x, y)[0]!).some((red) => red > 60),
    );
    return columns.lastIndexOf(true) - columns.indexOf(true) + 1;
  };

  test('is drawn with a real font: letters have their own widths', async () => {
    const narrow = await inkWidth('iiiiiiii');
    const wide = await inkWidth('WWWWWWWW');
    expect(wide).toBeGreaterThan(2.5 * narrow);
    expect(await inkWidth('iiiiiiii', { font: 'mono' })).toBeGreaterThan(1.5 * narrow);
    expect(await inkWidth('WWWWWWWW', { bold: true })).toBeGreaterThan(wide);
  });

  test('is taken literally: what looks like markup is drawn as it stands', async () => {
    expect(await inkWidth('<b>a</b>')).toBeGreaterThan(3 * (await inkWidth('a')));
    expect(await inkWidth('a&amp;b')).toBeGreaterThan(1.5 * (await inkWidth('a&b')));
    await expect(
      run([blank, { ...style, text: '</span><span size="9999999">x & "y\' \u0001' }]),
    ).resolves.toBeDefined();
  });

  test('has its colour and its box', async () => {
    const { first } = await run([
      blank,
      { ...style, text: '█', colour: '#ff0000', background: '#0000ff', at: { left: 10, top: 10 } },
    ]);
    expect(first.pixel(11, 11)).toEqual([0, 0, 255, 255]);
    expect(first.pixel(25, 40)).toEqual([255, 0, 0, 255]);
  });

  test('that does not fit is refused at its size', async () => {
    await expect(run([blank, { ...style, text: 'a\nb\nc\nd' }])).rejects.toMatchObject({
      code: 'PAYLOAD_INVALID',
      errors: [{ pointer: '/operations/1/size', detail: expect.stringContaining('does not fit') }],
    });
    const huge = { op: 'generate', pattern: 'checker', width: 8_000, height: 100 };
    await expect(
      run([huge, { ...style, size: 256, text: `${'a'.repeat(460)}${'\n'.repeat(19)}b` }]),
    ).rejects.toMatchObject({
      errors: [{ pointer: '/operations/1/size' }],
    });
  });
});
