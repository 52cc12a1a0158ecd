import { availableParallelism } from 'node:os';
import { systemClock } from '#runtime/env.ts';
import { WorkerPool } from '#simulations/worker-pool.ts';
import { planDay } from '#simulations/workloads/plan-day.ts';
import { readTrace } from '#simulations/workloads/read-trace.ts';
import type { Scenario } from '#simulations/workloads/scenario.ts';
import type { DayAnswer, DayStores, DayTask } from './day-worker.ts';
import { incidentsLimit, type ResultHead, type RunFigures, simResult } from './figures.ts';
import type { SimResult } from './result.ts';

export interface ReplayOptions {
  scenario: Scenario;
  seeds: readonly number[];
  load: number;
  /** Files of recorded traces that take the place of drawn jobs or losses. */
  traces: readonly string[];
  stores: DayStores;
  /** Names of the catalogue, in the order of the report. */
  policies: readonly string[];
  /** Threads; as many as there are cores unless told otherwise. */
  workers: number | null;
  signal: AbortSignal;
  /** For the head of the report. */
  command: string;
  versions: ResultHead['versions'];
  onRun: (run: { policy: string; seed: number; wallMs: number; events: number; jobs: number }) => void;
}

/** Something that must hold after every day did not. */
export interface Breach {
  policy: string;
  seed: number;
  what: string;
}

/**
 * Plays every policy on every seed, each in a thread of its own, and puts the figures together. The same
 * seed draws the same jobs, machines and losses for each policy. Rejects with `VALIDATION_FAILED`
 * where a scenario or trace cannot be read, and with what a run threw.
 */
export async function replay(options: ReplayOptions): Promise<{ result: SimResult; breaches: Breach[] }> {
  const { scenario, seeds, load, traces, policies, signal } = options;
  // Drawn here once as well: what cannot be drawn is refused before a thread is started.
  const [firstSeed = 0] = seeds;
  const read = await Promise.all(traces.map((path) => readTrace(path)));
  const plan = planDay({ scenario, seed: firstSeed, load, ...(read.length > 0 ? { traces: read } : {}) });
  const tasks = policies.flatMap((policy) => seeds.map((seed) => ({ policy, seed })));
  const threads = Math.min(options.workers ?? availableParallelism(), tasks.length);
  const startedMs = systemClock.monotonic();
  const pool = new WorkerPool<DayTask, DayAnswer>({
    script: new URL('./day-worker.ts', import.meta.url),
    threads,
    data: options.stores,
    signal,
  });
  let answers: { policy: string; seed: number; answer: DayAnswer }[];
  try {
    answers = await Promise.all(
      tasks.map(async ({ policy, seed }) => {
        const answer = await pool.ask({ scenario, seed, load, traces, policy });
        const { wallMs, jobs } = answer.figures;
        options.onRun({ policy, seed, wallMs, events: answer.events, jobs });
        return { policy, seed, answer };
      }),
    );
  } finally {
    await pool.close();
  }
  const runs: Record<string, RunFigures[]> = {};
  for (const { policy, answer } of answers) runs[policy] = [...(runs[policy] ?? []), answer.figures];
  const breaches = answers.flatMap(({ policy, seed, answer }) =>
    answer.invariants.violated.map((what) => ({ policy, seed, what })),
  );
  const head: ResultHead = {
    scenario: scenario.name,
    seeds: [...seeds],
    load,
    spanMs: plan.spanMs,
    wallMs: Math.round(systemClock.monotonic() - startedMs),
    command: options.command,
    versions: options.versions,
    invariants: {
      checked: answers.reduce((sum, { answer }) => sum + answer.invariants.checked, 0),
      violated: breaches.length,
    },
    incidents: plan.incidents.slice(0, incidentsLimit),
  };
  return { result: simResult(head, runs), breaches };
}
