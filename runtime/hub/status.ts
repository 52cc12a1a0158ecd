import type { BrokerStats } from '#protocol/broker.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { JobState } from '#protocol/job.ts';
import type { Pause } from '#protocol/records.ts';
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
  /** Pools and services that are held back. */
  pauses: Pause[];
  /** The other hubs on these stores. */
  hubs: PeerView[];
  counters: HubCounters;
}

export async function hubStatus(hub: Hub, stores: StoreNames): Promise<HubStatus> {
  const machines = { joined: 0, lost: 0, left: 0, linked: hub.links.size };
  for (const row of await hub.records.listMachines({ seenAfterMs: null })) machines[row.state]++;
  return {
    version: hubVersion,
    hubId: hub.hubId,
    startedAtMs: hub.startedAtMs,
    stores,
    broker: await brokerStats(hub),
    jobs: await hub.records.countJobs({}),
    machines,
    pauses: await hub.records.listPauses(),
    hubs: hub.peers.list(),
    counters: { ...hub.counters },
  };
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
