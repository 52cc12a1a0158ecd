import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { checkHistory } from './checker.ts';
import { HistoryFile, parseHistory, readHistory } from './history.ts';
import { meta, planted } from './planted-history.fixture.ts';

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

describe('the digest of the lines', () => {
  /** Of a job that was cancelled and lives again: whose call came first decides between its lives. */
  const rows = () =>
    planted().op('submit', 'a', 'ok').op('cancel', 'a', 'ok', 'cancelled').text().split('\n');
  const swapped = (at: number) => {
    const [one = '', other = ''] = rows().slice(at, at + 2);
    return rows().toSpliced(at, 2, other, one);
  };

  test('two neighbours that changed places are refused, wherever they are', () => {
    for (let at = 1; at < rows().length - 2; at++)
      expect(() => parseHistory(swapped(at).join('\n')), `${at}`).toThrow(
        `line ${rows().length}/sha256 is not the digest of the lines before it`,
      );
    expect(parseHistory(rows().join('\n'))).toHaveLength(rows().length);
  });

  test('a history of this format without one is refused; one of a former format is read, and known to have none', () => {
    const without = rows();
    const { sha256, ...end } = JSON.parse(without.pop() ?? '');
    expect(sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(() => parseHistory([...without, JSON.stringify(end)].join('\n'))).toThrow(/sha256 is missing/);
    for (const format of [2, 3] as const)
      expect(planted().begin({ format }).good('a').check()).toMatchObject({ sealed: false, ok: true });
    expect(planted().good('a').check()).toMatchObject({ sealed: true, ok: true });
  });

  test('a file that is written carries that of its own bytes', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'emp-history-'));
    onTestFinished(() => rm(dir, { recursive: true, force: true }));
    const file = new HistoryFile(join(dir, 'history.jsonl'));
    file.add(meta);
    for (let tMs = 0; tMs < 450; tMs++)
      file.add({ kind: 'process', tMs, name: 'hub-ä', action: 'started', detail: '' });
    file.end({ tMs: 450, atMs: 450, outcome: 'settled', detail: '' });
    expect(checkHistory(readHistory(file.path))).toMatchObject({ sealed: true });
    const content = await readFile(file.path, 'utf8');
    expect(() => parseHistory(content.replace('hub-ä', 'hub-a'))).toThrow(/is not the digest/);
  });
});
