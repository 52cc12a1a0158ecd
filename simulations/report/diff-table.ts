import { printable } from '#runtime/cli/output.ts';
import type { FigureMove, ResultDiff } from './diff-results.ts';
import { figureGroups, figureInfo } from './figure-info.ts';

/** What a table of `Output` needs. */
export interface Table {
  headings: string[];
  rows: string[][];
}

const order = figureGroups.flatMap(({ names }) => names);

function changeText(move: FigureMove): string {
  if (move.change === null) return '-';
  const { format } = figureInfo[move.figure];
  const sign = move.change > 0 ? '+' : '';
  const share = move.changeShare === null ? '' : ` (${sign}${(move.changeShare * 100).toFixed(1)} %)`;
  return `${sign}${format(move.change)}${share}`;
}

/** Rows of the figures that moved, or might have; with `all` also of those that did not. */
export function diffTable(diff: ResultDiff & { kind: 'compared' }, options: { all?: boolean } = {}): Table {
  const moves = diff.moves
    .filter((move) => options.all === true || move.verdict !== 'same')
    .sort((x, y) => (x.policy === y.policy ? order.indexOf(x.figure) - order.indexOf(y.figure) : 0));
  return {
    headings: ['POLICY', 'FIGURE', 'A', 'B', 'CHANGE', '± 95 %', ''],
    rows: moves.map((move) => {
      const { label, format } = figureInfo[move.figure];
      const text = (value: number | null) => (value === null ? '-' : format(value));
      return [
        printable(move.policy),
        label,
        text(move.a),
        text(move.b),
        changeText(move),
        move.halfWidth === null ? 'one seed' : format(move.halfWidth),
        move.verdict,
      ];
    }),
  };
}

/** Remarks that belong beside the table: what was not compared, and what the comparison rests on. */
export function diffNotes(diff: ResultDiff & { kind: 'compared' }): string[] {
  const notes: string[] = [];
  if (diff.sameTrace) notes.push('both have the same trace: the runs were the same, event by event');
  for (const { field, a, b } of diff.differs) {
    notes.push(`${field} differs: ${printable(a)} and ${printable(b)}; the figures are not of the same days`);
  }
  if (diff.onlyInA.length > 0) notes.push(`only in A: ${printable(diff.onlyInA.join(', '))}`);
  if (diff.onlyInB.length > 0) notes.push(`only in B: ${printable(diff.onlyInB.join(', '))}`);
  if (diff.moves.some(({ halfWidth }) => halfWidth !== null)) {
    notes.push(
      diff.paired
        ? 'intervals are over the seeds, one by one: both replayed the same days'
        : 'intervals are those of two independent samples',
    );
  }
  return notes;
}

/** One line per field of a refusal. */
export function refusalLines(diff: ResultDiff & { kind: 'refused' }): string[] {
  return diff.fields.map(({ field, a, b }) => `${field} differs: ${printable(a)} and ${printable(b)}`);
}
