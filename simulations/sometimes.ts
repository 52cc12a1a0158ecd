/**
 * Things that a set of runs must have seen at least once. A chaos run in which no lease ever expired
 * has shown nothing about expiry, however green it is.
 */
export class Sometimes {
  readonly #counts = new Map<string, number>();

  /** Names everything that must be reached, so that what never happened is known as well. */
  constructor(names: readonly string[]) {
    for (const name of names) this.#counts.set(name, 0);
  }

  /** It happened. Only names given at the start are known: a misspelt one would never be missed. */
  seen(name: string, times = 1): void {
    const count = this.#counts.get(name);
    if (count === undefined) throw new RangeError(`sometimes: ${name} was not declared`);
    this.#counts.set(name, count + times);
  }

  counts(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  /** What never happened. */
  missing(): string[] {
    return [...this.#counts].filter(([, count]) => count === 0).map(([name]) => name);
  }

  /** Adds the counts of another run that declared the same names. */
  add(other: Sometimes): void {
    for (const [name, count] of other.#counts) this.seen(name, count);
  }
}
