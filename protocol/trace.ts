import type { Rng } from './env.ts';

/** Uniform hex digits, at most 12 a draw: a system source is asked a few times per id, not once a digit. */
function hex(rng: Rng, digits: number): string {
  if (digits > 12) return hex(rng, 12) + hex(rng, digits - 12);
  const drawn = rng.int(0, 16 ** digits - 1);
  // In halves: the text of a number above 31 bits takes ten times as long.
  const low = (drawn % half).toString(16);
  const high = Math.floor(drawn / half);
  return (high === 0 ? low : high.toString(16) + low.padStart(6, '0')).padStart(digits, '0');
}

const half = 2 ** 24;

/** A new W3C traceparent, sampled; from the seeded source so that simulations repeat. */
export function newTraceparent(rng: Rng): string {
  return `00-${hex(rng, 31)}1-${hex(rng, 15)}1-01`;
}

/** The trace id (32 hex digits) of a traceparent of valid form. */
export function traceId(traceparent: string): string {
  return traceparent.slice(3, 35);
}
