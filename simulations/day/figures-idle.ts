import { closeOf, waitSpans } from './figures-waits.ts';
import type { DayLog, LoggedExecution, LoggedMachine } from './run-log.ts';

/** From when to when a machine takes work: a draining one does not, although it still runs some. */
export function takesWorkUntil(machine: LoggedMachine, closedMs: number): number {
  return Math.min(machine.drainingMs ?? closedMs, machine.endMs ?? closedMs, closedMs);
}

/** When the slot of an execution was free again: with its end, or with the end of its machine. */
export function slotFreeMs(run: LoggedExecution, closedMs: number): number {
  return Math.min(run.endedMs ?? closedMs, run.machine.endMs ?? closedMs, closedMs);
}

interface SlotEvent {
  atMs: number;
  /** Idle slots more or fewer. */
  delta: number;
  vramMb: number;
}

function slotEvents(log: DayLog): SlotEvent[] {
  const closedMs = closeOf(log);
  const events: SlotEvent[] = [];
  for (const machine of log.machines) {
    const { vramMb } = machine.planned;
    events.push({ atMs: machine.startMs, delta: machine.slots, vramMb });
    events.push({ atMs: takesWorkUntil(machine, closedMs), delta: -machine.slots, vramMb });
  }
  for (const job of log.jobs) {
    for (const run of job.executions) {
      const untilMs = takesWorkUntil(run.machine, closedMs);
      if (run.claimedMs >= untilMs) continue;
      const { vramMb } = run.machine.planned;
      events.push({ atMs: run.claimedMs, delta: -1, vramMb });
      events.push({ atMs: Math.min(slotFreeMs(run, closedMs), untilMs), delta: 1, vramMb });
    }
  }
  return events.sort((a, b) => a.atMs - b.atMs);
}

/** Time within [0, t] in which a condition held, asked for any t: sums up to each change, and a search. */
class HeldTime {
  readonly #atMs: number[] = [0];
  readonly #sumMs: number[] = [0];
  readonly #holds: boolean[] = [false];

  /** From `atMs` on the condition holds or not; in order of time. */
  change(atMs: number, holds: boolean): void {
    const last = this.#atMs.length - 1;
    if (this.#holds[last] === holds) return;
    this.#sumMs.push(this.until(atMs));
    this.#atMs.push(atMs);
    this.#holds.push(holds);
  }

  until(atMs: number): number {
    let low = 0;
    let high = this.#atMs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#atMs[middle] ?? 0) <= atMs) low = middle;
      else high = middle - 1;
    }
    const since = this.#holds[low] ? Math.max(0, atMs - (this.#atMs[low] ?? 0)) : 0;
    return (this.#sumMs[low] ?? 0) + since;
  }
}

/** Time in which at least one slot of a card of `vramMb` or more was idle. */
function idleTime(events: readonly SlotEvent[], vramMb: number): HeldTime {
  const held = new HeldTime();
  const fitting = events.filter((event) => event.vramMb >= vramMb);
  let idle = 0;
  fitting.forEach((event, index) => {
    idle += event.delta;
    // Changes of one instant count together: a slot that is freed and taken was not idle.
    if (fitting[index + 1]?.atMs !== event.atMs) held.change(event.atMs, idle > 0);
  });
  return held;
}

/**
 * Ms that jobs waited although a slot that fits them was idle, all jobs together: they were held for a
 * model elsewhere, or nobody saw the slot. Not counted after a failed run, where backoff looks the same.
 * One sweep per size of card, and two searches per span: (events × sizes) + spans × log(events).
 */
export function waitBesideIdleSlots(log: DayLog): number {
  const events = slotEvents(log);
  const sizes = [...new Set(log.machines.map((machine) => machine.planned.vramMb))].sort((a, b) => a - b);
  const spans = Map.groupBy(
    waitSpans(log).filter((span) => !span.afterFailure),
    (span) => sizes.find((size) => size >= span.job.planned.vramMb),
  );
  let sum = 0;
  for (const [size, waited] of spans) {
    if (size === undefined) continue;
    const idle = idleTime(events, size);
    for (const { fromMs, untilMs } of waited) sum += idle.until(untilMs) - idle.until(fromMs);
  }
  return sum;
}

/** Ms between claim and models in memory, all executions together; one that never got there counts to its end. */
export function preparingForModels(log: DayLog): number {
  const closedMs = closeOf(log);
  let sum = 0;
  for (const job of log.jobs) {
    for (const run of job.executions) {
      sum += Math.max(0, (run.modelsReadyMs ?? slotFreeMs(run, closedMs)) - run.claimedMs);
    }
  }
  return sum;
}
