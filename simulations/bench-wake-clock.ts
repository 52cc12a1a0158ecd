import type { Clock } from '#protocol/env.ts';

const turns = 5;

/**
 * Wall time in fractions of a ms that the processes of one computer share: the system's clock counts whole
 * ms, so the moment at which it turns is looked for, which takes a few ms of computing, and the monotonic
 * clock counts on from there. Wrong by less than 0.1 ms unless this process loses its core at every turn.
 */
export function sharedClock(clock: Pick<Clock, 'now' | 'monotonic'>): () => number {
  let offset = Number.NEGATIVE_INFINITY;
  for (let turn = 0; turn < turns; turn++) {
    const before = clock.now();
    let now = before;
    while (now === before) now = clock.now();
    // Whoever sees the turn late gets less: the largest is the nearest.
    offset = Math.max(offset, now - clock.monotonic());
  }
  return () => offset + clock.monotonic();
}
