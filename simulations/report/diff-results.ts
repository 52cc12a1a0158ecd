import { interval } from '#simulations/day/figures-intervals.ts';
import { type FigureName, figureNames, type PolicyReport, type SimResult } from '#simulations/day/result.ts';
import { figureInfo, shown } from './figure-info.ts';

/** How one figure of one policy moved from A to B. */
export interface FigureMove {
  policy: string;
  figure: FigureName;
  a: number | null;
  b: number | null;
  /** B − A; null where one of them has no value. */
  change: number | null;
  /** Change over the amount of A; null where A is 0. */
  changeShare: number | null;
  /** 95 % half width of the change; null with a single seed, which has none. */
  halfWidth: number | null;
  /** `unsure`: it changed by less than its half width. */
  verdict: 'better' | 'worse' | 'moved' | 'unsure' | 'same';
}

export type ResultDiff =
  | {
      kind: 'compared';
      scenario: string;
      /** Fields in which they differ although the comparison needs them equal; empty unless it was forced. */
      differs: DifferentField[];
      /** Seed by seed, because both have the same seeds; else as two independent samples. */
      paired: boolean;
      onlyInA: string[];
      onlyInB: string[];
      moves: FigureMove[];
      /** Trace of both was the same: nothing but the computing time can differ. */
      sameTrace: boolean;
    }
  | { kind: 'refused'; fields: DifferentField[] };

interface DifferentField {
  field: string;
  a: string;
  b: string;
}

/** Fields that must be equal for figures to be of the same days. */
function differentFields(a: SimResult, b: SimResult): DifferentField[] {
  const pairs: [string, unknown, unknown][] = [
    ['scenario', a.scenario, b.scenario],
    ['seeds', a.seeds, b.seeds],
    ['load', a.load, b.load],
    ['spanMs', a.spanMs, b.spanMs],
  ];
  return pairs
    .map(([field, left, right]) => ({ field, a: JSON.stringify(left), b: JSON.stringify(right) }))
    .filter((pair) => pair.a !== pair.b);
}

/** Half width of the difference; two samples of their own add up, seeds in pairs lose what they share. */
function halfWidthOf(a: PolicyReport, b: PolicyReport, figure: FigureName, paired: boolean): number | null {
  const [left, right] = [a.intervals[figure], b.intervals[figure]];
  if (left === undefined || right === undefined) return null;
  if (left.values.length < 2 || right.values.length < 2) return null;
  if (!paired || left.values.length !== right.values.length)
    return Math.hypot(left.halfWidth, right.halfWidth);
  return interval(left.values.map((value, seed) => (right.values[seed] ?? 0) - value)).halfWidth;
}

function verdictOf(
  figure: FigureName,
  change: number | null,
  halfWidth: number | null,
): FigureMove['verdict'] {
  if (change === null) return 'moved';
  if (change === 0) return 'same';
  if (Math.abs(change) <= (halfWidth ?? 0)) return 'unsure';
  const { better } = figureInfo[figure];
  if (better === null) return 'moved';
  return change > 0 === (better === 'higher') ? 'better' : 'worse';
}

function moveOf(
  policy: string,
  figure: FigureName,
  reports: [PolicyReport, PolicyReport],
  paired: boolean,
): FigureMove {
  const [a, b] = [shown(reports[0], figure)?.value ?? null, shown(reports[1], figure)?.value ?? null];
  const change = a === null || b === null ? null : b - a;
  const halfWidth = change === null ? null : halfWidthOf(...reports, figure, paired);
  return {
    policy,
    figure,
    a,
    b,
    change,
    changeShare: change === null || a === null || a === 0 ? null : change / Math.abs(a),
    halfWidth,
    verdict: a === b ? 'same' : verdictOf(figure, change, halfWidth),
  };
}

/**
 * Which figures moved from `a` to `b`, policy by policy, in the order of the figures. Refused where
 * scenario, seeds, load or span differ, by name of the field, unless `force` is set. How long the replay
 * took is not compared: it is a figure of the computer.
 */
export function diffResults(a: SimResult, b: SimResult, options: { force?: boolean } = {}): ResultDiff {
  const differs = differentFields(a, b);
  if (differs.length > 0 && options.force !== true) return { kind: 'refused', fields: differs };
  const paired = !differs.some(({ field }) => field !== 'spanMs');
  const moves = Object.entries(a.policies).flatMap(([policy, left]) => {
    const right = b.policies[policy];
    if (right === undefined) return [];
    return figureNames
      .filter((figure) => figure !== 'wallMs')
      .map((figure) => moveOf(policy, figure, [left, right], paired));
  });
  return {
    kind: 'compared',
    scenario: a.scenario,
    differs,
    paired,
    onlyInA: Object.keys(a.policies).filter((policy) => !(policy in b.policies)),
    onlyInB: Object.keys(b.policies).filter((policy) => !(policy in a.policies)),
    moves,
    sameTrace: a.traceHash === b.traceHash,
  };
}
