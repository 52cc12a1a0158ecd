import { createHash } from 'node:crypto';
import type { Rng } from '#protocol/env.ts';

/**
 * sfc32 (Chris Doty-Humphrey's small fast counting generator): 128 bits of state, passes PractRand,
 * a few additions per draw. Its state comes from SHA-256, so that near seeds give unrelated streams.
 */
function sfc32(seed: string): () => number {
  const digest = createHash('sha256').update(seed).digest();
  let a = digest.readInt32LE(0);
  let b = digest.readInt32LE(4);
  let c = digest.readInt32LE(8);
  let counter = 1;
  return () => {
    const out = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + out) | 0;
    return out >>> 0;
  };
}

/**
 * Repeatable randomness: equal seeds give equal streams on every platform. A fork depends on the
 * seed, its name and how often that name was forked before, never on what was drawn: taking a fault
 * out of a script, or a draw out of one part, shifts nothing elsewhere.
 */
export function seededRng(seed: number | string): Rng {
  const path = String(seed);
  const draw = sfc32(path);
  const forks = new Map<string, number>();
  const next = () => ((draw() >>> 5) * 67_108_864 + (draw() >>> 6)) / 9_007_199_254_740_992;
  return {
    next,
    int(min, max) {
      if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max) || min > max) {
        throw new RangeError(`int needs safe integers with min <= max, got ${min} and ${max}`);
      }
      return min + Math.floor(next() * (max - min + 1));
    },
    fork(name) {
      const nth = forks.get(name) ?? 0;
      forks.set(name, nth + 1);
      return seededRng(`${path}/${name.replaceAll('/', '//')}#${nth}`);
    },
  };
}

/** One of `items`, uniformly; the list must not be empty. */
export function pick<T>(rng: Rng, items: readonly T[]): T {
  if (items.length === 0) throw new RangeError('nothing to pick from');
  return items[rng.int(0, items.length - 1)] as T;
}
