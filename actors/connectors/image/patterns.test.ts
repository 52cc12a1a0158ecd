import { expect, test } from 'vitest';
import { ImageOperation, type OperationOf } from './image-spec.ts';
import { colourBytes, generatePattern } from './patterns.ts';

function generate(change: Record<string, unknown>) {
  const operation = ImageOperation.parse({ op: 'generate', width: 40, height: 30, ...change });
  return generatePattern(operation as OperationOf<'generate'>);
}

test.each(['gradient', 'checker', 'noise', 'clouds', 'rings'])(
  '%s fills its size and is not of one colour',
  (pattern) => {
    const { data, width, height, channels } = generate({ pattern, cell: 8 });
    expect({ width, height, channels, bytes: data.length }).toEqual({
      width: 40,
      height: 30,
      channels: 4,
      bytes: 4_800,
    });
    const reds = new Set(Array.from({ length: 1_200 }, (_, pixel) => data[pixel * 4]));
    expect(reds.size).toBeGreaterThan(1);
  },
);

test.each(['gradient', 'noise', 'clouds', 'rings'])(
  'equal seeds give equal %s and other seeds others',
  (pattern) => {
    expect(generate({ pattern, seed: 5 }).data).toEqual(generate({ pattern, seed: 5 }).data);
    expect(generate({ pattern, seed: 5 }).data).not.toEqual(generate({ pattern, seed: 6 }).data);
  },
);

test('a gradient goes from one colour to the other', () => {
  const { data } = generate({ pattern: 'gradient', width: 3, height: 1, colours: ['#000000', '#ff8000'] });
  expect([...data]).toEqual([0, 0, 0, 255, 128, 64, 0, 255, 255, 128, 0, 255]);
});

test('a picture of one pixel is no division by zero', () => {
  expect([
    ...generate({ pattern: 'gradient', width: 1, height: 1, colours: ['#000000', '#ffffff'] }).data,
  ]).toEqual([128, 128, 128, 255]);
});

test('checkers alternate after each cell', () => {
  const { data } = generate({
    pattern: 'checker',
    width: 4,
    height: 1,
    cell: 2,
    colours: ['#000000', '#ffffff'],
  });
  expect([0, 1, 2, 3].map((pixel) => data[pixel * 4])).toEqual([0, 0, 255, 255]);
});

test('noise spreads over all shades', () => {
  const { data } = generate({ pattern: 'noise', width: 200, height: 200, colours: ['#000000', '#ffffff'] });
  const shades = Array.from({ length: 40_000 }, (_, pixel) => data[pixel * 4] ?? 0);
  const mean = shades.reduce((sum, shade) => sum + shade, 0) / shades.length;
  expect(Math.abs(mean - 127.5)).toBeLessThan(2);
  expect(new Set(shades).size).toBeGreaterThan(250);
});

test('colours are read with and without transparency', () => {
  expect(colourBytes('#0a141E')).toEqual([10, 20, 30, 255]);
  expect(colourBytes('#0a141e80')).toEqual([10, 20, 30, 128]);
});
