/**
 * How often each of many things is asked for, by rank. Cumulative: entry i is the share of all requests
 * that goes to ranks 1 to i + 1; the last one is 1.
 */
export type Popularity = Float64Array;

/** `share` of all requests goes to the first `rank` things. */
export interface PopularityAnchor {
  rank: number;
  share: number;
}

/**
 * Popularity of `count` things (1 or more) through the published anchors: between two of them the share
 * grows with the logarithm of the rank, which is Zipf's law with another slope for each stretch. One
 * exponent for all ranks cannot meet 31 / 70 / 87 / 94 % at ranks 1 / 5 / 10 / 20. The first anchor is that of
 * rank 1, the last one says how many things there were and has share 1. More things than that share its part of
 * the tail; of fewer the first ranks keep their proportions.
 */
export function popularity(count: number, anchors: readonly PopularityAnchor[]): Popularity {
  const last = anchors.at(-1) ?? { rank: 1, share: 1 };
  const curve = [...anchors.slice(0, -1), { rank: Math.max(count, last.rank), share: last.share }];
  return normalised(Float64Array.from({ length: count }, (_, index) => shareUpTo(curve, index + 1)));
}

/** Share of the first `rank` things, straight over the logarithm of the rank between two points of the curve. */
function shareUpTo(curve: readonly PopularityAnchor[], rank: number): number {
  let low = { rank: 1, share: 0 };
  for (const high of curve) {
    if (rank === high.rank) return high.share;
    if (rank < high.rank) {
      const part = Math.log(rank / low.rank) / Math.log(high.rank / low.rank);
      return low.share + part * (high.share - low.share);
    }
    low = high;
  }
  return 1;
}

/** Zipf's law: rank r is asked for in proportion to `1 / r ^ exponent`. */
export function zipf(count: number, exponent: number): Popularity {
  const cumulative = new Float64Array(count);
  let sum = 0;
  for (let rank = 1; rank <= count; rank++) {
    sum += rank ** -exponent;
    cumulative[rank - 1] = sum;
  }
  return normalised(cumulative);
}

/** Popularity in proportion to weights of any sum above 0. */
export function weighted(weights: readonly number[]): Popularity {
  let sum = 0;
  return normalised(Float64Array.from(weights, (weight) => (sum += weight)));
}

function normalised(cumulative: Float64Array): Popularity {
  const total = cumulative.at(-1) ?? 1;
  return cumulative.map((share) => share / total);
}

/** Index of the thing at `share` (0 to 1, 1 excluded) of all requests. */
export function rankAt(cumulative: Popularity, share: number): number {
  let low = 0;
  let high = cumulative.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((cumulative[middle] ?? 1) > share) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Share of requests that goes to one index. */
export function shareOf(cumulative: Popularity, index: number): number {
  return (cumulative[index] ?? 0) - (cumulative[index - 1] ?? 0);
}

/** Chance that two independent requests ask for the same thing. */
export function coincidence(cumulative: Popularity): number {
  let chance = 0;
  for (let index = 0; index < cumulative.length; index++) chance += shareOf(cumulative, index) ** 2;
  return chance;
}
