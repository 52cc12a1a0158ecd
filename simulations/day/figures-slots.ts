import { closeOf } from './figures-waits.ts';
import type { DayLog, LoggedExecution, LoggedMachine } from './run-log.ts';

/** Until when a machine takes work: a draining one does not, although it still runs some. */
export function takesWorkUntil(machine: LoggedMachine, closedMs: number): number {
  return Math.min(machine.drainingMs ?? closedMs, machine.endMs ?? closedMs, closedMs);
}

/** When the slot of an execution was free again: with its end, or with the end of its machine. */
export function slotFreeMs(run: LoggedExecution, closedMs: number): number {
  return Math.min(run.endedMs ?? closedMs, run.machine.endMs ?? closedMs, closedMs);
}

/**
 * From when on each execution had a slot. A machine may claim a job while its slots are busy, to have it
 * ready for the next one: until then that job is staged and waits. Slots go to claims in their order, and
 * an execution that runs has one in any case.
 */
export function slotTimes(log: DayLog): (run: LoggedExecution) => number {
  const closedMs = closeOf(log);
  const byMachine = Map.groupBy(
    log.jobs.flatMap((job) => job.executions),
    (run) => run.machine,
  );
  const times = new Map<LoggedExecution, number>();
  for (const [machine, runs] of byMachine) {
    const freeMs = new Array<number>(machine.slots).fill(machine.startMs);
    for (const run of runs.toSorted((a, b) => a.claimedMs - b.claimedMs)) {
      const slot = freeMs.indexOf(Math.min(...freeMs));
      const endMs = Math.max(run.claimedMs, slotFreeMs(run, closedMs));
      const slotMs = Math.min(Math.max(run.claimedMs, freeMs[slot] ?? 0), run.startedMs ?? endMs, endMs);
      times.set(run, slotMs);
      freeMs[slot] = Math.max(freeMs[slot] ?? 0, endMs);
    }
  }
  return (run) => times.get(run) ?? run.claimedMs;
}
