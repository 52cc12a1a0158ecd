import type { MachineId } from '#protocol/names.ts';
import type { Group, MachineClass, Requirements } from '#protocol/requirements.ts';

/**
 * Hard requirements against what machines are. Decided once per class and group and cached by the
 * hub; brokers never look at requirements. The pool is a preference and is not looked at here.
 */

/** One requirement that a class does not meet, in words a submitter can act on. */
export interface Unmet {
  requirement: 'service' | keyof Requirements;
  needed: string;
  available: string;
}

export interface KnownClass {
  classId: string;
  machineClass: MachineClass;
}

export type ClassSearch =
  | { kind: 'met'; classIds: string[] }
  | { kind: 'noneKnown' }
  | { kind: 'unknownService'; offered: string[] }
  /** `unmet` names what no class of the service has, or, where only the combination is missing, what the closest lacks. */
  | { kind: 'unmet'; unmet: Unmet[]; closest: string };

const sizes = [
  { key: 'vramMb', unit: ' MiB' },
  { key: 'ramMb', unit: ' MiB' },
  { key: 'diskMb', unit: ' MiB' },
  { key: 'cpuCores', unit: '' },
] as const;

/** What this class lacks for the group, empty if it may run the group's jobs. A pin to a machine is judged by `machineMeets`. */
export function unmetRequirements(machineClass: MachineClass, group: Group): Unmet[] {
  const { requirements } = group;
  const unmet: Unmet[] = [];
  if (!machineClass.services.some((offered) => offered.service === group.service)) {
    const offered = machineClass.services.map((each) => each.service).join(', ');
    unmet.push({ requirement: 'service', needed: group.service, available: offered });
  }
  for (const { key, unit } of sizes) {
    const needed = requirements[key] ?? 0;
    if (machineClass[key] < needed) {
      unmet.push({ requirement: key, needed: `${needed}${unit}`, available: `${machineClass[key]}${unit}` });
    }
  }
  const has = new Set(machineClass.tags);
  const tagList = machineClass.tags.join(', ') || 'none';
  const missing = (requirements.tags ?? []).filter((tag) => !has.has(tag));
  if (missing.length > 0) unmet.push({ requirement: 'tags', needed: missing.join(', '), available: tagList });
  const unwanted = (requirements.withoutTags ?? []).filter((tag) => has.has(tag));
  if (unwanted.length > 0) {
    unmet.push({ requirement: 'withoutTags', needed: `not ${unwanted.join(', ')}`, available: tagList });
  }
  if (requirements.region !== undefined && requirements.region !== machineClass.region) {
    unmet.push({
      requirement: 'region',
      needed: requirements.region,
      available: machineClass.region ?? 'none',
    });
  }
  return unmet;
}

/** True where a machine of this class may run the group's jobs, its pin aside. */
export function classMeets(machineClass: MachineClass, group: Group): boolean {
  return unmetRequirements(machineClass, group).length === 0;
}

/** True where this very machine may: its class meets the group, and a pin names it. */
export function machineMeets(
  machine: { machineId: MachineId; machineClass: MachineClass },
  group: Group,
): boolean {
  const pin = group.requirements.machineId;
  return (pin === undefined || pin === machine.machineId) && classMeets(machine.machineClass, group);
}

/** Finds the classes that may run a group, or says by name what none of them has. */
export function findClasses(classes: readonly KnownClass[], group: Group): ClassSearch {
  if (classes.length === 0) return { kind: 'noneKnown' };
  const judged = classes.map((known) => ({ ...known, unmet: unmetRequirements(known.machineClass, group) }));
  const met = judged.filter((each) => each.unmet.length === 0);
  if (met.length > 0) return { kind: 'met', classIds: met.map((each) => each.classId) };
  const serving = judged.filter((each) => each.unmet.every((one) => one.requirement !== 'service'));
  if (serving.length === 0) {
    const offered = classes.flatMap((known) => known.machineClass.services.map((each) => each.service));
    return { kind: 'unknownService', offered: [...new Set(offered)].sort() };
  }
  const closest = serving.reduce((best, each) => (each.unmet.length < best.unmet.length ? each : best));
  const metByNone = closest.unmet
    .map((one) => one.requirement)
    .filter((requirement) =>
      serving.every((each) => each.unmet.some((one) => one.requirement === requirement)),
    );
  const everywhere = metByNone.map((requirement) =>
    bestOf(
      serving.map((each) => each.unmet),
      requirement,
    ),
  );
  return {
    kind: 'unmet',
    unmet: everywhere.length > 0 ? everywhere : closest.unmet,
    closest: closest.classId,
  };
}

/** Of what the classes have of one requirement, the most (sizes) or every variant (tags, regions). */
function bestOf(lists: Unmet[][], requirement: Unmet['requirement']): Unmet {
  const found = lists.flatMap((list) => list.filter((one) => one.requirement === requirement));
  const [first] = found;
  if (first === undefined) throw new RangeError(`no class lacks ${requirement}`);
  if (sizes.some(({ key }) => key === requirement)) {
    return found.reduce((best, one) =>
      Number.parseInt(one.available, 10) > Number.parseInt(best.available, 10) ? one : best,
    );
  }
  const variants = [...new Set(found.map((one) => one.available))].slice(0, 8);
  return { requirement, needed: first.needed, available: variants.join(' | ') };
}
