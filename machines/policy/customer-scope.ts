import { type Group, type MachineClass, notCustomersLimit } from '#protocol/requirements.ts';

/** Whose jobs share a group: one customer's, or everybody's but a few. docs/decisions/0005 says why. */
export type CustomerScope = Pick<Group, 'customer' | 'notCustomers'>;

/** Every customer that a rule of a known class names, and those that some rule denies; null = no class is known. */
export interface NamedCustomers {
  named: ReadonlySet<string>;
  denied: readonly string[];
}

export function namedCustomers(classes: readonly MachineClass[]): NamedCustomers | null {
  if (classes.length === 0) return null;
  const [named, denied] = [new Set<string>(), new Set<string>()];
  for (const { customers } of classes) {
    if (customers === undefined) continue;
    if ('strict' in customers) named.add(customers.strict);
    if ('allow' in customers) for (const name of customers.allow) named.add(name);
    if ('deny' in customers) for (const name of customers.deny) denied.add(name);
  }
  for (const name of denied) named.add(name);
  return { named, denied: [...denied].sort() };
}

/**
 * The scope of a job's group. A customer whom some rule names has groups of their own; all others share
 * them, which says of each job in it that it is none of a denied customer's. So a fleet without rules
 * has as many groups as forms of requirements, and one with rules multiplies them by the customers
 * that its rules name, not by all. Where no class is known nobody can tell whom rules will name. A job that
 * `isApart` is one customer's by what it asks: isolation, or one machine, whose rules may not be known yet and
 * for which no other can stand in.
 */
export function customerScope(
  known: NamedCustomers | null,
  job: { customer: string; isApart: boolean },
): CustomerScope {
  const { customer } = job;
  if (known === null || job.isApart || known.named.has(customer)) return { customer };
  if (known.denied.length > notCustomersLimit) return { customer };
  return known.denied.length === 0 ? {} : { notCustomers: [...known.denied] };
}
