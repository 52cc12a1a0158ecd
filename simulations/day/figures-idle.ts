import { slotFreeMs, slotTimes, takesWorkUntil } from './figures-slots.ts';
import { closeOf, waitSpans } from './figures-waits.ts';
import type { DayLog, LoggedExecution } from './run-log.ts';

interface SlotEvent {
  atMs: number;
  /** Idle slots more or fewer. */
  delta: number;
  vramMb: number;
}

function slotEvents(log: DayLog, slotMs: (run: LoggedExecution) => number): SlotEvent[] {
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
      const freeMs = Math.min(slotFreeMs(run, closedMs), untilMs);
      if (slotMs(run) >= freeMs) continue;
      const { vramMb } = run.machine.planned;
      events.push({ atMs: slotMs(run), delta: -1, vramMb });
      events.push({ atMs: freeMs, delta: 1, vramMb });
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
 * model elsewhere, or nobody saw the slot. A job that is staged behind another one on its machine still
 * waits. Not counted after a failed run, where backoff looks the same. One sweep per size of card, and
 * two searches per span: (events × sizes) + spans × log(events).
 */
export function waitBesideIdleSlots(log: DayLog): number {
  const slotMs = slotTimes(log);
  const events = slotEvents(log, slotMs);
  const sizes = [...new Set(log.machines.map((machine) => machine.planned.vramMb))].sort((a, b) => a - b);
  const spans = Map.groupBy(
    waitSpans(log, slotMs).filter((span) => !span.afterFailure),
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

/**
 * Ms in which a slot that a job had was not running it because its models were not in memory, all
 * executions together; one that never got there counts to its end. Fetching while another job still runs
 * in the slot costs nobody anything and counts as nothing.
 */
export function preparingForModels(log: DayLog): number {
  const closedMs = closeOf(log);
  const slotMs = slotTimes(log);
  let sum = 0;
  for (const job of log.jobs) {
    for (const run of job.executions) {
      sum += Math.max(0, (run.modelsReadyMs ?? slotFreeMs(run, closedMs)) - slotMs(run));
    }
  }
  return sum;
}
