import type { Rng } from '#protocol/env.ts';

/**
 * Places at simulated ports that misbehave within what the port may do, as FoundationDB's: each is armed
 * for a whole run with a chance of a quarter, and an armed one fires a quarter of the times it is passed.
 * Unlike faults they have no moment; like faults they are named data, and a failing run is tried without.
 */
export const buggifySites = [
  /** A bucket that answers an upload byte by byte. */
  'upload.slow',
  /** The upload is stored, and the connection breaks before the answer. */
  'upload.answer lost',
  /** Bytes come in small and odd pieces. */
  'download.short read',
  /** A server that knows no ranges sends all from the beginning. */
  'download.no range',
  /** The bucket says "slow down". */
  'http.unavailable',
  /** A signed URL that has expired on the way. */
  'http.expired',
  /** A look at the bucket by a hub takes long. */
  'objects.slow',
  /** Timers fire up to 1 ms early: the system's do. */
  'timer.early',
  /** Timers fire late: the event loop had other things to do. */
  'timer.late',
  /** A frame waits in buffers for up to two seconds. */
  'frame.slow',
  /** The hub gets a request, or the machine a notice, twice. */
  'frame.twice',
  /** A store call waits for a lock. */
  'store.slow',
  /** A write waits for the device. */
  'disk.slow',
  /** The service takes long to start. */
  'service.slow start',
  /** A probe comes back with an error though the service works. */
  'service.probe fails',
  /** The driver does not answer one reading. */
  'gpu.no reading',
] as const;
export type BuggifySite = (typeof buggifySites)[number];

const armedShare = 0.25;
const firedShare = 0.25;

/** Sites that a seed arms, in the order of the list. */
export function drawSites(rng: Rng): BuggifySite[] {
  return buggifySites.filter((site) => rng.fork(`site ${site}`).next() < armedShare);
}

/** Asks at each site. Off until armed, and again when the world heals. */
export class Buggify {
  readonly #armed: ReadonlySet<BuggifySite>;
  readonly #rngs = new Map<BuggifySite, Rng>();
  readonly #fired = new Map<BuggifySite, number>();
  #off = false;

  constructor(rng: Rng, armed: readonly BuggifySite[]) {
    this.#armed = new Set(armed);
    for (const site of armed) this.#rngs.set(site, rng.fork(`fires ${site}`));
  }

  /** Whether the site misbehaves this time. Draws only where it is armed. */
  fires(site: BuggifySite): boolean {
    const rng = this.#rngs.get(site);
    if (this.#off || rng === undefined || rng.next() >= firedShare) return false;
    this.#fired.set(site, (this.#fired.get(site) ?? 0) + 1);
    return true;
  }

  /** How much, drawn from the site's own stream. */
  amount(site: BuggifySite, min: number, max: number): number {
    const rng = this.#rngs.get(site);
    return rng === undefined ? min : min + rng.next() * (max - min);
  }

  armed(site: BuggifySite): boolean {
    return this.#armed.has(site);
  }

  /** Every port behaves from now on. */
  heal(): void {
    this.#off = true;
  }

  /** How often each armed site fired. */
  counts(): Partial<Record<BuggifySite, number>> {
    return Object.fromEntries(this.#fired);
  }
}
