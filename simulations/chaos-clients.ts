import type { Rng } from '#protocol/env.ts';
import type { PlannedJob } from './chaos-jobs.ts';
import { endedBy } from './ended-by.ts';
import type { Observation } from './observation.ts';
import type { World } from './world.ts';

/** A client whose answer was lost on the way asks again within so long, ms. */
const repeatLimitMs = 20_000;
const repeatShare = 0.2;

/**
 * The clients of a run: they submit at a time, or when another job has ended or can never be accepted, and
 * change their minds. With `repeats` some submit again what was accepted.
 */
export class ChaosClients {
  readonly #world: World;
  /** By the job whose end they wait for. */
  readonly #links = new Map<string, PlannedJob[]>();
  readonly #repeats: Rng | null;
  readonly #asked = new Map<string, PlannedJob>();
  /** Jobs that no hub accepts, as their clients were told. */
  readonly givenUp = new Set<string>();

  constructor(world: World, options: { repeats: Rng | null } = { repeats: null }) {
    this.#world = world;
    this.#repeats = options.repeats;
  }

  start(jobs: readonly PlannedJob[]): void {
    const ids = new Set(jobs.map(({ submission }) => submission.id));
    for (const job of jobs) {
      if (job.after === null || !ids.has(job.after)) this.#later(job);
      else this.#links.set(job.after, [...(this.#links.get(job.after) ?? []), job]);
    }
  }

  observe(seen: Observation): void {
    if (seen.kind === 'gaveUp') this.givenUp.add(seen.jobId);
    if (seen.kind === 'accepted') this.#accepted(seen.jobId);
    for (const jobId of seen.kind === 'gaveUp' ? [seen.jobId] : endedBy(seen)) {
      const links = this.#links.get(jobId);
      if (links === undefined) continue;
      this.#links.delete(jobId);
      this.#world.observe({ kind: 'noted', what: 'a chain went on' });
      for (const job of links) this.#later(job);
    }
  }

  #accepted(jobId: string): void {
    const job = this.#asked.get(jobId);
    if (this.#repeats === null || job === undefined) return;
    this.#asked.delete(jobId);
    const own = this.#repeats.fork(jobId);
    if (own.next() >= repeatShare) return;
    this.#world.clock.setTimeout(() => this.#world.submit(job.submission), own.int(0, repeatLimitMs));
  }

  #later(job: PlannedJob): void {
    const { atMs, cancelAfterMs, submission } = job;
    const { clock } = this.#world;
    this.#asked.set(submission.id, job);
    clock.setTimeout(() => this.#world.submit(submission), atMs);
    if (cancelAfterMs !== null)
      clock.setTimeout(() => this.#world.cancel(submission.id), atMs + cancelAfterMs);
  }
}
