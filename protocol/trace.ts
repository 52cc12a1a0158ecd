import type { Rng } from './env.ts';

const hex = (rng: Rng, digits: number) =>
  Array.from({ length: digits }, () => rng.int(0, 15).toString(16)).join('');

/** A new W3C traceparent, sampled; from the seeded source so that simulations repeat. */
export function newTraceparent(rng: Rng): string {
  return `00-${hex(rng, 31)}1-${hex(rng, 15)}1-01`;
}

/** The trace id (32 hex digits) of a traceparent of valid form. */
export function traceId(traceparent: string): string {
  return traceparent.slice(3, 35);
}
