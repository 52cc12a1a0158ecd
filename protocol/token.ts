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
