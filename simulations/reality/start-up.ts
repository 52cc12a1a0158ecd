import { type Anchor, atShare } from './quantiles.ts';

const minute = 60_000;

/** Image of the published start-up test, bytes (compressed). */
export const testedImageBytes = 5.53e9;

/**
 * From the order to the running container. Source: SALAD's 2025 test with 100 instances, a 5.53 GB image
 * and high priority (salad-cloud-docs, service-performance): the first online after 3 min, 50 % after 10,
 * 80 % after 20, 90 % after 40, all after about 80.
 */
const startAnchors: readonly Anchor[] = [
  [0.01, 3 * minute],
  [0.5, 10 * minute],
  [0.8, 20 * minute],
  [0.9, 40 * minute],
  [1, 80 * minute],
];

/** Allocation, unpacking and boot are never quicker than this, ms: an assumption, for very small images. */
const leastStartMs = 30_000;

/**
 * Time from order to start, ms. `share` (0 to 1) says how slow this one is among all. The part of the
 * image beyond the tested one is pulled over the machine's own link; a smaller image saves as much.
 */
export function startDelayMs(options: { share: number; imageBytes: number; downBytesPerMs: number }): number {
  const pullMs = (options.imageBytes - testedImageBytes) / options.downBytesPerMs;
  return Math.max(leastStartMs, atShare(startAnchors, options.share) + pullMs);
}

/** An order that has not started by then never will: in the test all of them had. */
export const orderDeadlineMs = 80 * minute;
