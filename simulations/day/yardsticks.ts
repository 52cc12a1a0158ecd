import { closeOf } from './figures-waits.ts';
import type { DayLog, LoggedExecution, LoggedJob, LoggedMachine } from './run-log.ts';
import { ResidencyHistory } from './yardsticks-residency.ts';

/**
 * Y1: share of the avoidable wait that a policy removed, (fifo − policy) / (fifo − clairvoyant), from
 * mean waits of the same jobs. Below 0 where the policy is worse than `fifo`; null where nothing was
 * avoidable. `clairvoyant` is the best schedule found with full knowledge, not a proven optimum, so
 * this slightly flatters.
 */
export function avoidableWaitRemoved(waits: {
  fifoMs: number;
  clairvoyantMs: number;
  policyMs: number;
}): number | null {
  const avoidableMs = waits.fifoMs - waits.clairvoyantMs;
  return avoidableMs > 0 ? (waits.fifoMs - waits.policyMs) / avoidableMs : null;
}

/** A claim is good within this of the best: 1 s, or 5 % of the time that the best would have taken. */
const toleranceMs = 1_000;
const toleranceShare = 0.05;

interface Claim {
  job: LoggedJob;
  run: LoggedExecution;
  /** End of the first run from this claim on that came to an end; Infinity where none did. */
  endMs: number;
  /** Ms at speed 1 that the run takes. */
  workMs: number;
}

function claimsOf(log: DayLog): Claim[] {
  const claims: Claim[] = [];
  for (const job of log.jobs) {
    let endMs = Infinity;
    for (const run of job.executions.toReversed()) {
      const cameToAnEnd = run.outcome === 'succeeded' || run.outcome === 'failed';
      if (cameToAnEnd) endMs = run.endedMs ?? Infinity;
      // What was cancelled, or is still under way, has no end to compare.
      if (run.outcome === 'cancelled' || run.outcome === null) continue;
      const ranMs = run.startedMs === null || run.endedMs === null ? null : run.endedMs - run.startedMs;
      const workMs = cameToAnEnd && ranMs !== null ? ranMs * run.machine.planned.speed : job.planned.runMs;
      claims.push({ job, run, endMs, workMs });
    }
  }
  return claims.sort((a, b) => a.run.claimedMs - b.run.claimedMs);
}

/** Live machines and their slots at the time of one claim after the other. */
class FleetAt {
  readonly #coming: LoggedMachine[];
  readonly #closedMs: number;
  #live: LoggedMachine[] = [];
  /** When the runs of a machine end that were claimed so far. */
  readonly #endsMs: number[][];

  constructor(log: DayLog) {
    this.#coming = [...log.machines].sort((a, b) => b.startMs - a.startMs);
    this.#closedMs = closeOf(log);
    this.#endsMs = log.machines.map(() => []);
  }

  /** Machines that take work at `atMs`, which never falls from call to call. */
  liveAt(atMs: number): readonly LoggedMachine[] {
    let next = this.#coming.at(-1);
    if (this.#live.some((machine) => !takesWork(machine, atMs))) {
      this.#live = this.#live.filter((machine) => takesWork(machine, atMs));
    }
    while (next !== undefined && next.startMs <= atMs) {
      this.#coming.pop();
      if (takesWork(next, atMs)) this.#live.push(next);
      next = this.#coming.at(-1);
    }
    return this.#live;
  }

  /** When the machine had a free slot in fact, counting runs that were claimed before. */
  freeMs(machine: LoggedMachine, atMs: number): number {
    const ends = this.#endsMs[machine.index] ?? [];
    if (ends.length > 0 && ends.some((endMs) => endMs <= atMs)) {
      this.#endsMs[machine.index] = ends.filter((endMs) => endMs > atMs);
    }
    const busy = this.#endsMs[machine.index] ?? [];
    if (busy.length < machine.slots) return atMs;
    return busy.toSorted((a, b) => a - b)[busy.length - machine.slots] ?? atMs;
  }

  add(run: LoggedExecution): void {
    const { machine } = run;
    this.#endsMs[machine.index]?.push(
      Math.min(run.endedMs ?? this.#closedMs, machine.endMs ?? this.#closedMs),
    );
  }
}

function takesWork(machine: LoggedMachine, atMs: number): boolean {
  return (machine.endMs ?? Infinity) > atMs && (machine.drainingMs ?? Infinity) > atMs;
}

/**
 * Y2: of the claims that can be judged, those whose job ended within max(1 s, 5 %) of what the best live
 * machine that fits would have made of it in hindsight. Known about each other machine: when it had a
 * free slot in fact (runs claimed before this one), what it had on disk and in memory at that moment, when
 * a download arrived that was under way then, and whether it lived to the end of the run.
 * Assumed in its favour: nothing else uses its link or the store of models. So the yardstick errs
 * against the policy. It is blind to jobs that are held back: a claim that comes too late is good.
 * O(claims × live machines).
 */
export function goodDecisions(log: DayLog): { good: number; judged: number } {
  const residency = new ResidencyHistory(log);
  const fleet = new FleetAt(log);
  const claims = claimsOf(log);
  let good = 0;
  for (const claim of claims) {
    const { run, job } = claim;
    const live = fleet.liveAt(run.claimedMs);
    let bestMs = claim.endMs;
    for (const machine of live) {
      if (machine === run.machine || machine.planned.vramMb < job.planned.vramMb) continue;
      const freeMs = fleet.freeMs(machine, run.claimedMs);
      if (freeMs + claim.workMs / machine.planned.speed >= bestMs) continue;
      const readyMs = residency.readyMs(machine, job.planned.models, freeMs);
      const endMs = readyMs + claim.workMs / machine.planned.speed;
      if (endMs < bestMs && endMs <= (machine.endMs ?? Infinity)) bestMs = endMs;
    }
    fleet.add(run);
    const slackMs = Math.max(toleranceMs, toleranceShare * (bestMs - run.claimedMs));
    // Lost for good on a machine that nobody could have done better than: not the policy's doing.
    if (bestMs === Infinity || claim.endMs - bestMs <= slackMs) good++;
  }
  return { good, judged: claims.length };
}
