import type { Rng } from '#protocol/env.ts';

/** A published quantile: `share` of all values (0 to 1) lie at or below `value`. */
export type Anchor = readonly [share: number, value: number];

/**
 * Value at `share` of a distribution of which only some quantiles were published: straight on a
 * logarithmic scale between two of them, the ends held outside. Anchors rise in both numbers and are
 * positive; `share` is 0 to 1. Sources print three to five quantiles, and rates and delays spread over
 * orders of magnitude, hence the logarithm.
 */
export function atShare(anchors: readonly Anchor[], share: number): number {
  let [lowShare, lowValue] = anchors[0] ?? [0, 0];
  if (share <= lowShare) return lowValue;
  for (const [highShare, highValue] of anchors) {
    if (share <= highShare) {
      const part = (share - lowShare) / (highShare - lowShare);
      return lowValue * (highValue / lowValue) ** part;
    }
    lowShare = highShare;
    lowValue = highValue;
  }
  return lowValue;
}

/**
 * One draw in [from, to], leaning to the low end as run times do: `from × (to / from) ^ (u ^ lean)`.
 * `lean` 1 is uniform on the logarithmic scale; the larger, the more draws lie near `from`.
 */
export function leaning(rng: Rng, range: { from: number; to: number; lean: number }): number {
  return range.from * (range.to / range.from) ** (rng.next() ** range.lean);
}
