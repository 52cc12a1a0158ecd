import { type PlayOptions, playScript } from './chaos.ts';
import type { ChaosScript } from './chaos-script.ts';
import { shrink } from './shrink.ts';

export interface ShrinkOptions {
  /** Runs that may be played at most. */
  triesLimit: number;
  /** How a candidate is judged; by playing it unless told otherwise. True: it breaks the same way. */
  breaks?: (script: ChaosScript) => Promise<boolean>;
  play?: Pick<PlayOptions, 'stores'>;
}

/** Other seeds that a smaller run is tried with: with a machine less, every delay is another one. */
const otherSeeds = [0, 1_000_003, 2_000_003];
const rounds = 2;

/**
 * A smaller script that breaks the same invariant: fewer faults, then fewer machines, jobs and sites, as
 * often as something goes. Deterministic. `tries` counts the runs that it took.
 */
export async function shrinkScript(
  script: ChaosScript,
  checker: string,
  options: ShrinkOptions,
): Promise<{ script: ChaosScript; tries: number }> {
  const search = new Search(script, checker, options);
  for (let round = 0; round < rounds; round++) {
    const before = JSON.stringify(search.smallest);
    await search.faults();
    await search.machines();
    await search.jobs();
    await search.sites();
    await search.span();
    if (JSON.stringify(search.smallest) === before) break;
  }
  return { script: search.smallest, tries: search.tries };
}

class Search {
  readonly #options: ShrinkOptions;
  readonly #checker: string;
  smallest: ChaosScript;
  tries = 0;

  constructor(script: ChaosScript, checker: string, options: ShrinkOptions) {
    this.smallest = script;
    this.#checker = checker;
    this.#options = options;
  }

  async faults(): Promise<void> {
    await this.#reduce(this.smallest.faults, (faults) => ({ ...this.smallest, faults: [...faults] }));
  }

  /** At least one stays; jobs that only a removed one could run go with it. */
  async machines(): Promise<void> {
    await this.#reduce(this.smallest.machines, (machines) => {
      if (machines.length === 0) return null;
      const here = new Set(machines.map((index) => `machine-${index + 1}`));
      const jobs = this.smallest.jobs.filter(({ submission }) => {
        const pin = submission.requirements?.machineId;
        return pin === undefined || here.has(pin);
      });
      return jobs.length === 0 ? null : { ...this.smallest, machines: [...machines], jobs };
    });
  }

  async jobs(): Promise<void> {
    await this.#reduce(this.smallest.jobs, (jobs) =>
      jobs.length === 0 ? null : { ...this.smallest, jobs: [...jobs] },
    );
  }

  async sites(): Promise<void> {
    const { buggify = [] } = this.smallest;
    await this.#reduce(buggify, (sites) => ({ ...this.smallest, buggify: [...sites] }));
  }

  /** Heals as soon as the last fault and job have come. */
  async span(): Promise<void> {
    const { faults, jobs, chaosMs } = this.smallest;
    const lastMs = Math.max(0, ...faults.map(({ atMs }) => atMs), ...jobs.map(({ atMs }) => atMs));
    for (const restMs of [1_000, 30_000, 90_000])
      if (lastMs + restMs < chaosMs && (await this.#fails({ ...this.smallest, chaosMs: lastMs + restMs })))
        return;
  }

  async #reduce<T>(items: readonly T[], build: (items: readonly T[]) => ChaosScript | null): Promise<void> {
    const left = this.#options.triesLimit - this.tries;
    if (items.length === 0 || left <= 0) return;
    await shrink(
      items,
      async (candidate) => {
        const script = build(candidate);
        return script !== null && (await this.#fails(script));
      },
      left,
    );
  }

  /** Keeps a candidate that breaks the same way, under its own seed or another. */
  async #fails(candidate: ChaosScript): Promise<boolean> {
    const { seed } = this.smallest;
    for (const offset of otherSeeds) {
      if (this.tries >= this.#options.triesLimit) return false;
      this.tries++;
      const script = { ...candidate, seed: seed + offset };
      if (!(await this.#breaks(script))) continue;
      this.smallest = script;
      return true;
    }
    return false;
  }

  async #breaks(script: ChaosScript): Promise<boolean> {
    const { breaks, play } = this.#options;
    if (breaks) return await breaks(script);
    return (await playScript(script, play)).problem?.checker === this.#checker;
  }
}
