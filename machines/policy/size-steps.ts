import type { MachineClass, Requirements } from '#protocol/requirements.ts';

/**
 * Sizes of groups. Jobs that need 8 419 and 8 534 MiB can run on the same machines, but as they stand
 * they are two groups, and a claim names 32. So a group needs what the end of a step needs, or what the
 * next machine in it has: every machine that is known may run exactly what it could before.
 */

const sizeKeys = ['vramMb', 'ramMb', 'diskMb'] as const;
type SizeKey = (typeof sizeKeys)[number];

/**
 * What known machines have of each size, smallest first, each value once. Those that a job may not run on for
 * other reasons count as well: they can only end its step sooner.
 */
export type KnownSizes = Readonly<Record<SizeKey, readonly number[]>>;

export function knownSizes(classes: readonly MachineClass[]): KnownSizes {
  const of = (key: SizeKey) => [...new Set(classes.map((each) => each[key]))].sort((a, b) => a - b);
  return { vramMb: of('vramMb'), ramMb: of('ramMb'), diskMb: of('diskMb') };
}

/** Steps between a power of two and the next: a group may need an eighth more than its job. */
const stepsEach = 8;

/** End of the step that a size is in; sizes below 8 MiB stay as they are. */
function endOfStep(size: number): number {
  const step = 2 ** Math.floor(Math.log2(size)) / stepsEach;
  return step < 1 ? size : Math.ceil(size / step) * step;
}

/** A machine may come back a little smaller than it was: another driver, another kernel. */
const slack = 1 / 64;

/**
 * The requirements with each size raised to where its group ends: at the end of its step, or before it a
 * little below the smallest known machine that has enough. Never lowered, and none that a known machine meets is raised
 * beyond it. A size that no known machine has stays as it is, and so do those of a job that is pinned to a
 * machine: no other may take it.
 *
 * A machine of a size that nobody knew when the job came, between what the job needs and where its group
 * ends, does not get it; `emp job explain` says so. Jobs that come later know of the machine.
 */
export function groupSizes(requirements: Requirements, known: KnownSizes): Requirements {
  let raised = requirements;
  if (requirements.machineId !== undefined) return raised;
  for (const key of sizeKeys) {
    const needed = requirements[key];
    if (needed === undefined || needed === 0) continue;
    const enough = known[key].find((size) => size >= needed);
    if (enough === undefined) continue;
    const below = Math.max(needed, Math.floor(enough * (1 - slack)));
    raised = { ...raised, [key]: Math.min(below, endOfStep(needed)) };
  }
  return raised;
}
