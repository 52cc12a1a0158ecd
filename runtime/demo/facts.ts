import type { Job } from '#protocol/job.ts';
import { percentile } from '#runtime/percentile.ts';
import type { FinishedJob } from './run-jobs.ts';

/** What the demo measured; every time is by the hub's clock, ms. */
export interface DemoFacts {
  jobs: number;
  /** From accepted to claimed. */
  wait: { p50Ms: number; maxMs: number };
  machines: { machineId: string; jobs: number; busyMs: number }[];
  /** For each network, its first run on a machine: what a machine pays that does not have it yet. */
  firstRuns: { modelId: string; machineId: string; prepareMs: number; loadMs: number; computeMs: number }[];
  /** Counted tries beyond the first. */
  retries: number;
}

const waitOf = (job: Job) => (job.startedAtMs ?? job.submittedAtMs) - job.submittedAtMs;
const runOf = (job: Job) => (job.finishedAtMs ?? 0) - (job.startedAtMs ?? 0);

function numberIn(data: unknown, key: string): number {
  const value =
    typeof data === 'object' && data !== null ? (data as Record<string, unknown>)[key] : undefined;
  return typeof value === 'number' ? value : 0;
}

/** Facts of the finished jobs. */
export function demoFacts(finished: readonly FinishedJob[]): DemoFacts {
  const jobs = finished.map(({ job }) => job);
  const waits = jobs.map(waitOf).sort((a, b) => a - b);
  const machines = new Map<string, { jobs: number; busyMs: number }>();
  for (const job of jobs) {
    const entry = machines.get(job.machineId ?? '?') ?? { jobs: 0, busyMs: 0 };
    machines.set(job.machineId ?? '?', { jobs: entry.jobs + 1, busyMs: entry.busyMs + runOf(job) });
  }
  const firstRuns = new Map<string, DemoFacts['firstRuns'][number]>();
  for (const job of [...jobs].sort((a, b) => (a.startedAtMs ?? 0) - (b.startedAtMs ?? 0))) {
    for (const modelId of job.models) {
      const key = `${modelId}@${job.machineId}`;
      if (firstRuns.has(key)) continue;
      const loadMs = numberIn(job.result?.data, 'loadMs');
      const computeMs = numberIn(job.result?.data, 'millis');
      firstRuns.set(key, {
        modelId,
        machineId: job.machineId ?? '?',
        loadMs,
        computeMs,
        prepareMs: Math.max(0, runOf(job) - loadMs - computeMs),
      });
    }
  }
  return {
    jobs: jobs.length,
    wait: { p50Ms: percentile(waits, 0.5), maxMs: waits.at(-1) ?? 0 },
    machines: [...machines]
      .map(([machineId, entry]) => ({ machineId, ...entry }))
      .sort((a, b) => a.machineId.localeCompare(b.machineId)),
    firstRuns: [...firstRuns.values()],
    retries: jobs.reduce((sum, job) => sum + Math.max(0, job.runs - 1), 0),
  };
}
