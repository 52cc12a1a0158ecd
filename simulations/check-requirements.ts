import { type MachineRef, machineKey } from '#protocol/names.ts';
import type { MachineClass, Requirements } from '#protocol/requirements.ts';
import { type Checker, Violation } from './observation.ts';

const name = 'I5: no claim violates a hard requirement';

interface Wanted {
  service: string;
  requirements: Requirements;
}

/** What the machine lacks, in words; null where it has all. Written apart from the matching of the hubs. */
function lacking(machine: MachineRef, offers: MachineClass, wanted: Wanted): string | null {
  const { service, requirements } = wanted;
  if (!offers.services.some((each) => each.service === service)) return `service ${service}`;
  for (const size of ['vramMb', 'ramMb', 'diskMb', 'cpuCores'] as const) {
    const needed = requirements[size];
    if (needed !== undefined && offers[size] < needed) return `${size} ${needed}`;
  }
  for (const tag of requirements.tags ?? []) if (!offers.tags.includes(tag)) return `tag ${tag}`;
  for (const tag of requirements.withoutTags ?? []) if (offers.tags.includes(tag)) return `no tag ${tag}`;
  if (requirements.region !== undefined && offers.region !== requirements.region)
    return `region ${requirements.region}`;
  if (requirements.machineId !== undefined && machine.machineId !== requirements.machineId)
    return `machine ${requirements.machineId}`;
  return null;
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
        for (const { id, service, requirements } of seen.args[0])
          if (!jobs.has(id)) jobs.set(id, { service, requirements });
      if (seen.kind === 'records' && seen.method === 'enrolMachine')
        machines.set(machineKey(seen.answer), seen.args[0].machineClass);
      if (seen.kind !== 'broker' || seen.method !== 'claim' || seen.answer.kind !== 'leased') return;
      const { jobId } = seen.answer.lease;
      const [holder, wanted] = [machineKey(seen.args[0]), jobs.get(jobId)];
      const offers = machines.get(holder);
      if (!wanted || !offers) return;
      const lacks = lacking(seen.args[0], offers, wanted);
      if (lacks !== null)
        throw new Violation(name, { jobId, detail: `${jobId} went to ${holder}, which has not ${lacks}` });
    },
  };
}
