import { z } from 'zod';

/**
 * Fencing token: microseconds since 1970 at the claim, as a decimal string of at most 16 digits, so
 * that a double holds it exactly in TypeScript and in Lua until the year 2255. It only rises per job.
 */
export const FencingToken = z
  .string()
  .regex(/^(0|[1-9]\d{0,15})$/, 'a fencing token is a decimal number of at most 16 digits');
export type FencingToken = string;

/** No claim yet. Also the fence floor of a new job. */
export const zeroToken: FencingToken = '0';

/** Negative if `a` is older than `b`, 0 if equal, positive if newer. */
export function compareTokens(a: FencingToken, b: FencingToken): number {
  return Number(a) - Number(b);
}

export function maxToken(a: FencingToken, b: FencingToken): FencingToken {
  return compareTokens(a, b) >= 0 ? a : b;
}

/** The fence floor that shuts out `token` and all before it. */
export function tokenAfter(token: FencingToken): FencingToken {
  return String(Number(token) + 1);
}

/** Token of a new claim: `max(now µs, previous + 1, fenceFloor)`. `nowMs` is the Broker's clock. */
export function claimToken(options: {
  nowMs: number;
  previous: FencingToken;
  fenceFloor: FencingToken;
}): FencingToken {
  const nowUs = Math.floor(options.nowMs * 1000);
  return String(Math.max(nowUs, Number(options.previous) + 1, Number(options.fenceFloor)));
}

/**
 * Floor of a job that begins anew: above what Records know of it and, because tokens are times, above
 * every claim until now that they never heard of. Else a tombstone of such a claim, or the machine
 * that holds it, would have a say in the new life.
 */
export function requeueFloor(options: { nowMs: number; newest: FencingToken }): FencingToken {
  return maxToken(tokenAfter(options.newest), String(Math.floor(options.nowMs * 1000) + 1));
}
