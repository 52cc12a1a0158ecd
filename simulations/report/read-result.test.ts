import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseResult, readResult } from './read-result.ts';
import { fixtureResult } from './report-fixture.ts';

const result = fixtureResult({ policies: ['fifo', 'emp'], seeds: [1, 2], jobs: 40 });
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'emp-result-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('readResult', () => {
  test('what was written is what is read', async () => {
    const file = join(folder, 'good.json');
    await writeFile(file, JSON.stringify(result));
    expect(await readResult(file)).toEqual({ kind: 'read', result });
  });

  test('a file that is not there, and one that is a folder, are refused by name', async () => {
    const file = join(folder, 'gone.json');
    expect(await readResult(file)).toEqual({
      kind: 'refused',
      file,
      problems: [{ field: '', problem: 'does not exist' }],
    });
    expect(await readResult(folder)).toMatchObject({ problems: [{ field: '', problem: 'is not a file' }] });
  });
});

describe('parseResult', () => {
  const problemsOf = (value: unknown) => {
    const read = parseResult('a.json', JSON.stringify(value));
    if (read.kind !== 'refused') throw new Error('was read');
    expect(read.file).toBe('a.json');
    return read.problems;
  };

  test('text that is not JSON is refused', () => {
    expect(parseResult('a.json', '{"scenario":')).toMatchObject({
      kind: 'refused',
      problems: [{ field: '', problem: expect.stringContaining('is not JSON') }],
    });
  });

  test.each<[string, (value: typeof result) => unknown]>([
    ['version', (value) => ({ ...value, version: 2 })],
    ['seeds', (value) => ({ ...value, seeds: [] })],
    ['seeds[1]', (value) => ({ ...value, seeds: [1, 'two'] })],
    ['load', (value) => ({ ...value, load: -1 })],
    ['policies', (value) => ({ ...value, policies: {} })],
    [
      'policies.emp.waitMeanMs',
      (value) => ({
        ...value,
        policies: { ...value.policies, emp: { ...value.policies['emp'], waitMeanMs: null } },
      }),
    ],
    [
      'policies.emp.goodDecisions',
      (value) => ({ ...value, policies: { emp: { ...value.policies['emp'], goodDecisions: 1.2 } } }),
    ],
    [
      'policies.emp.series.busyShare[0]',
      (value) => {
        const changed = structuredClone(value);
        changed.policies['emp']!.series.busyShare[0] = -1;
        return changed;
      },
    ],
    ['incidents[0].atMs', (value) => ({ ...value, incidents: [{ atMs: '8 h', kind: 'lost', what: 'm' }] })],
  ])('the field %s is named where it is wrong', (field, change) => {
    const problems = problemsOf(change(structuredClone(result)));
    expect(problems.map((problem) => problem.field)).toEqual([field]);
    expect(problems[0]!.problem).not.toBe('');
  });

  test('of many wrong fields the first ten are named and the rest counted', () => {
    const problems = problemsOf({ ...result, seeds: Array.from({ length: 15 }, () => 'x') });
    expect(problems).toHaveLength(11);
    expect(problems.at(-1)).toEqual({ field: '', problem: 'and 5 more fields' });
  });
});
