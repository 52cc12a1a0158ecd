import { closeOf } from './figures-waits.ts';
import type { DayLog } from './run-log.ts';

/** A job for the bound: it needs `runMs` at speed 1 on one machine that has `vramMb`. */
export interface BoundJob {
  arrivalMs: number;
  runMs: number;
  vramMb: number;
}

/** A machine for the bound: `slots` runs at a time, each at `speed`, while it lives. */
export interface BoundMachine {
  startMs: number;
  endMs: number;
  speed: number;
  slots: number;
  vramMb: number;
}

/** Speed of the fastest machine of `fleet` that lives after a given time, ms; 0 where none does. */
function fastestAfter(fleet: readonly BoundMachine[]): (atMs: number) => number {
  const byEnd = [...fleet].sort((a, b) => b.endMs - a.endMs);
  const fastest: number[] = [];
  for (const machine of byEnd) fastest.push(Math.max(machine.speed, fastest.at(-1) ?? 0));
  return (atMs) => {
    let low = 0;
    let high = byEnd.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((byEnd[middle]?.endMs ?? 0) > atMs) low = middle + 1;
      else high = middle;
    }
    return fastest[low - 1] ?? 0;
  };
}

/** Total speed of a fleet from when on, in order of time. */
function speedSteps(fleet: readonly BoundMachine[]): { atMs: number; speed: number }[] {
  const changes = fleet
    .flatMap(({ startMs, endMs, speed, slots }) => [
      { atMs: startMs, by: speed * slots },
      { atMs: endMs, by: -speed * slots },
    ])
    .sort((a, b) => a.atMs - b.atMs);
  const steps: { atMs: number; speed: number }[] = [];
  let total = 0;
  for (const { atMs, by } of changes) {
    total += by;
    // Sums of fractions end a hair beside 0, and a machine that slow would never finish.
    const speed = total < 1e-9 ? 0 : total;
    const last = steps.at(-1);
    if (last?.atMs === atMs) last.speed = speed;
    else steps.push({ atMs, speed });
  }
  return steps;
}

interface OpenJob {
  runMs: number;
  leftMs: number;
}

/** Binary heap, the smallest run first. */
class SmallestFirst {
  readonly #heap: OpenJob[] = [];

  peek(): OpenJob | undefined {
    return this.#heap[0];
  }

  push(job: OpenJob): void {
    const heap = this.#heap;
    let at = heap.push(job) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as OpenJob;
      if (above.runMs <= job.runMs) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = job;
  }

  pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as OpenJob).runMs < (heap[child] as OpenJob).runMs)
        child++;
      if ((heap[child] as OpenJob).runMs >= last.runMs) break;
      heap[at] = heap[child] as OpenJob;
      at = child;
    }
    heap[at] = last;
  }
}

/**
 * Σ mean busy time of `jobs` (ms) on one machine with the speed of the whole fleet that may break a run
 * off at any time and always works on the smallest job there is. Mean busy time is the average moment
 * at which a job is worked on. Work that the fleet cannot do before its end counts as done at its end:
 * less than what any schedule needs, so still a bound.
 */
function meanBusyTimes(jobs: readonly BoundJob[], fleet: readonly BoundMachine[]): number {
  const arrivals = [...jobs].sort((a, b) => a.arrivalMs - b.arrivalMs);
  const steps = speedSteps(fleet);
  const open = new SmallestFirst();
  let sum = 0;
  let next = 0;
  let step = -1;
  let nowMs = Math.min(arrivals[0]?.arrivalMs ?? 0, steps[0]?.atMs ?? 0);
  for (;;) {
    while ((arrivals[next]?.arrivalMs ?? Infinity) <= nowMs) {
      const { runMs } = arrivals[next++] as BoundJob;
      open.push({ runMs, leftMs: runMs });
    }
    while ((steps[step + 1]?.atMs ?? Infinity) <= nowMs) step++;
    const speed = steps[step]?.speed ?? 0;
    const changeMs = Math.min(arrivals[next]?.arrivalMs ?? Infinity, steps[step + 1]?.atMs ?? Infinity);
    const job = open.peek();
    const hasEnded = job !== undefined && step === steps.length - 1 && speed === 0;
    if (job !== undefined && (hasEnded || speed > 0)) {
      const untilMs = hasEnded ? nowMs : Math.min(changeMs, nowMs + job.leftMs / speed);
      const isDone = hasEnded || untilMs < changeMs || nowMs + job.leftMs / speed <= changeMs;
      const doneMs = isDone ? job.leftMs : (untilMs - nowMs) * speed;
      sum += (doneMs * (nowMs + untilMs)) / 2 / job.runMs;
      job.leftMs -= doneMs;
      if (isDone) open.pop();
      nowMs = untilMs;
    } else if (changeMs === Infinity) return sum;
    else nowMs = changeMs;
  }
}

/** Bound of the flow time of `jobs`, ms, where `fleet` works for nobody else. */
function boundOn(jobs: readonly BoundJob[], fleet: readonly BoundMachine[]): number {
  if (jobs.length === 0) return 0;
  const sizes = [...new Set(fleet.map((machine) => machine.vramMb))].sort((a, b) => a - b);
  const fastest = sizes.map((size) => fastestAfter(fleet.filter((machine) => machine.vramMb >= size)));
  let alone = 0;
  let halves = 0;
  let arrivals = 0;
  for (const job of jobs) {
    const level = sizes.findIndex((size) => size >= job.vramMb);
    const speed = fastest[level]?.(job.arrivalMs) ?? 0;
    // A job that no machine can run never ends; it adds nothing to a bound that is a number.
    if (speed > 0) {
      alone += job.runMs / speed;
      halves += job.runMs / 2 / speed;
    }
    arrivals += job.arrivalMs;
  }
  return Math.max(alone, meanBusyTimes(jobs, fleet) + halves - arrivals);
}

/**
 * Y3: a number that Σ (end − arrival) of no schedule of these jobs on this fleet is below, ms. Loads and
 * downloads count as nothing and runs that fail are not repeated, so it is loose, and safe.
 *
 * - A job needs its run on the fastest machine that fits and lives after its arrival.
 * - A job that runs without a break on a machine of speed s ends half its run after its mean busy time,
 *   `M + run/(2·s)`. Σ M of any schedule is at least Σ M of the preemptive smallest-job-first schedule
 *   on one machine with the total speed, also where that speed changes: moving work on the smaller of
 *   two jobs to the earlier moment never raises Σ M (Goemans' mean busy time relaxation).
 * - Jobs that need a large card compete for the machines that have one: the flow time of all is at
 *   least the bound of those on these machines plus the bound of the others on all machines.
 */
export function flowTimeBound(jobs: readonly BoundJob[], fleet: readonly BoundMachine[]): number {
  const sizes = [...new Set(fleet.map((machine) => machine.vramMb))].sort((a, b) => a - b);
  const levelOf = (job: BoundJob) => sizes.findIndex((size) => size >= job.vramMb);
  const fits = (size: number) => fleet.filter((machine) => machine.vramMb >= size);
  let best = boundOn(jobs, fleet);
  let byClass = 0;
  sizes.forEach((size, level) => {
    byClass += boundOn(
      jobs.filter((job) => levelOf(job) === level),
      fits(size),
    );
    if (level === 0) return;
    const large = jobs.filter((job) => levelOf(job) >= level);
    const rest = jobs.filter((job) => levelOf(job) < level);
    best = Math.max(best, boundOn(large, fits(size)) + boundOn(rest, fleet));
  });
  return Math.max(best, byClass);
}

/** Bound and reached flow time of the jobs of a log that succeeded, ms. */
export function certificate(log: DayLog): { boundMs: number; flowMs: number } {
  const closedMs = closeOf(log);
  const succeeded = log.jobs.filter((job) => job.ended === 'succeeded');
  const boundMs = flowTimeBound(
    succeeded.map(({ arrivalMs, planned: { runMs, vramMb } }) => ({ arrivalMs, runMs, vramMb })),
    log.machines.map(({ startMs, endMs, slots, planned: { speed, vramMb } }) => ({
      startMs,
      endMs: endMs ?? closedMs,
      speed,
      slots,
      vramMb,
    })),
  );
  const flowMs = succeeded.reduce((sum, job) => sum + (job.endMs ?? closedMs) - job.arrivalMs, 0);
  return { boundMs, flowMs };
}
