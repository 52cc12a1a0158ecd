import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson, fitsAsJson, type JsonValue, jsonBytes } from './json.ts';

const anyJson = fc.jsonValue({ stringUnit: 'binary' }) as fc.Arbitrary<JsonValue>;

describe('canonical JSON', () => {
  test('sorts keys at every level and leaves out what is undefined', () => {
    const value = { b: [{ z: null, a: true }, 'x', -0.5], a: undefined, 'A "b"': {} };
    expect(canonicalJson(value)).toBe('{"A \\"b\\"":{},"b":[{"a":true,"z":null},"x",-0.5]}');
  });

  test('is JSON of the same value', () => {
    fc.assert(
      fc.property(anyJson, (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});

describe('the size of a document', () => {
  test('is that of its JSON in UTF-8', () => {
    expect(jsonBytes({ text: 'ü€\u0001' })).toBe('{"text":""}'.length + 2 + 3 + 6);
  });

  test('is judged as if it had been written out, whatever the limit', () => {
    fc.assert(
      fc.property(anyJson, fc.integer({ min: -2, max: 2 }), (value, beside) => {
        const bytes = jsonBytes(value);
        expect(fitsAsJson(value, bytes + beside)).toBe(beside >= 0);
      }),
    );
  });

  test('is found to fit for every document that is within the limit, and for none beyond', () => {
    fc.assert(
      fc.property(anyJson, fc.integer({ min: 1, max: 400 }), (value, limit) => {
        expect(fitsAsJson(value, limit)).toBe(jsonBytes(value) <= limit);
      }),
    );
  });
});
