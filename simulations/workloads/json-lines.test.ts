import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jsonLines } from './json-lines.ts';

const lineOf = (text: string, pointer: string) => {
  const read = jsonLines(text);
  return read.kind === 'read' ? read.lineOf(pointer) : read.fault;
};
const faultOf = (text: string) => {
  const read = jsonLines(text);
  return read.kind === 'broken' ? read.fault : null;
};

describe('lines of a JSON text', () => {
  const text = [
    '{',
    '  "a": 1,',
    '  "b": { "c": [',
    '    10,',
    '    { "d/e~f": null }',
    '  ] }',
    '}',
    '',
  ].join('\n');

  test('every key and item has its line; what is not there has the line of what is around it', () => {
    const pointers = ['', '/a', '/b', '/b/c', '/b/c/0', '/b/c/1', '/b/c/1/d~1e~0f', '/b/c/1/none', '/none'];
    expect(pointers.map((pointer) => lineOf(text, pointer))).toEqual([1, 2, 3, 3, 4, 5, 5, 5, 1]);
  });

  test('a key has the line of its name, not of its value', () => {
    expect(lineOf('{ "a":\n\n1 }', '/a')).toBe(1);
  });

  test('it reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), fc.constantFrom(0, 2), (json, indent) => {
        const written = JSON.stringify(JSON.parse(json), null, indent);
        expect(jsonLines(written).kind).toBe('read');
      }),
    );
  });

  test('it refuses whatever JSON.parse refuses', () => {
    const damaged = fc
      .tuple(
        fc.json({ maxDepth: 3 }),
        fc.nat(),
        fc.constantFrom('', ',', '"', '{', ']', '\\', '\n', '-', '.', '1e'),
      )
      .map(([json, at, junk]) => {
        const place = at % (json.length + 1);
        return json.slice(0, place) + junk + json.slice(place + (at % 2));
      });
    fc.assert(
      fc.property(damaged, (broken) => {
        let parses = true;
        try {
          JSON.parse(broken);
        } catch {
          parses = false;
        }
        const fault = faultOf(broken);
        if (!parses) expect(fault).not.toBeNull();
        // A doubled key is the one thing that is refused beyond the grammar.
        else if (fault !== null) expect(fault.detail).toContain('stands twice');
      }),
      { numRuns: 1_000 },
    );
  });

  test('a fault has its line and column', () => {
    expect(faultOf('{\n  "a": 1\n  "b": 2\n}')).toEqual({
      line: 3,
      column: 3,
      detail: 'a comma or } is expected here',
    });
    expect(faultOf('')).toMatchObject({
      line: 1,
      column: 1,
      detail: 'the text ends where a value is expected',
    });
    expect(faultOf('{ a: 1 }')).toMatchObject({ detail: 'a key in double quotes is expected here' });
    expect(faultOf('{ "a" 1 }')).toMatchObject({ detail: 'a colon is expected here' });
    expect(faultOf('"a\nb"')).toMatchObject({ line: 1, column: 1 });
    expect(faultOf('1 2')).toMatchObject({ column: 3, detail: 'the document ends here, and more follows' });
  });

  test('a key that stands twice is a fault at its second place', () => {
    expect(faultOf('{ "a": 1,\n "b": { "a": 2 },\n "a": 3 }')).toEqual({
      line: 3,
      column: 2,
      detail: 'the key "a" stands twice in this object',
    });
  });

  test('a text that is too deep is refused and does not end the process', () => {
    expect(faultOf('['.repeat(100_000))).toMatchObject({ detail: 'values lie more than 64 deep' });
  });
});
