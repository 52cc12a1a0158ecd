import type { Interval } from './result.ts';

/** Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom. */
const quantiles = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/** t for a 95 % interval; beyond the table an approximation that is never too small. */
function studentT(degrees: number): number {
  return quantiles[degrees - 1] ?? 1.96 + 2.6 / degrees;
}

/** Mean of the seeds' values and its 95 % half width; 0 with one seed, which says nothing about others. */
export function interval(values: readonly number[]): Interval {
  const n = values.length;
  if (n === 0) throw new RangeError('an interval needs at least one value');
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n === 1) return { mean, halfWidth: 0, values: [...values] };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  return { mean, halfWidth: studentT(n - 1) * Math.sqrt(variance / n), values: [...values] };
}
