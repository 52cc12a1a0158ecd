import type { MachineId } from '#protocol/names.ts';
import {
  type CustomerRule,
  canonicalGroup,
  type Group,
  type MachineClass,
  type Requirements,
} from '#protocol/requirements.ts';
import { inRange } from '#protocol/version-range.ts';

/**
 * Hard requirements against what machines are. Decided once per class and group and cached by the
 * hub; brokers never look at requirements. The pool is a preference and is not looked at here.
 */

/** One requirement that a class does not meet, in words a submitter can act on. */
export interface Unmet {
  /**
   * `customer`: the machines are kept for others, or from this one. `reservation`: they run only jobs that ask
   * for a tag which this one does not name.
   */
  requirement: 'service' | 'customer' | 'reservation' | keyof Requirements;
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
 * What this class lacks for the group (in canonical form, as it is interned), empty if it may run the
 * group's jobs, in words for whoever asked: they never name another customer. A pin to a machine is judged by `machineMeets`.
 */
export function unmetRequirements(machineClass: MachineClass, group: Group): Unmet[] {
  // Asked of each class at each submit: nothing is made for what is met.
  const unmet: Unmet[] = [];
  judgeService(unmet, machineClass, group);
  judgeSizes(unmet, machineClass, group.requirements);
  judgeTags(unmet, machineClass, group.requirements);
  judgeReservation(unmet, machineClass, group.requirements);
  judgePlace(unmet, machineClass, group.requirements);
  judgeCards(unmet, machineClass, group.requirements);
  judgeCustomers(unmet, machineClass.customers, group);
  return unmet;
}

function judgeService(unmet: Unmet[], { services }: MachineClass, { service, requirements }: Group): void {
  const offered = services.find((each) => each.service === service);
  if (offered === undefined) {
    const available = services.map((each) => each.service).join(', ');
    unmet.push({ requirement: 'service', needed: service, available });
    return;
  }
  const { connectorVersion } = requirements;
  if (connectorVersion === undefined || inRange(offered.version, connectorVersion)) return;
  unmet.push({ requirement: 'connectorVersion', needed: connectorVersion, available: offered.version });
}

function judgeSizes(unmet: Unmet[], machineClass: MachineClass, requirements: Requirements): void {
  for (const { key, unit } of sizes) {
    const [needed, available] = [requirements[key] ?? 0, machineClass[key]];
    if (available < needed)
      unmet.push({ requirement: key, needed: `${needed}${unit}`, available: `${available}${unit}` });
  }
}

function judgeTags(unmet: Unmet[], { tags: has }: MachineClass, { tags, withoutTags }: Requirements): void {
  const available = () => has.join(', ') || 'none';
  const missing = tags?.filter((tag) => !has.includes(tag)) ?? [];
  if (missing.length > 0)
    unmet.push({ requirement: 'tags', needed: missing.join(', '), available: available() });
  const unwanted = withoutTags?.filter((tag) => has.includes(tag)) ?? [];
  if (unwanted.length > 0)
    unmet.push({ requirement: 'withoutTags', needed: `not ${unwanted.join(', ')}`, available: available() });
}

/**
 * A group names the tags that each of its jobs asks for, so it says by itself whether a reserved machine may
 * serve it, whenever that machine came.
 */
function judgeReservation(unmet: Unmet[], { reservedFor }: MachineClass, { tags = [] }: Requirements): void {
  if (reservedFor === undefined || reservedFor.some((tag) => tags.includes(tag))) return;
  const own = tags.length === 0 ? '' : `, or one for ${tags.join(' or ')}`;
  const which = reservedFor.length === 1 ? 'the tag' : 'one of the tags';
  unmet.push({
    requirement: 'reservation',
    needed: `no reservation${own}`,
    available: `one for jobs with ${which} ${reservedFor.join(', ')}`,
  });
}

const places = ['region', 'environment'] as const;

function judgePlace(unmet: Unmet[], machineClass: MachineClass, requirements: Requirements): void {
  for (const requirement of places) {
    const [needed, has] = [requirements[requirement], machineClass[requirement]];
    if (needed !== undefined && needed !== has) unmet.push({ requirement, needed, available: has ?? 'none' });
  }
}

/** A slot may be on any card of the machine: each of them must be of a model that was named. */
function judgeCards(unmet: Unmet[], { gpus = [] }: MachineClass, { gpu }: Requirements): void {
  if (gpu === undefined) return;
  if (gpus.length > 0 && gpus.every((model) => gpu.includes(model))) return;
  const available = gpus.join(' and ') || 'no known card';
  unmet.push({ requirement: 'gpu', needed: gpu.join(' or '), available });
}

/**
 * Whose jobs are in the group against whose jobs the machine runs. A group that says nothing of its
 * customers may hold anybody's jobs: no machine with a rule serves it.
 */
function judgeCustomers(unmet: Unmet[], rule: CustomerRule | undefined, group: Group): void {
  const { customer } = group;
  const owner = rule !== undefined && 'strict' in rule ? rule.strict : null;
  if (owner !== null && owner === customer) return;
  if (group.requirements.isolation === 'strict') {
    const needed = `a machine of ${customer ?? 'one customer'} alone`;
    const shared = rule === undefined ? 'one for everybody' : 'one for several customers';
    const available = owner === null ? shared : 'one of another customer';
    unmet.push({ requirement: 'isolation', needed, available });
    return;
  }
  if (rule === undefined || admits(rule, group)) return;
  const needed = `room for ${customer ?? 'customers whom its rule did not name when they came'}`;
  const others = 'allow' in rule ? 'room for other customers' : 'none for some customers';
  const available = owner === null ? others : 'room for another customer';
  unmet.push({ requirement: 'customer', needed, available });
}

function admits(rule: CustomerRule, { customer, notCustomers }: Group): boolean {
  if ('strict' in rule) return false;
  if ('allow' in rule) return customer !== undefined && rule.allow.includes(customer);
  if (customer !== undefined) return !rule.deny.includes(customer);
  const without = new Set(notCustomers);
  return rule.deny.every((name) => without.has(name));
}

/** What is lacking, as part of a sentence. */
export function unmetInWords(unmet: readonly Unmet[]): string {
  return unmet
    .map(({ requirement, needed, available }) => `${requirement}: needs ${needed}, there is ${available}`)
    .join('; ');
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

/** Finds the classes that may run a group, in any form, or says by name what none of them has. */
export function findClasses(classes: readonly KnownClass[], asked: Group): ClassSearch {
  if (classes.length === 0) return { kind: 'noneKnown' };
  const group = canonicalGroup(asked);
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
