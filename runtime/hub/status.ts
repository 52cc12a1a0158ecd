import { classMeets } from '#machines/policy/matching.ts';
import type { BrokerStats } from '#protocol/broker.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { JobState } from '#protocol/job.ts';
import type { MachineId } from '#protocol/names.ts';
import type { MachineRow, Pause } from '#protocol/records.ts';
import type { MachineClass } from '#protocol/requirements.ts';
import { hubVersion } from '#runtime/hub-version.ts';
import type { Hub, HubCounters } from './hub.ts';
import type { PeerView } from './peers.ts';

/** Which stores this hub runs on, for people: named by whoever opened them. */
export interface StoreNames {
  records: string;
  broker: string;
  objects: string;
  /** Whether a restart of the hub finds its jobs again. */
  durable: boolean;
  dataDir: string | null;
}

export interface HubStatus {
  version: string;
  hubId: string;
  startedAtMs: number;
  stores: StoreNames;
  /** Null while the Broker does not answer. */
  broker: Omit<BrokerStats, 'lanes'> | null;
  jobs: Record<JobState, number>;
  machines: { joined: number; lost: number; left: number; linked: number };
  /** Jobs that wait in the Broker and that no joined machine may run, most first; of the groups in `broker`. */
  unserved: { service: string; waiting: number }[];
  /** Pools and services that are held back. */
  pauses: Pause[];
  /** The other hubs on these stores. */
  hubs: PeerView[];
  counters: HubCounters;
}

export async function hubStatus(hub: Hub, stores: StoreNames): Promise<HubStatus> {
  const machines = { joined: 0, lost: 0, left: 0, linked: hub.links.size };
  const rows = await hub.records.listMachines({ seenAfterMs: null });
  for (const row of rows) machines[row.state]++;
  const broker = await brokerStats(hub);
  return {
    version: hubVersion,
    hubId: hub.hubId,
    startedAtMs: hub.startedAtMs,
    stores,
    broker,
    jobs: await hub.records.countJobs({}),
    machines,
    unserved: await unservedIn(hub, broker?.groups ?? [], rows),
    pauses: await hub.records.listPauses(),
    hubs: hub.peers.list(),
    counters: { ...hub.counters },
  };
}

/** Judged once for each class of machine: fleets are large, their classes few. */
async function unservedIn(
  hub: Hub,
  groups: BrokerStats['groups'],
  rows: readonly MachineRow[],
): Promise<HubStatus['unserved']> {
  const classes = new Map<string, { machineClass: MachineClass; machineIds: Set<MachineId> }>();
  for (const { state, classId, machineClass, machineId } of rows) {
    if (state !== 'joined') continue;
    const known = classes.get(classId) ?? { machineClass, machineIds: new Set() };
    classes.set(classId, known);
    known.machineIds.add(machineId);
  }
  // Interned by other hubs since this one last looked.
  if (groups.some(({ group }) => hub.groups.get(group) === null)) await hub.groups.refresh();
  const waitingOf = new Map<string, number>();
  for (const { group: groupId, waiting } of groups) {
    const group = hub.groups.get(groupId);
    if (group === null) continue;
    const pin = group.requirements.machineId;
    const isServed = [...classes.values()].some(
      ({ machineClass, machineIds }) =>
        (pin === undefined || machineIds.has(pin)) && classMeets(machineClass, group),
    );
    if (!isServed) waitingOf.set(group.service, (waitingOf.get(group.service) ?? 0) + waiting);
  }
  return [...waitingOf]
    .map(([service, waiting]) => ({ service, waiting }))
    .sort((one, other) => other.waiting - one.waiting || (one.service < other.service ? -1 : 1));
}

async function brokerStats(hub: Hub): Promise<HubStatus['broker']> {
  try {
    const { lanes: _, ...stats } = await hub.broker.stats();
    return stats;
  } catch (error) {
    hub.env.log.warn('broker.stats.failed', { detail: toEmpError(error, 'BROKER_UNAVAILABLE').message });
    return null;
  }
}
