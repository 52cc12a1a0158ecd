/** A job that waits, and how it stands: GPU-ms, smaller goes first (protocol/score.ts). */
export interface Urgent {
  jobId: string;
  rank: number;
}

/** A run that may be given back. */
export interface Preemptible {
  jobId: string;
  rank: number;
  /** Share of the work done: what would be done again. */
  progress: number;
}

export interface Preemption {
  jobId: string;
  /** The job for which its slot is asked back. */
  forJobId: string;
}

/**
 * Which runs are given back for whom. Each waiting job, the most urgent first, gets the run that stands last
 * of those on machines which may run it (`mayTake`), if it stands before it by at least the margin: after
 * that a claim of the machine takes the waiting one. Of runs that stand alike the one with the least
 * progress. A run is given back for one job only.
 */
export function choosePreemptions(options: {
  urgent: readonly Urgent[];
  running: readonly Preemptible[];
  marginMs: number;
  mayTake: (jobId: string, run: Preemptible) => boolean;
}): Preemption[] {
  const { marginMs, mayTake } = options;
  const left = [...options.running].sort((a, b) => b.rank - a.rank || a.progress - b.progress);
  const chosen: Preemption[] = [];
  for (const { jobId, rank } of [...options.urgent].sort((a, b) => a.rank - b.rank)) {
    const at = left.findIndex((run) => run.rank - rank >= marginMs && mayTake(jobId, run));
    const [run] = at === -1 ? [] : left.splice(at, 1);
    if (run !== undefined) chosen.push({ jobId: run.jobId, forJobId: jobId });
  }
  return chosen;
}
