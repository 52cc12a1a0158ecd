import { describe, expect, test } from 'vitest';
import type { JsonObject } from '#protocol/json.ts';
import { ImagePayload, imageSpec, outputName, startsFromInput } from './image-spec.ts';

describe('payloads that are refused, at their field', () => {
  const operation = (op: JsonObject) => ({ operations: [{ op: 'load', input: 'a.png' }, op] });
  const blurs = (count: number) => ({
    operations: Array.from({ length: count }, () => ({ op: 'blur', sigma: 1 })),
  });
  const converts = (count: number) => ({
    operations: Array.from({ length: count }, (_, index) => ({
      op: 'convert',
      format: 'png',
      name: `p${index}`,
    })),
  });
  test.each<[string, JsonObject, (string | number)[]]>([
    ['no operation', { operations: [] }, ['operations']],
    ['33 operations', blurs(33), ['operations']],
    ['17 outputs', converts(17), ['operations', 16]],
    ['an unknown operation', operation({ op: 'paint' }), ['operations', 1, 'op']],
    ['a resize without size', operation({ op: 'resize' }), ['operations', 1, 'width']],
    ['a side beyond the limit', operation({ op: 'resize', width: 16_384 }), ['operations', 1, 'width']],
    [
      'a fraction of a pixel',
      operation({ op: 'crop', left: 0.5, top: 0, width: 1, height: 1 }),
      ['operations', 1, 'left'],
    ],
    [
      'a colour by name',
      operation({ op: 'rotate', angle: 1, background: 'red' }),
      ['operations', 1, 'background'],
    ],
    [
      'a text of 501 letters',
      operation({ op: 'annotate', text: 'x'.repeat(501) }),
      ['operations', 1, 'text'],
    ],
    ['a text of 21 lines', operation({ op: 'annotate', text: 'x\n'.repeat(20) }), ['operations', 1, 'text']],
    ['a text of blanks', operation({ op: 'annotate', text: ' \n ' }), ['operations', 1, 'text']],
    [
      'an opacity above 1',
      operation({ op: 'composite', input: 'b', opacity: 1.1 }),
      ['operations', 1, 'opacity'],
    ],
    [
      'a PNG with a quality',
      operation({ op: 'convert', format: 'png', quality: 3 }),
      ['operations', 1, 'quality'],
    ],
    [
      'a name that is a path',
      operation({ op: 'convert', format: 'png', name: '../x' }),
      ['operations', 1, 'name'],
    ],
    ['a hidden name', operation({ op: 'convert', format: 'png', name: '.x' }), ['operations', 1, 'name']],
  ])('%s', (_what, payload, path) => {
    const { error } = ImagePayload.safeParse(payload);
    expect(error?.issues.map((issue) => issue.path)).toContainEqual(path);
  });

  test('a field that the operation does not have', () => {
    expect(ImagePayload.safeParse(operation({ op: 'grayscale', strength: 1 })).success).toBe(false);
  });

  test('two outputs of one name, also if the second is the PNG written at the end', () => {
    const named = { op: 'convert', format: 'png', name: 'picture-2' };
    const twice = ImagePayload.safeParse({ operations: [named, named] });
    expect(twice.error?.issues[0]).toMatchObject({ path: ['operations', 1, 'name'] });
    const atEnd = ImagePayload.safeParse({ operations: [named, { op: 'grayscale' }] });
    expect(atEnd.error?.issues[0]).toMatchObject({ path: ['operations', 1, 'name'] });
    expect(ImagePayload.safeParse({ operations: [named, { ...named, format: 'webp' }] }).success).toBe(true);
  });
});

test('outputs are named after their number and format', () => {
  expect(outputName({ format: 'jpeg' }, 0)).toBe('picture.jpg');
  expect(outputName({ format: 'png' }, 2)).toBe('picture-3.png');
  expect(outputName({ format: 'avif', name: 'cat' }, 2)).toBe('cat.avif');
});

test('a pipeline starts from the first input unless it begins with a source', () => {
  const starts = (op: JsonObject) => startsFromInput(ImagePayload.parse({ operations: [op] }));
  expect(starts({ op: 'grayscale' })).toBe(true);
  expect(starts({ op: 'contactSheet' })).toBe(false);
  expect(starts({ op: 'load', input: 'b' })).toBe(false);
});

test('more work is expected to take longer, and no model is needed', () => {
  const expected = (...operations: JsonObject[]) => imageSpec.expectedMs(ImagePayload.parse({ operations }));
  const gray = { op: 'grayscale' };
  expect(expected(gray, { op: 'convert', format: 'jpeg' })).toBeGreaterThan(expected(gray));
  expect(expected({ op: 'convert', format: 'avif' })).toBeGreaterThan(
    expected({ op: 'convert', format: 'webp' }),
  );
  const noise = (width: number) => expected({ op: 'generate', pattern: 'noise', width, height: 1_000 });
  expect(noise(2_000)).toBeGreaterThan(noise(1_000));
  expect(imageSpec.models({ operations: [gray] })).toEqual([]);
});
