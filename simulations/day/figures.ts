import { createHash } from 'node:crypto';
import { preparingForModels, waitBesideIdleSlots } from './figures-idle.ts';
import { interval } from './figures-intervals.ts';
import { daySeries } from './figures-series.ts';
import { slotFreeMs } from './figures-slots.ts';
import { closeOf, fairness, jobWaits, waitFigures } from './figures-waits.ts';
import { certificate } from './lower-bound.ts';
import type { PlannedIncident } from './plan.ts';
import {
  type DaySeries,
  figureNames,
  type PolicyFigures,
  type PolicyReport,
  resultLimits,
  type SimResult,
  type WaitFigures,
} from './result.ts';
import type { DayLog } from './run-log.ts';
import { avoidableWaitRemoved, goodDecisions } from './yardsticks.ts';

/** Run of at most this length, ms at speed 1: somebody sits and waits for it. */
const shortRunMs = 3_000;
const soonMs = 10_000;

/** One wait with what it is counted under; no more, because threads hand these to each other. */
export interface WaitSample {
  waitMs: number;
  runMs: number;
  pool: string;
  kind: string;
}

/** What one day under one policy came to: sums that can be added up over seeds, and the waits behind them. */
export interface RunFigures {
  wallMs: number;
  traceHash: string;
  jobs: number;
  finished: number;
  dead: number;
  repeatedRuns: number;
  waits: WaitSample[];
  fairness: number;
  /** Sums over the jobs, ms. */
  downloadWaitMs: number;
  downloadBytes: number;
  busyMs: number;
  slotMs: number;
  machineMs: number;
  costUsd: number;
  decisions: { good: number; judged: number };
  flow: { boundMs: number; flowMs: number };
  series: DaySeries;
  /** What happened to a fleet that this policy chose; null where the plan has it. */
  incidents: PlannedIncident[] | null;
}

const hourMs = 3_600_000;

/**
 * Until when each machine is paid for: to its end. One that stays is paid to the end of the day, and beyond
 * it to the end of its last run: stragglers cost what runs them, not a fleet that looks on.
 */
function paidUntil(log: DayLog): number[] {
  const closedMs = closeOf(log);
  const untilMs = log.machines.map(({ startMs }) => Math.max(startMs, log.plan.spanMs));
  for (const job of log.jobs) {
    for (const run of job.executions) {
      const { index } = run.machine;
      untilMs[index] = Math.max(untilMs[index] ?? 0, slotFreeMs(run, closedMs));
    }
  }
  return log.machines.map((machine, index) =>
    Math.min(machine.endMs ?? closedMs, untilMs[index] ?? closedMs),
  );
}

/** Figures of one closed log. */
export function runFigures(log: DayLog, run: { wallMs: number; traceHash: string }): RunFigures {
  const closedMs = closeOf(log);
  const waits = jobWaits(log);
  let machineMs = 0;
  let slotMs = 0;
  let costUsd = 0;
  let downloadBytes = 0;
  const paidMs = paidUntil(log);
  for (const machine of log.machines) {
    const livedMs = (paidMs[machine.index] ?? closedMs) - machine.startMs;
    machineMs += livedMs;
    slotMs += livedMs * machine.slots;
    costUsd += (livedMs / hourMs) * machine.planned.usdPerHour;
    downloadBytes += machine.downloadBytes;
  }
  let busyMs = 0;
  let repeatedRuns = 0;
  for (const job of log.jobs) {
    for (const execution of job.executions) {
      if (execution.startedMs !== null) {
        busyMs += Math.max(0, slotFreeMs(execution, closedMs) - execution.startedMs);
      }
      if (execution.endedMs !== null) repeatedRuns++;
    }
    // The last execution of a job that ended is the one that ended it.
    if (job.ended !== null && job.executions.at(-1)?.endedMs != null) repeatedRuns--;
  }
  const ended = (...states: string[]) =>
    log.jobs.filter((job) => job.ended !== null && states.includes(job.ended)).length;
  return {
    ...run,
    jobs: log.jobs.length,
    finished: ended('succeeded'),
    dead: ended('dead', 'failed'),
    repeatedRuns,
    waits: waits.map(({ waitMs, job: { planned } }) => ({
      waitMs,
      runMs: planned.runMs,
      pool: planned.pool,
      kind: planned.kind,
    })),
    fairness: fairness(waits),
    downloadWaitMs: preparingForModels(log) + waitBesideIdleSlots(log),
    downloadBytes,
    busyMs,
    slotMs,
    machineMs,
    costUsd,
    decisions: goodDecisions(log),
    flow: certificate(log),
    series: daySeries(log, waits),
    incidents: log.plan.auto === undefined ? null : log.incidents.slice(0, incidentsLimit).map(shortened),
  };
}

/** Most incidents of a run that are told. */
export const incidentsLimit = 10_000;

function shortened({ what, ...incident }: PlannedIncident): PlannedIncident {
  const { what: limit } = resultLimits;
  return { ...incident, what: what.length <= limit ? what : `${what.slice(0, limit - 1)}…` };
}

const share = (part: number, whole: number, ifNone: number) =>
  whole > 0 ? Math.min(1, Math.max(0, part / whole)) : ifNone;

/** Figures of several runs together; Y1 is left to `simResult`, which sees the other policies. */
function figuresOf(runs: readonly RunFigures[]): PolicyFigures {
  const total = (of: (run: RunFigures) => number) => runs.reduce((sum, run) => sum + of(run), 0);
  const waits = runs.flatMap((run) => run.waits);
  const all = waitFigures(waits.map(({ waitMs }) => waitMs));
  const short = waits.filter(({ runMs }) => runMs <= shortRunMs);
  const jobs = total((run) => run.jobs);
  const finished = total((run) => run.finished);
  const costUsd = total((run) => run.costUsd);
  return {
    wallMs: total((run) => run.wallMs),
    jobs,
    finished,
    dead: total((run) => run.dead),
    waitMeanMs: all.meanMs,
    waitP50Ms: all.p50Ms,
    waitP95Ms: all.p95Ms,
    waitP99Ms: all.p99Ms,
    shortWaitP95Ms: waitFigures(short.map(({ waitMs }) => waitMs)).p95Ms,
    waitUnder10s: share(waits.filter(({ waitMs }) => waitMs < soonMs).length, waits.length, 1),
    downloadWaitMs: total((run) => run.downloadWaitMs) / Math.max(1, jobs),
    downloadBytes: total((run) => run.downloadBytes),
    utilisation: share(
      total((run) => run.busyMs),
      total((run) => run.slotMs),
      0,
    ),
    machineHours: total((run) => run.machineMs) / hourMs,
    costUsd,
    costPer1000JobsUsd: (costUsd / Math.max(1, finished)) * 1_000,
    avoidableWaitRemoved: null,
    goodDecisions: share(
      total((run) => run.decisions.good),
      total((run) => run.decisions.judged),
      1,
    ),
    lowerBoundRatio: share(
      total((run) => run.flow.boundMs),
      total((run) => run.flow.flowMs),
      1,
    ),
    fairness: total((run) => run.fairness) / Math.max(1, runs.length),
    repeatedRuns: total((run) => run.repeatedRuns),
  };
}

/** How long this machine took says nothing about the policy, so it gets no interval. */
const withInterval = figureNames.filter((name) => name !== 'wallMs' && name !== 'avoidableWaitRemoved');

/** One policy over all its seeds, in the order of the seeds. */
function policyReport(runs: readonly RunFigures[]): PolicyReport {
  const [first] = runs;
  if (first === undefined) throw new RangeError('a report needs the run of at least one seed');
  const bySeed = runs.map((run) => figuresOf([run]));
  const waits = runs.flatMap((run) => run.waits);
  const intervals: PolicyReport['intervals'] = {};
  for (const name of withInterval) intervals[name] = interval(bySeed.map((figures) => figures[name] ?? 0));
  return {
    ...figuresOf(runs),
    traceHash: hashOf(runs.map((run) => run.traceHash)),
    byPool: waitsBy(waits, 'pool'),
    byKind: waitsBy(waits, 'kind'),
    intervals,
    series: first.series,
    ...(first.incidents === null ? {} : { incidents: first.incidents }),
  };
}

/** `waitFigures` of each group, names in order. */
function waitsBy(waits: readonly WaitSample[], field: 'pool' | 'kind'): Record<string, WaitFigures> {
  const groups = [...Map.groupBy(waits, (wait) => wait[field])].sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    groups.map(([name, group]) => [name, waitFigures(group.map(({ waitMs }) => waitMs))]),
  );
}

function hashOf(parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex');
}

/** Names of the policies between which Y1 measures. */
export const y1Policies = { worst: 'fifo', best: 'clairvoyant' } as const;

function addAvoidableWait(policies: Record<string, PolicyReport>): void {
  const fifo = policies[y1Policies.worst];
  const clairvoyant = policies[y1Policies.best];
  if (fifo === undefined || clairvoyant === undefined) return;
  const valueAt = (report: PolicyReport, seed: number) => report.intervals.waitMeanMs?.values[seed] ?? 0;
  for (const report of Object.values(policies)) {
    report.avoidableWaitRemoved = avoidableWaitRemoved({
      fifoMs: fifo.waitMeanMs,
      clairvoyantMs: clairvoyant.waitMeanMs,
      policyMs: report.waitMeanMs,
    });
    const values = (report.intervals.waitMeanMs?.values ?? []).map((policyMs, seed) =>
      avoidableWaitRemoved({
        fifoMs: valueAt(fifo, seed),
        clairvoyantMs: valueAt(clairvoyant, seed),
        policyMs,
      }),
    );
    // A seed without avoidable wait has no value, and an interval over the others would be of other days.
    const numbers = values.filter((value) => value !== null);
    if (numbers.length === values.length && numbers.length > 0) {
      report.intervals.avoidableWaitRemoved = interval(numbers);
    }
  }
}

/** What a command knows about its result beside the runs. */
export type ResultHead = Pick<
  SimResult,
  'scenario' | 'seeds' | 'load' | 'spanMs' | 'wallMs' | 'command' | 'versions' | 'invariants' | 'incidents'
>;

/** The result of a command: of each policy the runs of all seeds, in the order of `head.seeds`. */
export function simResult(
  head: ResultHead,
  runs: Readonly<Record<string, readonly RunFigures[]>>,
): SimResult {
  const policies: Record<string, PolicyReport> = {};
  for (const [name, ofSeeds] of Object.entries(runs)) {
    if (ofSeeds.length !== head.seeds.length) {
      throw new RangeError(`policy ${name} has ${ofSeeds.length} runs for ${head.seeds.length} seeds`);
    }
    policies[name] = policyReport(ofSeeds);
  }
  addAvoidableWait(policies);
  const traces = Object.values(runs).flatMap((ofSeeds) => ofSeeds.map((run) => run.traceHash));
  return { version: 1, ...head, traceHash: hashOf(traces), policies };
}
