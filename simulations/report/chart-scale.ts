/** From values to places along an axis. */
export interface Scale {
  /** Lowest value that has a place of its own; what is below sits at the start. */
  from: number;
  place: (value: number) => number;
  ticks: number[];
}

/** Of times people read other steps than of numbers, and there is no half of a machine. */
export type AxisUnit = 'number' | 'count' | 'time';

const steps = [1, 2, 5, 10];
const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
/** Steps of time that people count in, ms. */
const timeSteps = [
  1,
  2,
  5,
  10,
  20,
  50,
  100,
  200,
  500,
  ...[1, 2, 5, 10, 15, 30].map((n) => n * secondMs),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * minuteMs),
  ...[1, 2, 3, 4, 6, 12, 24, 48, 96, 168].map((n) => n * hourMs),
];

/** A round step that parts `range` into at most `count` pieces. */
export function roundStep(range: number, count: number, unit: AxisUnit): number {
  const least = range / count;
  if (unit === 'time') {
    const found = timeSteps.find((step) => step >= least);
    if (found !== undefined) return found;
  }
  const power = 10 ** Math.floor(Math.log10(least));
  const found = (steps.find((step) => step * power >= least * 0.999_999) ?? 10) * power;
  return unit === 'count' ? Math.max(1, found) : found;
}

/** From `from` to a round number not below `to`; places go from `start` to `end`. */
export function linearScale(
  domain: { from: number; to: number; unit: AxisUnit; ticks: number; exact?: boolean },
  range: { start: number; end: number },
): Scale {
  const { from } = domain;
  const to = domain.to > from ? domain.to : from + 1;
  const step = roundStep(to - from, domain.ticks, domain.unit);
  const last = domain.exact === true ? to : from + Math.ceil((to - from) / step - 1e-9) * step;
  const ticks: number[] = [];
  for (let value = Math.ceil(from / step - 1e-9) * step; value <= last + step * 1e-6; value += step) {
    ticks.push(Math.abs(value) < step * 1e-6 ? 0 : value);
  }
  const place = (value: number) =>
    range.start +
    ((Math.min(last, Math.max(from, value)) - from) / (last - from)) * (range.end - range.start);
  return { from, place, ticks };
}

/** Ticks of a logarithmic axis of times: round numbers about a decade apart. */
const logTicks = [
  1,
  10,
  100,
  secondMs,
  10 * secondMs,
  minuteMs,
  10 * minuteMs,
  hourMs,
  10 * hourMs,
  100 * hourMs,
];

/** Times on a logarithmic axis, because waits span milliseconds to hours; what is below `from` sits at its start. */
export function logTimeScale(
  domain: { from: number; to: number },
  range: { start: number; end: number },
): Scale {
  const from = logTicks.findLast((tick) => tick <= domain.from) ?? 1;
  const to = logTicks.find((tick) => tick >= domain.to && tick > from) ?? Math.max(domain.to, from * 10);
  const [low, high] = [Math.log(from), Math.log(to)];
  const place = (value: number) =>
    range.start +
    ((Math.log(Math.min(to, Math.max(from, value))) - low) / (high - low)) * (range.end - range.start);
  return { from, place, ticks: logTicks.filter((tick) => tick >= from && tick <= to) };
}
