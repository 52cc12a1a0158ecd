import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bestPolicy, figureInfo, grouped, shownText } from './figure-info.ts';
import { fixtureChosen, fixtureResult } from './report-fixture.ts';
import { sparkline, squeezed } from './sparkline.ts';
import { terminalSummary } from './terminal-summary.ts';

const result = fixtureResult({ policies: ['fifo', 'emp', 'clairvoyant'], seeds: [1, 2, 3], jobs: 80 });

describe('terminalSummary', () => {
  test.each([60, 80, 120, 200])('no line is wider than %i', (width) => {
    const lines = terminalSummary(result, { width, color: false });
    // The hash of the trace is one word and longer than a narrow terminal.
    for (const line of lines.slice(0, -1)) expect(line.length, line).toBeLessThanOrEqual(width);
  });

  test('every figure stands in a row with all policies that fit', () => {
    const lines = terminalSummary(result, { width: 120, color: false });
    const heads = lines.findIndex((line) => line.includes('fifo') && line.includes('clairvoyant'));
    expect(heads).toBeGreaterThan(0);
    for (const [name, { label }] of Object.entries(figureInfo)) {
      const row = lines.find((line) => line.startsWith(label))!;
      for (const report of Object.values(result.policies)) {
        expect(row).toContain(shownText(report, name as keyof typeof figureInfo));
      }
    }
  });

  test('where intervals would part the policies they are left away', () => {
    const narrow = terminalSummary(result, { width: 80, color: false });
    expect(narrow.some((line) => line.includes('±'))).toBe(false);
    expect(
      narrow.some((line) => line.includes('fifo') && line.includes('emp') && line.includes('clairvoyant')),
    ).toBe(true);
  });

  test('policies that do not fit side by side follow below', () => {
    const many = fixtureResult({
      policies: ['fifo', 'a', 'b', 'c', 'd', 'e', 'f', 'clairvoyant'],
      seeds: [1],
      jobs: 40,
    });
    const lines = terminalSummary(many, { width: 70, color: false });
    expect(lines.filter((line) => line.startsWith('wait, p95')).length).toBeGreaterThan(2);
  });

  test('a sparkline per policy for machines, queue depth, wait and downloads', () => {
    const lines = terminalSummary(result, { width: 100, color: false });
    for (const label of ['machines', 'queue depth', 'wait p95', 'downloads']) {
      const heading = lines.findIndex((line) => line.startsWith(`${label}, up to `));
      const drawn = lines.slice(heading + 1, heading + 4);
      expect(drawn.map((line) => line.split(' ')[0])).toEqual(['fifo', 'emp', 'clairvoyant']);
      for (const line of drawn) expect(line).toMatch(/[▁▂▃▄▅▆▇█]/);
    }
  });

  test('where each policy chose its machines, those wanted have a sparkline too', () => {
    const chosen = terminalSummary(fixtureChosen(['emp', 'fifo']), { width: 100, color: false });
    const heading = chosen.findIndex((line) => line.startsWith('machines wanted, up to 33'));
    const drawn = chosen.slice(heading + 1, heading + 3);
    expect(drawn.map((line) => line.split(' ')[0])).toEqual(['emp', 'fifo']);
    expect(drawn.map((line) => line.split(' ').at(-1))).toEqual(['32', '33']);
    expect(terminalSummary(result, { width: 100, color: false }).join('\n')).not.toContain('machines wanted');
  });

  test('all sparklines have one axis of time', () => {
    const longer = structuredClone(result);
    const { machinesRunning } = longer.policies['emp']!.series;
    machinesRunning.push(...new Array<number>(machinesRunning.length).fill(7));
    const lines = terminalSummary(longer, { width: 100, color: false });
    const heading = lines.findIndex((line) => line.startsWith('machines, up to '));
    const blocksOf = (line: string) => /[▁▂▃▄▅▆▇█]+/.exec(line)![0].length;
    const [fifo, emp] = lines.slice(heading + 1, heading + 3).map(blocksOf);
    expect(Math.abs(emp! - 2 * fifo!)).toBeLessThanOrEqual(1);
  });

  test('colour comes only where it is asked for', () => {
    expect(terminalSummary(result, { width: 120, color: false }).join('')).not.toContain('\u001b');
    expect(terminalSummary(result, { width: 120, color: true }).join('')).toContain('\u001b[32m');
  });

  test('names from a file bring no escape sequences', () => {
    const hostile = {
      ...result,
      scenario: '\u001b[2Jgone',
      policies: { '\u001b]0;x\u0007p': result.policies['emp']! },
    };
    expect(terminalSummary(hostile, { width: 80, color: false }).join('')).not.toContain('\u001b');
  });

  test('violated invariants are told', () => {
    const lines = terminalSummary(
      { ...result, invariants: { checked: 12_345, violated: 3 } },
      { width: 80, color: false },
    );
    expect(lines[1]).toBe('12\u00a0345 checks of invariants, 3 violated');
  });
});

describe('sparkline', () => {
  test('the highest block is the top, a missing value is blank', () => {
    expect(sparkline([0, 1, 2, 4, 8, null, 8], { width: 10 })).toBe('▁▂▃▅█ █');
    expect(sparkline([4], { width: 10, top: 8 })).toBe('▅');
    expect(sparkline([0, 0], { width: 10 })).toBe('▁▁');
    expect(sparkline([], { width: 10 })).toBe('');
  });

  test('a peak survives squeezing', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 999 }), { minLength: 1 }),
        fc.integer({ min: 1, max: 40 }),
        (values, width) => {
          const few = squeezed(values, width);
          expect(few.length).toBe(Math.min(values.length, width));
          expect(Math.max(...few.map((value) => value!))).toBe(Math.max(...values));
        },
      ),
    );
  });
});

describe('figures in words', () => {
  test('thousands stand apart', () => {
    expect([grouped(1_234_567), grouped(999), grouped(1_234.56, 1), grouped(-1_234), grouped(-0.01)]).toEqual(
      ['1\u00a0234\u00a0567', '999', '1\u00a0234.6', '-1\u00a0234', '0'],
    );
  });

  test('the best of a figure is the lowest or the highest, and never clairvoyant', () => {
    const set = (waits: Record<string, number>) =>
      Object.fromEntries(
        Object.entries(waits).map(([name, waitMeanMs]) => [
          name,
          { ...result.policies['emp']!, waitMeanMs, goodDecisions: waitMeanMs / 100 },
        ]),
      );
    const policies = set({ fifo: 90, emp: 20, clairvoyant: 10 });
    expect(bestPolicy(policies, 'waitMeanMs')).toBe('emp');
    expect(bestPolicy(policies, 'goodDecisions')).toBe('fifo');
    expect(bestPolicy(policies, 'jobs')).toBe(null);
    expect(bestPolicy(set({ fifo: 20, emp: 20 }), 'waitMeanMs')).toBe(null);
    expect(bestPolicy(set({ emp: 20, clairvoyant: 10 }), 'waitMeanMs')).toBe(null);
  });

  test('a half width that rounds to nothing is left out', () => {
    const report = structuredClone(result.policies['emp']!);
    report.waitMeanMs = 1_234;
    report.intervals.waitMeanMs = { mean: 1_234, halfWidth: 0.2, values: [1_234, 1_234.1] };
    expect(shownText(report, 'waitMeanMs')).toBe('1.2 s');
    report.intervals.waitMeanMs.halfWidth = 300;
    expect(shownText(report, 'waitMeanMs')).toBe('1.2 s ± 300 ms');
  });
});
