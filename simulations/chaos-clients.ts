import type { PlannedJob } from './chaos-jobs.ts';
import { endedBy } from './ended-by.ts';
import type { Observation } from './observation.ts';
import type { World } from './world.ts';

/** The clients of a run: they submit at a time, or when another job has ended, and change their minds. */
export class ChaosClients {
  readonly #world: World;
  /** By the job whose end they wait for. */
  readonly #links = new Map<string, PlannedJob[]>();

  constructor(world: World) {
    this.#world = world;
  }

  start(jobs: readonly PlannedJob[]): void {
    const ids = new Set(jobs.map(({ submission }) => submission.id));
    for (const job of jobs) {
      if (job.after === null || !ids.has(job.after)) this.#later(job);
      else this.#links.set(job.after, [...(this.#links.get(job.after) ?? []), job]);
    }
  }

  observe(seen: Observation): void {
    for (const jobId of endedBy(seen)) {
      const links = this.#links.get(jobId);
      if (links === undefined) continue;
      this.#links.delete(jobId);
      this.#world.observe({ kind: 'noted', what: 'a chain went on' });
      for (const job of links) this.#later(job);
    }
  }

  #later({ atMs, cancelAfterMs, submission }: PlannedJob): void {
    const { clock } = this.#world;
    clock.setTimeout(() => this.#world.submit(submission), atMs);
    if (cancelAfterMs !== null)
      clock.setTimeout(() => this.#world.cancel(submission.id), atMs + cancelAfterMs);
  }
}
