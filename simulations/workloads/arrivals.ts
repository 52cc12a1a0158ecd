import type { Rng } from '#protocol/env.ts';
import { rankAt } from '#simulations/reality/popularity.ts';
import type { Scenario } from './scenario.ts';

export const hourMs = 3_600_000;

/** How arrivals are spread over a span: the share of all that came before each time, and its inverse. */
export interface Shape {
  spanMs: number;
  /** Share that arrived at the end of each of the equal cells of the span; the last is 1. */
  cumulative: Float64Array;
}

/** Cells of a shape; of a day half a minute each. */
const cells = 2_880;

/** Machines wanted at a time, before rounding: straight lines between the points, the last one held. */
export function wantedAt(points: Scenario['fleet']['wanted'], atHour: number): number {
  let low = points[0] ?? { atHour: 0, machines: 0 };
  for (const high of points) {
    if (atHour <= high.atHour) {
      const part = high.atHour === low.atHour ? 1 : (atHour - low.atHour) / (high.atHour - low.atHour);
      return low.machines + part * (high.machines - low.machines);
    }
    low = high;
  }
  return low.machines;
}

/** The shape of a density over the span, given in any unit; null where it is nowhere above 0. */
export function shapeOf(spanMs: number, densityAt: (atMs: number) => number): Shape | null {
  const cumulative = new Float64Array(cells);
  let sum = 0;
  for (let cell = 0; cell < cells; cell++) {
    sum += Math.max(0, densityAt(((cell + 0.5) / cells) * spanMs));
    cumulative[cell] = sum;
  }
  if (sum === 0) return null;
  return { spanMs, cumulative: cumulative.map((part) => part / sum) };
}

/** The shape of a scenario's own arrivals; null where no machine is wanted in its span. */
export function scenarioShape(scenario: Scenario): Shape | null {
  const { wanted } = scenario.fleet;
  const fleet = shapeOf(scenario.spanHours * hourMs, (atMs) => wantedAt(wanted, atMs / hourMs));
  if (fleet === null || scenario.jobs.shape === 'fleet') return fleet;
  return shapeOf(scenario.spanHours * hourMs, () => 1);
}

/** Time by which `share` (0 to 1) of all have arrived, ms, below the span. */
export function timeAt(shape: Shape, share: number): number {
  const cell = rankAt(shape.cumulative, Math.min(share, 1 - Number.EPSILON));
  const before = shape.cumulative[cell - 1] ?? 0;
  const within = (shape.cumulative[cell] ?? 1) - before;
  const part = within === 0 ? 0 : Math.min(1, Math.max(0, (share - before) / within));
  const atMs = ((cell + part) / shape.cumulative.length) * shape.spanMs;
  return Math.min(Math.floor(atMs), shape.spanMs - 1);
}

/** Share that has arrived by a time, ms: the inverse of `timeAt`. */
export function shareAt(shape: Shape, atMs: number): number {
  const at = Math.min(Math.max(atMs / shape.spanMs, 0), 1) * shape.cumulative.length;
  const cell = Math.min(Math.floor(at), shape.cumulative.length - 1);
  const before = shape.cumulative[cell - 1] ?? 0;
  return before + (at - cell) * ((shape.cumulative[cell] ?? 1) - before);
}

/** `count` independent arrivals of a shape, in order of time: a Poisson process of which the number is given. */
export function drawArrivals(rng: Rng, count: number, shape: Shape): Float64Array {
  const times = new Float64Array(count);
  for (let index = 0; index < count; index++) times[index] = timeAt(shape, rng.next());
  return times.sort();
}
