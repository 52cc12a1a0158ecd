/**
 * How long machines take from the order to the first claim, as it was seen lately. Providers publish a
 * curve at best, and it moves with the hour and the size of the image.
 */
export interface StartCurve {
  /** Start-ups seen lately, ms, in any order. */
  observedMs: readonly number[];
  /** What is assumed until enough were seen, ms: some values spread as the provider's curve is. */
  priorMs: readonly number[];
}

/** From as many start-ups on, what was seen speaks for itself. */
const enoughSeen = 10;

/** Start-ups to judge by, ascending: those seen, and the assumed ones while there are few of them. */
export function startSamples({ observedMs, priorMs }: StartCurve): number[] {
  const samples = observedMs.length >= enoughSeen ? [...observedMs] : [...observedMs, ...priorMs];
  return samples.sort((a, b) => a - b);
}

/** The sample below or at which `share` (0 to 1) of all lie; 0 without samples. */
export function startQuantile(ascending: readonly number[], share: number): number {
  const at = Math.ceil(share * ascending.length) - 1;
  return ascending[Math.min(ascending.length - 1, Math.max(0, at))] ?? 0;
}

/**
 * What an order of this age still takes, ms: the median of the start-ups that took longer, less its age.
 * `Infinity` where none took as long: nobody can say that it will ever start.
 */
export function startLeftMs(ascending: readonly number[], ageMs: number): number {
  const longer = ascending.filter((sample) => sample > ageMs);
  return longer.length === 0 ? Number.POSITIVE_INFINITY : startQuantile(longer, 0.5) - ageMs;
}

/** Never given up before, and never waited for beyond, ms: nearly all of a published test had started after 80 min. */
const giveUpRangeMs = { least: 10 * 60_000, most: 80 * 60_000 };

/** Age from which an order is not believed any more, ms: twice what nine of ten take. */
export function giveUpAfterMs(ascending: readonly number[]): number {
  const { least, most } = giveUpRangeMs;
  return Math.min(most, Math.max(least, 2 * startQuantile(ascending, 0.9)));
}
