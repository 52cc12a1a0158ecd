/**
 * Which pool a job prefers. A pool is a class of hardware and a preference, never a wall: machines of
 * other pools take its jobs at a penalty, because strict partitions starve on hardware one does not
 * choose.
 */

export interface PoolRange {
  pool: string;
  /** Jobs expected to run at most this long prefer the pool, ms. The last pool's limit is not looked at. */
  upToMs: number;
}

/** Pools from the shortest jobs to the longest. */
export const defaultPools: readonly PoolRange[] = [
  { pool: 'fast-lane', upToMs: 10_000 },
  { pool: 'standard', upToMs: 120_000 },
  { pool: 'heavy', upToMs: Number.POSITIVE_INFINITY },
];

/**
 * The pool asked for, else the one whose range holds `expectedMs`. Where machine classes are known
 * that can run the job (`capable`, their pools) and the natural pool has none of them, the nearest
 * one that has: the longer pool before the shorter, because it does not slow short jobs down.
 * A pool outside `ranges` is taken only when nothing else can run the job.
 */
export function choosePool(options: {
  requested: string | null;
  expectedMs: number;
  ranges: readonly PoolRange[];
  capable: ReadonlySet<string>;
}): string {
  const { requested, expectedMs, ranges, capable } = options;
  if (requested !== null) return requested;
  const last = ranges.at(-1);
  if (last === undefined) throw new RangeError('at least one pool must be configured');
  const found = ranges.findIndex((range) => expectedMs <= range.upToMs);
  const natural = found === -1 ? ranges.length - 1 : found;
  if (capable.size > 0) {
    for (let distance = 0; distance < ranges.length; distance++) {
      for (const index of [natural + distance, natural - distance]) {
        const range = ranges[index];
        if (range !== undefined && capable.has(range.pool)) return range.pool;
      }
    }
    const [other] = [...capable].sort();
    if (other !== undefined) return other;
  }
  return ranges[natural]?.pool ?? last.pool;
}
