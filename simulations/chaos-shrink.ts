import { type PlayOptions, playScript } from './chaos.ts';
import { mayRun } from './chaos-fleet.ts';
import type { ChaosScript } from './chaos-script.ts';
import { shrink } from './shrink.ts';

/** What broke: a smaller run must break the same, though perhaps with another job. */
export interface Breach {
  checker: string;
  jobId: string | null;
}

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
/** Around the job that broke, ms: first guesses at the jobs that it takes. */
const windowsMs = [0, 5_000, 30_000];
const restsMs = [1_000, 10_000, 60_000];

/**
 * A smaller script that breaks the same invariant: fewer faults, then fewer limits, machines, jobs and sites, as
 * often as something goes. Each begins with bold guesses (none at all, the jobs around the one that broke)
 * and goes on by halves. Deterministic. `tries` counts the runs that it took.
 */
export async function shrinkScript(
  script: ChaosScript,
  breach: Breach,
  options: ShrinkOptions,
): Promise<{ script: ChaosScript; tries: number }> {
  const search = new Search(script, breach, options);
  for (let round = 0; round < rounds; round++) {
    const before = JSON.stringify(search.smallest);
    await search.faults();
    await search.waiting();
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
  readonly #breach: Breach;
  smallest: ChaosScript;
  tries = 0;

  constructor(script: ChaosScript, breach: Breach, options: ShrinkOptions) {
    this.smallest = script;
    this.#breach = breach;
    this.#options = options;
  }

  /** A fault that goes shifts nothing before its time: the same seed will do. */
  async faults(): Promise<void> {
    if (this.smallest.faults.length === 0) return;
    if (await this.#fails({ ...this.smallest, faults: [] }, otherSeeds)) return await this.span();
    await this.#reduce(this.smallest.faults, (faults) => ({ ...this.smallest, faults: [...faults] }), [0]);
    await this.span();
  }

  /** What an operator does to limits on what may wait goes step by step. */
  async waiting(): Promise<void> {
    const { waiting = [] } = this.smallest;
    if (waiting.length === 0 || (await this.#fails({ ...this.smallest, waiting: [] }, otherSeeds))) return;
    await this.#reduce(waiting, (steps) => ({ ...this.smallest, waiting: [...steps] }), [0]);
  }

  /** At least one stays; jobs that only a removed one could run go with it. */
  async machines(): Promise<void> {
    for (const count of [1, 2, 4]) {
      const { machines } = this.smallest;
      const few = withMachines(this.smallest, machines.slice(0, count));
      if (machines.length > count && few !== null && (await this.#fails(few, otherSeeds))) break;
    }
    if (this.smallest.machines.length === 1) return;
    const build = (machines: readonly number[]) => withMachines(this.smallest, machines);
    await this.#reduce(this.smallest.machines, build, otherSeeds);
  }

  async jobs(): Promise<void> {
    const { jobs } = this.smallest;
    const broken = jobs.find(({ submission }) => submission.id === this.#breach.jobId);
    for (const windowMs of broken === undefined ? [] : windowsMs) {
      const near = jobs.filter(
        ({ atMs, after, submission }) =>
          submission.id === broken?.submission.id ||
          (after === null && Math.abs(atMs - (broken?.atMs ?? 0)) < windowMs),
      );
      if (near.length < jobs.length && (await this.#fails({ ...this.smallest, jobs: near }, otherSeeds)))
        break;
    }
    const build = (left: readonly ChaosScript['jobs'][number][]) =>
      left.length === 0 ? null : { ...this.smallest, jobs: [...left] };
    await this.#reduce(this.smallest.jobs, build, otherSeeds);
    await this.span();
  }

  async sites(): Promise<void> {
    const { buggify } = this.smallest;
    if (buggify.length === 0 || (await this.#fails({ ...this.smallest, buggify: [] }, otherSeeds))) return;
    await this.#reduce(buggify, (sites) => ({ ...this.smallest, buggify: [...sites] }), [0]);
  }

  /** Heals as soon as the last fault and job have come. */
  async span(): Promise<void> {
    const { faults, jobs, waiting = [], chaosMs } = this.smallest;
    const lastMs = Math.max(0, ...[...faults, ...jobs, ...waiting].map(({ atMs }) => atMs));
    for (const restMs of restsMs) {
      const shorter = { ...this.smallest, chaosMs: lastMs + restMs };
      if (shorter.chaosMs < chaosMs && (await this.#fails(shorter, [0]))) return;
    }
  }

  async #reduce<T>(
    items: readonly T[],
    build: (items: readonly T[]) => ChaosScript | null,
    seeds: readonly number[],
  ): Promise<void> {
    const left = this.#options.triesLimit - this.tries;
    if (items.length === 0 || left <= 0) return;
    await shrink(
      items,
      async (candidate) => {
        const script = build(candidate);
        return script !== null && (await this.#fails(script, seeds));
      },
      left,
    );
  }

  /** Keeps a candidate that breaks the same way, under its own seed or one of the others. */
  async #fails(candidate: ChaosScript, seeds: readonly number[]): Promise<boolean> {
    const { seed } = this.smallest;
    for (const offset of seeds) {
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
    return (await playScript(script, play)).problem?.checker === this.#breach.checker;
  }
}

function withMachines(script: ChaosScript, machines: readonly number[]): ChaosScript | null {
  const { fleet = 'alike', reserved } = script;
  const jobs = script.jobs.filter(({ submission }) =>
    machines.some((index) => mayRun({ index, fleet, reserved }, submission)),
  );
  return machines.length === 0 || jobs.length === 0 ? null : { ...script, machines: [...machines], jobs };
}
