import { percentile } from '#runtime/percentile.ts';
import { slotFreeMs } from './figures-slots.ts';
import { closeOf, type JobWait, waitSpans } from './figures-waits.ts';
import type { DaySeries } from './result.ts';
import type { DayLog } from './run-log.ts';

/** Spans of a series: 5 minutes of a day. */
const spans = 288;
/** A policy that takes longer than the day gets more spans, up to these; then they grow. */
const mostSpans = 4 * spans;

/** Spans of equal length, and what falls into them. */
class Spans {
  readonly stepMs: number;
  readonly count: number;

  constructor(log: DayLog) {
    const closedMs = Math.max(closeOf(log), log.plan.spanMs);
    this.stepMs = Math.max(1_000, Math.ceil(log.plan.spanMs / spans), Math.ceil(closedMs / mostSpans));
    this.count = Math.max(1, Math.ceil(closedMs / this.stepMs));
  }

  zeros(): number[] {
    return new Array<number>(this.count).fill(0);
  }

  /** The span that holds `atMs`; the last one also its own end. */
  at(atMs: number): number {
    return Math.min(this.count - 1, Math.max(0, Math.floor(atMs / this.stepMs)));
  }

  endMs(index: number): number {
    return (index + 1) * this.stepMs;
  }

  /** First span whose end is not before `atMs`. */
  #firstEndFrom(atMs: number): number {
    return Math.max(0, Math.ceil(atMs / this.stepMs) - 1);
  }

  /** Calls `each` with every span at whose end something is there that is there in [fromMs, untilMs). */
  ends(fromMs: number, untilMs: number, each: (index: number, endMs: number) => void): void {
    const until = Math.min(this.count, this.#firstEndFrom(untilMs));
    for (let index = this.#firstEndFrom(fromMs); index < until; index++) each(index, this.endMs(index));
  }

  /** Adds the time of [fromMs, untilMs) to the spans in which it passes. */
  addTime(into: number[], fromMs: number, untilMs: number, weight = 1): void {
    for (let index = this.at(fromMs), atMs = fromMs; atMs < untilMs && index < this.count; index++) {
      const endMs = Math.min(untilMs, this.endMs(index));
      into[index] = (into[index] ?? 0) + (endMs - atMs) * weight;
      atMs = endMs;
    }
  }
}

const bump = (list: number[], index: number, by = 1) => {
  list[index] = (list[index] ?? 0) + by;
};

function queueSeries(log: DayLog, grid: Spans): Pick<DaySeries, 'queueDepth' | 'oldestAgeMs'> {
  const pools = [...new Set(log.plan.jobs.map((job) => job.pool))].sort();
  const queueDepth = Object.fromEntries(pools.map((pool) => [pool, grid.zeros()]));
  const oldestAgeMs = Object.fromEntries(pools.map((pool) => [pool, grid.zeros()]));
  for (const { job, fromMs, untilMs } of waitSpans(log)) {
    const depth = queueDepth[job.planned.pool];
    const oldest = oldestAgeMs[job.planned.pool];
    if (depth === undefined || oldest === undefined) continue;
    // What waits at the close still waits at the end of the last span.
    const until = untilMs === log.closedMs && job.ended === null ? Infinity : untilMs;
    grid.ends(fromMs, until, (index, endMs) => {
      bump(depth, index);
      oldest[index] = Math.max(oldest[index] ?? 0, endMs - job.arrivalMs);
    });
  }
  return { queueDepth, oldestAgeMs };
}

function fleetSeries(
  log: DayLog,
  grid: Spans,
): Pick<DaySeries, 'machinesWanted' | 'machinesRunning' | 'machinesLost' | 'busyShare'> {
  const closedMs = closeOf(log);
  const machinesWanted = grid.zeros();
  log.wanted.forEach(({ atMs, machines }, index) => {
    grid.ends(atMs, log.wanted[index + 1]?.atMs ?? Infinity, (span) => {
      machinesWanted[span] = machines;
    });
  });
  const machinesRunning = grid.zeros();
  const machinesLost = grid.zeros();
  const slotMs = grid.zeros();
  for (const machine of log.machines) {
    const endMs = machine.endMs ?? closedMs;
    const isThere = machine.endMs === null || machine.ending === 'stays';
    grid.ends(machine.startMs, isThere && endMs >= closedMs ? Infinity : endMs, (span) =>
      bump(machinesRunning, span),
    );
    if (machine.ending === 'lost') bump(machinesLost, grid.at(machine.planned.away?.fromMs ?? endMs));
    grid.addTime(slotMs, machine.startMs, endMs, machine.slots);
  }
  const busyMs = grid.zeros();
  for (const job of log.jobs) {
    for (const run of job.executions) {
      if (run.startedMs !== null) grid.addTime(busyMs, run.startedMs, slotFreeMs(run, closedMs));
    }
  }
  const busyShare = busyMs.map((ms, index) => Math.min(1, ms / Math.max(1, slotMs[index] ?? 0)));
  return { machinesWanted, machinesRunning, machinesLost, busyShare };
}

/** Samples of one run at equal distances; every field as `DaySeries` says. */
export function daySeries(log: DayLog, waits: readonly JobWait[]): DaySeries {
  const grid = new Spans(log);
  const arrived = grid.zeros();
  const ended = grid.zeros();
  for (const job of log.jobs) {
    bump(arrived, grid.at(job.arrivalMs));
    if (job.endMs !== null) bump(ended, grid.at(job.endMs));
  }
  const waitsOf: number[][] = Array.from({ length: grid.count }, () => []);
  for (const { job, waitMs } of waits) if (job.endMs !== null) waitsOf[grid.at(job.endMs)]?.push(waitMs);
  const downloadBytes = grid.zeros();
  log.downloads.atMs.forEach((atMs, index) => {
    bump(downloadBytes, grid.at(atMs), log.downloads.bytes[index] ?? 0);
  });
  return {
    stepMs: grid.stepMs,
    ...fleetSeries(log, grid),
    ...queueSeries(log, grid),
    arrived,
    ended,
    waitP95Ms: waitsOf.map((span) =>
      span.length === 0
        ? null
        : percentile(
            span.toSorted((a, b) => a - b),
            0.95,
          ),
    ),
    downloadBytes,
  };
}
