import type { StartingOrder } from './autoscale.ts';

/** A machine that may be told to drain. */
export interface LeaveCandidate {
  machineId: string;
  /** What it works on: how long it has, and how long it still will, ms. */
  runs: readonly { ranMs: number; leftMs: number }[];
  /** What fetching again will cost the others that this one alone or few others hold, expected ms. */
  residencyMs: number;
}

export interface Leaving {
  /** Orders to withdraw. */
  withdraw: string[];
  /** Machines to drain. */
  drain: string[];
}

/**
 * Who goes when a pool has `surplus` too many: orders before machines, the youngest first, because it starts
 * last and nothing is paid for it; then machines that idle; then those whose work ends within `drainMs`, or
 * that lose the least of it. Of equal ones the one goes whose models are missed least. Pure, and equal
 * candidates give equal answers in whatever order they stand.
 */
export function whoLeaves(options: {
  surplus: number;
  starting: readonly StartingOrder[];
  machines: readonly LeaveCandidate[];
  drainMs: number;
}): Leaving {
  const { surplus, drainMs } = options;
  const orders = options.starting.toSorted((a, b) => b.askedMs - a.askedMs || byName(a.id, b.id));
  const withdraw = orders.slice(0, Math.max(0, surplus)).map(({ id }) => id);
  const machines = options.machines
    .map((machine) => ({ ...machine, lostMs: progressLostMs(machine, drainMs) }))
    .sort(
      (a, b) =>
        Number(a.runs.length > 0) - Number(b.runs.length > 0) ||
        a.lostMs - b.lostMs ||
        a.residencyMs - b.residencyMs ||
        byName(a.machineId, b.machineId),
    );
  const drain = machines.slice(0, Math.max(0, surplus - withdraw.length)).map(({ machineId }) => machineId);
  return { withdraw, drain };
}

/** Work that begins anew elsewhere because it does not end within the time that a drain leaves, ms. */
export function progressLostMs({ runs }: Pick<LeaveCandidate, 'runs'>, drainMs: number): number {
  return runs.reduce((sum, { ranMs, leftMs }) => sum + (leftMs > drainMs ? ranMs : 0), 0);
}

const byName = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
