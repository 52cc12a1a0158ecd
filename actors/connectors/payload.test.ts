import { expect, test } from 'vitest';
import { z } from 'zod';
import { escapeMarkup } from './fonts.ts';
import { fieldRefused, jsonPointer, readPayload } from './payload.ts';

test('a payload that does not fit is refused with one error for each field', () => {
  const schema = z.strictObject({ a: z.int(), b: z.array(z.string()) });
  expect(readPayload(schema, { a: 1, b: [] })).toEqual({ a: 1, b: [] });
  expect(() => readPayload(schema, { a: 'x', b: ['y', 2] })).toThrow(
    expect.objectContaining({
      code: 'PAYLOAD_INVALID',
      errors: [
        { pointer: '/a', detail: expect.any(String) },
        { pointer: '/b/1', detail: expect.any(String) },
      ],
    }),
  );
});

test('a pointer escapes what separates its parts', () => {
  expect(jsonPointer(['a/b', 0, 'c~d'])).toBe('/a~1b/0/c~0d');
  expect(jsonPointer([])).toBe('');
  expect(fieldRefused(['x', 1], 'no').errors).toEqual([{ pointer: '/x/1', detail: 'no' }]);
});

test('text cannot leave its place in markup', () => {
  expect(escapeMarkup(`<b a="1">&'</b>`)).toBe('&#60;b a=&#34;1&#34;&#62;&#38;&#39;&#60;/b&#62;');
});

test('characters that XML forbids are dropped, others stay', () => {
  expect(escapeMarkup('a\u0000\u0008b\ud800c\uffff\n\t😀')).toBe('abc\n\t😀');
});
