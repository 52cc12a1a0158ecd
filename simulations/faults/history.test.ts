import { describe, expect, test } from 'vitest';
import { parseHistory } from './history.ts';
import { meta } from './planted-history.fixture.ts';

describe('a file that is no history is refused by line', () => {
  const text = (lines: unknown[]) => lines.map((line) => JSON.stringify(line)).join('\n');
  const end = { kind: 'end', tMs: 1, atMs: 1, outcome: 'settled', detail: '', lines: 1 };
  test.each([
    ['nothing', '', 'line 1 is not a meta line'],
    ['no JSON', '{', 'line 1 is not JSON'],
    ['no end', text([meta]), 'line 1 is not an end line'],
    ['an unknown kind', text([meta, { kind: 'rumour' }, end]), 'line 2'],
    ['a wrong field', text([{ ...meta, seed: 'x' }, end]), 'line 1/seed'],
    ['another format', text([{ ...meta, format: 1 }, end]), 'line 1/format'],
    ['lines taken out', text([meta, { ...end, lines: 3 }]), 'line 2/lines says 3'],
  ])('%s', (_name, content, message) => {
    expect(() => parseHistory(content)).toThrow(message);
  });
});
