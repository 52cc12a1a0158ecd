import { gpuModel } from '#protocol/gpu-model.ts';
import type { MachineId } from '#protocol/names.ts';
import type { CustomerRule, Group, MachineClass, Requirements } from '#protocol/requirements.ts';
import { canonicalRange, inRange } from '#protocol/version-range.ts';

/**
 * Hard requirements against what machines are. Decided once per class and group and cached by the
 * hub; brokers never look at requirements. The pool is a preference and is not looked at here.
 */

/** One requirement that a class does not meet, in words a submitter can act on. */
export interface Unmet {
  /** `customer`: the machines are kept for others, or from this one. */
  requirement: 'service' | 'customer' | keyof Requirements;
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

/**
 * What this class lacks for the group, empty if it may run the group's jobs, in words for whoever asked:
 * they never name another customer. A pin to a machine is judged by `machineMeets`.
 */
export function unmetRequirements(machineClass: MachineClass, group: Group): Unmet[] {
  return [
    ...unmetService(machineClass, group),
    ...unmetSizes(machineClass, group.requirements),
    ...unmetTags(machineClass, group.requirements),
    ...unmetPlace(machineClass, group.requirements),
    ...unmetCards(machineClass, group.requirements),
    ...unmetCustomers(machineClass.customers, group),
  ];
}

function unmetService({ services }: MachineClass, { service, requirements }: Group): Unmet[] {
  const offered = services.find((each) => each.service === service);
  if (offered === undefined) {
    const available = services.map((each) => each.service).join(', ');
    return [{ requirement: 'service', needed: service, available }];
  }
  const { connectorVersion } = requirements;
  if (connectorVersion === undefined || inRange(offered.version, connectorVersion)) return [];
  const needed = canonicalRange(connectorVersion);
  return [{ requirement: 'connectorVersion', needed, available: offered.version }];
}

function unmetSizes(machineClass: MachineClass, requirements: Requirements): Unmet[] {
  return sizes.flatMap(({ key, unit }): Unmet[] => {
    const [needed, available] = [requirements[key] ?? 0, machineClass[key]];
    if (available >= needed) return [];
    return [{ requirement: key, needed: `${needed}${unit}`, available: `${available}${unit}` }];
  });
}

function unmetTags(machineClass: MachineClass, { tags = [], withoutTags = [] }: Requirements): Unmet[] {
  const unmet: Unmet[] = [];
  const has = new Set(machineClass.tags);
  const available = machineClass.tags.join(', ') || 'none';
  const missing = tags.filter((tag) => !has.has(tag));
  if (missing.length > 0) unmet.push({ requirement: 'tags', needed: missing.join(', '), available });
  const unwanted = withoutTags.filter((tag) => has.has(tag));
  if (unwanted.length > 0)
    unmet.push({ requirement: 'withoutTags', needed: `not ${unwanted.join(', ')}`, available });
  return unmet;
}

function unmetPlace(machineClass: MachineClass, requirements: Requirements): Unmet[] {
  return (['region', 'environment'] as const).flatMap((requirement): Unmet[] => {
    const [needed, has] = [requirements[requirement], machineClass[requirement]];
    return needed === undefined || needed === has ? [] : [{ requirement, needed, available: has ?? 'none' }];
  });
}

/** A slot may be on any card of the machine: each of them must be of a model that was named. */
function unmetCards({ gpus = [] }: MachineClass, { gpu }: Requirements): Unmet[] {
  if (gpu === undefined) return [];
  const wanted = new Set(gpu.map(gpuModel));
  if (gpus.length > 0 && gpus.every((model) => wanted.has(model))) return [];
  return [
    {
      requirement: 'gpu',
      needed: [...wanted].join(' or '),
      available: gpus.join(' and ') || 'no known card',
    },
  ];
}

/**
 * Whose jobs are in the group against whose jobs the machine runs. A group that says nothing of its
 * customers may hold anybody's jobs: no machine with a rule serves it.
 */
function unmetCustomers(rule: CustomerRule | undefined, group: Group): Unmet[] {
  const { customer } = group;
  const owner = rule !== undefined && 'strict' in rule ? rule.strict : null;
  if (owner !== null && owner === customer) return [];
  if (group.requirements.isolation === 'strict') {
    const needed = `a machine of ${customer ?? 'one customer'} alone`;
    const shared = rule === undefined ? 'one for everybody' : 'one for several customers';
    return [
      { requirement: 'isolation', needed, available: owner === null ? shared : 'one of another customer' },
    ];
  }
  if (rule === undefined || admits(rule, group)) return [];
  const needed = `room for ${customer ?? 'customers whom its rule did not name when they came'}`;
  if (owner !== null) return [{ requirement: 'customer', needed, available: 'room for another customer' }];
  const available = 'allow' in rule ? 'room for other customers' : 'none for some customers';
  return [{ requirement: 'customer', needed, available }];
}

function admits(rule: CustomerRule, { customer, notCustomers }: Group): boolean {
  if ('strict' in rule) return false;
  if ('allow' in rule) return customer !== undefined && rule.allow.includes(customer);
  if (customer !== undefined) return !rule.deny.includes(customer);
  const without = new Set(notCustomers);
  return rule.deny.every((name) => without.has(name));
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
