import { expect, test } from 'vitest';
import { Documents } from './documents.ts';

test('a document is read and parsed once, and again after so many others that it was forgotten', () => {
  const documents = new Documents<{ n: number }>({ limit: 2 });
  const asked: string[] = [];
  const get = (id: string) =>
    documents.get(id, () => {
      asked.push(id);
      return `{"n":${id.length}}`;
    });
  expect(get('a')).toEqual({ n: 1 });
  expect(get('a')).toBe(get('a'));
  get('bb');
  get('bb');
  expect(asked).toEqual(['a', 'bb']);
  get('ccc');
  get('a');
  expect(asked).toEqual(['a', 'bb', 'ccc', 'a']);
});

test('a document that cannot be parsed is asked for again', () => {
  const documents = new Documents<number>({ limit: 2 });
  expect(() => documents.get('a', () => '{')).toThrow(SyntaxError);
  expect(documents.get('a', () => '7')).toBe(7);
});
