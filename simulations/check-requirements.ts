import { machineKey } from '#protocol/names.ts';
import type { MachineClass, Requirements } from '#protocol/requirements.ts';
import { type Checker, Violation } from './observation.ts';

const name = 'I5: no claim violates a hard requirement';

/** A job as far as machines must have something for it. */
export interface Wanted {
  service: string;
  customer: string;
  requirements: Requirements;
}

/** Letters and digits of a card's name without maker, series and memory: enough for the cards of these worlds. */
const cardOf = (printed: string) => printed.replace(/nvidia|geforce|\(.*\)|[^a-z0-9]/gi, '').toLowerCase();

const versionOf = (text: string) => {
  const [major = 0, minor = 0, patch = 0] = text.split('.').map(Number);
  return (major * 1_000_000 + minor) * 1_000_000 + patch;
};

/** Of an interval as rows have it, `>=1.0.0 <2.0.0`. */
const isWithin = (version: string, interval: string) =>
  interval.split(' ').every((bound) => {
    const [own, limit] = [versionOf(version), versionOf(bound.replace(/^[<>=]+/, ''))];
    return bound.startsWith('>=') ? own >= limit : own < limit;
  });

/** Whom the rule of a machine shuts out, in words; null where it admits the customer. */
function shutOut({ customers }: MachineClass, { customer, requirements }: Wanted): string | null {
  const owner = customers && 'strict' in customers ? customers.strict : null;
  if (requirements.isolation === 'strict' && owner !== customer) return `isolation for ${customer}`;
  if (owner !== null && owner !== customer) return `room for ${customer}, it is ${owner}'s`;
  if (customers && 'allow' in customers && !customers.allow.includes(customer))
    return `leave for ${customer}`;
  if (customers && 'deny' in customers && customers.deny.includes(customer)) return `leave for ${customer}`;
  return null;
}

/** A reserved machine takes what asks by name for one of its tags; nothing else about the job counts. */
function keptFor({ reservedFor }: MachineClass, { requirements }: Wanted): string | null {
  if (reservedFor === undefined) return null;
  const named = new Set(requirements.tags);
  for (const tag of reservedFor) if (named.has(tag)) return null;
  return `leave for jobs that do not name ${reservedFor.join(' or ')}`;
}

/** What the machine lacks, in words; null where it has all. Written apart from the matching of the hubs. */
export function lacking(machineId: string, offers: MachineClass, wanted: Wanted): string | null {
  const { service, requirements } = wanted;
  const offered = offers.services.find((each) => each.service === service);
  if (!offered) return `service ${service}`;
  for (const size of ['vramMb', 'ramMb', 'diskMb', 'cpuCores'] as const) {
    const needed = requirements[size];
    if (needed !== undefined && offers[size] < needed) return `${size} ${needed}`;
  }
  for (const tag of requirements.tags ?? []) if (!offers.tags.includes(tag)) return `tag ${tag}`;
  for (const tag of requirements.withoutTags ?? []) if (offers.tags.includes(tag)) return `no tag ${tag}`;
  const { region, environment, gpu, connectorVersion, machineId: pin } = requirements;
  if (region !== undefined && offers.region !== region) return `region ${region}`;
  if (environment !== undefined && offers.environment !== environment) return `environment ${environment}`;
  const cards = offers.gpus ?? [];
  if (gpu !== undefined && (cards.length === 0 || cards.some((card) => !gpu.map(cardOf).includes(card))))
    return `cards ${gpu.join(' or ')} alone`;
  if (connectorVersion !== undefined && !isWithin(offered.version, connectorVersion))
    return `version ${connectorVersion}`;
  if (pin !== undefined && machineId !== pin) return `machine ${pin}`;
  return keptFor(offers, wanted) ?? shutOut(offers, wanted);
}

/**
 * Of every grant: the job as it was submitted against the class with which its holder enrolled. The
 * Broker sees neither; groups, their cache and the claim's list lie between.
 */
export function requirementsHold(): Checker {
  const jobs = new Map<string, Wanted>();
  const machines = new Map<string, MachineClass>();
  return {
    name,
    observe(seen) {
      if (seen.kind === 'records' && seen.method === 'submitJobs')
        for (const { id, service, customer, requirements } of seen.args[0])
          if (!jobs.has(id)) jobs.set(id, { service, customer, requirements });
      if (seen.kind === 'records' && seen.method === 'enrolMachine')
        machines.set(machineKey(seen.answer), seen.args[0].machineClass);
      if (seen.kind !== 'broker' || seen.method !== 'claim' || seen.answer.kind !== 'leased') return;
      const { jobId } = seen.answer.lease;
      const [holder, wanted] = [machineKey(seen.args[0]), jobs.get(jobId)];
      const offers = machines.get(holder);
      if (!wanted || !offers) return;
      const lacks = lacking(seen.args[0].machineId, offers, wanted);
      if (lacks !== null)
        throw new Violation(name, { jobId, detail: `${jobId} went to ${holder}, which has not ${lacks}` });
    },
  };
}
