/** Smallest value that at least the share `p` (0 to 1) of an ascending list does not exceed; 0 of an empty one. */
export function percentile(sorted: readonly number[], p: number): number {
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * p) - 1))] ?? 0;
}
