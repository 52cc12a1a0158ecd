import { describe, expect, test } from 'vitest';
import { interval } from '#simulations/day/figures-intervals.ts';
import type { FigureName, SimResult } from '#simulations/day/result.ts';
import { diffResults, type ResultDiff } from './diff-results.ts';
import { diffNotes, diffTable, refusalLines } from './diff-table.ts';
import { fixtureResult } from './report-fixture.ts';

const base = fixtureResult({ policies: ['fifo', 'emp'], seeds: [1, 2, 3], jobs: 60 });

/** `base` in which one figure of `emp` has these values, seed by seed. */
function withValues(figure: FigureName, values: number[]): SimResult {
  const result = structuredClone(base);
  result.policies['emp'] = { ...result.policies['emp']!, [figure]: interval(values).mean };
  result.policies['emp'].intervals[figure] = interval(values);
  result.traceHash = 'another';
  return result;
}

function compared(diff: ResultDiff): ResultDiff & { kind: 'compared' } {
  if (diff.kind !== 'compared') throw new Error(`refused: ${refusalLines(diff).join()}`);
  return diff;
}

const moveOf = (a: SimResult, b: SimResult, figure: FigureName) =>
  compared(diffResults(a, b)).moves.find((move) => move.policy === 'emp' && move.figure === figure)!;

describe('diffResults', () => {
  test('a result does not differ from itself', () => {
    const diff = compared(diffResults(base, structuredClone(base)));
    expect(diff.moves.filter(({ verdict }) => verdict !== 'same')).toEqual([]);
    expect(diffTable(diff).rows).toEqual([]);
    expect(diff.sameTrace).toBe(true);
    expect(diffNotes(diff)[0]).toContain('the same trace');
  });

  test('how long the replay took is no figure of the policy', () => {
    const slower = structuredClone(base);
    slower.policies['emp']!.wallMs *= 10;
    expect(compared(diffResults(base, slower)).moves.every(({ figure }) => figure !== 'wallMs')).toBe(true);
  });

  test('seeds are compared one by one: a small gain on each of unlike days is sure', () => {
    const a = withValues('waitMeanMs', [1_000, 5_000, 9_000]);
    const b = withValues('waitMeanMs', [900, 4_890, 8_910]);
    const move = moveOf(a, b, 'waitMeanMs');
    expect(move.change).toBeCloseTo(-100, 9);
    expect(move.changeShare).toBeCloseTo(-0.02, 9);
    expect(move.halfWidth).toBeCloseTo((4.303 * 10) / Math.sqrt(3), 6);
    expect(move.verdict).toBe('better');
    // The same as independent samples would say nothing.
    expect(a.policies['emp']!.intervals.waitMeanMs!.halfWidth).toBeGreaterThan(9_000);
  });

  test('a change within its interval is unsure', () => {
    const move = moveOf(
      withValues('waitMeanMs', [1_000, 2_000, 3_000]),
      withValues('waitMeanMs', [1_500, 1_800, 3_100]),
      'waitMeanMs',
    );
    expect(move.verdict).toBe('unsure');
  });

  test.each<[FigureName, number[], number[], string]>([
    ['waitP95Ms', [10, 10, 10], [20, 20, 20], 'worse'],
    ['waitP95Ms', [20, 20, 20], [10, 10, 10], 'better'],
    ['goodDecisions', [0.9, 0.9, 0.9], [0.95, 0.95, 0.95], 'better'],
    ['goodDecisions', [0.95, 0.95, 0.95], [0.9, 0.9, 0.9], 'worse'],
    ['jobs', [5, 5, 5], [6, 6, 6], 'moved'],
  ])('%s from %j to %j is %s', (figure, before, after, verdict) => {
    expect(moveOf(withValues(figure, before), withValues(figure, after), figure).verdict).toBe(verdict);
  });

  test('one seed has no interval, and any change counts', () => {
    const one = fixtureResult({ policies: ['emp'], seeds: [1], jobs: 60 });
    const other = structuredClone(one);
    other.policies['emp']!.waitMeanMs += 1;
    other.policies['emp']!.intervals.waitMeanMs = interval([other.policies['emp']!.waitMeanMs]);
    expect(moveOf(one, other, 'waitMeanMs')).toMatchObject({ halfWidth: null, verdict: 'worse' });
    expect(diffTable(compared(diffResults(one, other))).rows[0]).toContain('one seed');
  });

  test('a yardstick that only one of them has moved without an amount', () => {
    const without = structuredClone(base);
    without.policies['emp']!.avoidableWaitRemoved = null;
    const withIt = withValues('avoidableWaitRemoved', [0.9, 0.9, 0.9]);
    expect(moveOf(without, withIt, 'avoidableWaitRemoved')).toMatchObject({
      a: null,
      b: 0.9,
      change: null,
      verdict: 'moved',
    });
  });

  test('policies that only one of them has are named', () => {
    const fewer = structuredClone(base);
    fewer.policies['hold'] = fewer.policies['fifo']!;
    delete fewer.policies['fifo'];
    const diff = compared(diffResults(base, fewer));
    expect([diff.onlyInA, diff.onlyInB]).toEqual([['fifo'], ['hold']]);
    expect(diffNotes(diff).join('\n')).toContain('only in B: hold');
  });

  test.each<[string, Partial<SimResult>, string]>([
    ['scenario', { scenario: 'night' }, 'scenario differs: "day" and "night"'],
    ['seeds', { seeds: [1, 2, 4] }, 'seeds differs: [1,2,3] and [1,2,4]'],
    ['load', { load: 2 }, 'load differs: 1 and 2'],
    ['spanMs', { spanMs: 5 }, 'spanMs differs: 86400000 and 5'],
  ])('results of another %s are refused by the name of the field', (field, change, line) => {
    const diff = diffResults(base, { ...base, ...change });
    if (diff.kind !== 'refused') throw new Error('was compared');
    expect(diff.fields.map((each) => each.field)).toEqual([field]);
    expect(refusalLines(diff)).toEqual([line]);
  });

  test('all fields that differ are named at once', () => {
    const diff = diffResults(base, { ...base, scenario: 'x', load: 3 });
    expect(diff).toMatchObject({ kind: 'refused', fields: [{ field: 'scenario' }, { field: 'load' }] });
  });

  test('forced, results of other seeds are independent samples, and it is said', () => {
    const a = withValues('waitMeanMs', [1_000, 1_010, 990]);
    const b = { ...withValues('waitMeanMs', [2_000, 2_010, 1_990]), seeds: [7, 8, 9] };
    const diff = compared(diffResults(a, b, { force: true }));
    const move = diff.moves.find(({ policy, figure }) => policy === 'emp' && figure === 'waitMeanMs')!;
    const { halfWidth } = interval([1_000, 1_010, 990]);
    expect(move.halfWidth).toBeCloseTo(Math.hypot(halfWidth, halfWidth), 9);
    expect(diffNotes(diff).join('\n')).toMatch(/not of the same days[\s\S]*independent samples/);
  });

  test('the table tells each move in words', () => {
    const diff = compared(
      diffResults(
        withValues('waitMeanMs', [2_000, 2_000, 2_000]),
        withValues('waitMeanMs', [1_500, 1_500, 1_500]),
      ),
    );
    expect(diffTable(diff).rows).toEqual([
      ['emp', 'wait, mean', '2.0 s', '1.5 s', '-500 ms (-25.0 %)', '0 ms', 'better'],
    ]);
    expect(diffTable(diff, { all: true }).rows.length).toBe(diff.moves.length);
  });

  test('names from a file bring no escape sequences to the terminal', () => {
    const hostile = structuredClone(base);
    hostile.policies['\u001b[31mred'] = hostile.policies['fifo']!;
    const notes = diffNotes(compared(diffResults(base, hostile)));
    expect(notes.join('')).not.toContain('\u001b');
  });
});
