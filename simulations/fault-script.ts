import type { Rng } from '#protocol/env.ts';
import { pick } from './seeded-rng.ts';

/**
 * What goes wrong in a run, and when: plain data, drawn before the run begins, so that a failing run
 * is made smaller by deleting lines. Times are ms since the beginning of the run; machines and hubs
 * are numbered from 0.
 */
export type Fault = {
  atMs: number;
} /** The process ends without a word and comes back `backAfterMs` later as a new one. */ & (
  | {
      kind: 'machine.crash';
      machine: number;
      silent: boolean;
      disk: 'kept' | 'unsynced lost' | 'wiped';
      backAfterMs: number;
    }
  /** Stands still and goes on as if nothing had happened: a suspended VM, a zombie if long enough. */
  | { kind: 'machine.freeze'; machine: number; forMs: number; first: 'timer' | 'io' }
  /** The provider starts a second container under the same machine id. */
  | { kind: 'machine.twin'; machine: number }
  /** The provider announces a reclaim; the machine drains, ends and comes back later. */
  | { kind: 'machine.drain'; machine: number; deadlineMs: number; backAfterMs: number }
  | { kind: 'machine.skew'; machine: number; byMs: number }
  | { kind: 'link.cut'; machine: number }
  | { kind: 'link.hold'; machine: number; direction: 'up' | 'down'; forMs: number }
  /** Half-open: frames vanish and nobody is told. */
  | { kind: 'link.vanish'; machine: number; direction: 'up' | 'down' | 'both' }
  /** The Broker's server comes back empty; perhaps once more while it is being rebuilt. */
  | { kind: 'broker.lose'; again: boolean }
  /** The Broker's server comes back without its last writes. */
  | { kind: 'broker.rollback'; lostMs: number }
  | { kind: 'broker.down'; forMs: number }
  | { kind: 'records.down'; forMs: number }
  | { kind: 'hub.crash'; hub: number; silent: boolean; backAfterMs: number }
  | { kind: 'hub.freeze'; hub: number; forMs: number }
  /** The links between this hub and others end. */
  | { kind: 'peer.cut'; hub: number }
  /** What the hub says to others, or hears of them, waits. */
  | { kind: 'peer.hold'; hub: number; direction: 'up' | 'down'; forMs: number }
  /** The hub and the others do not reach each other; machines, clients and stores reach all of them. */
  | { kind: 'peer.partition'; hub: number; forMs: number }
  /** The next call of that method does its work and its reply is lost. */
  | { kind: 'reply.lost'; hub: number; port: 'broker' | 'records'; method: string }
  /** The next call of that method is stalled for longer than anybody planned, before or after its effect. */
  | {
      kind: 'call.stalled';
      hub: number;
      port: 'broker' | 'records';
      method: string;
      when: 'before' | 'after';
      forMs: number;
    }
  /** The stores' and hubs' wall clock steps. */
  | { kind: 'wall.jump'; byMs: number }
  | { kind: 'client.cancel'; job: number }
  /** An operator requeues one of the jobs that ended without success; refused for any other job. */
  | { kind: 'client.requeue'; job: number }
);
export type FaultKind = Fault['kind'];

export interface FaultWorld {
  machines: number;
  hubs: number;
  jobs: number;
  leaseTtlMs: number;
  /** Faults happen within this span, ms. */
  spanMs: number;
}

const brokerMethods = [
  'submit',
  'claim',
  'beats',
  'complete',
  'exit',
  'cancel',
  'enrol',
  'leave',
  'lapsed',
  'reconcileFinish',
];
const recordsMethods = [
  'submitJobs',
  'markBrokered',
  'completeJob',
  'exitJob',
  'requestCancel',
  'finishCancel',
  'requeueJob',
  'recordBrokerEvents',
];

type Draw = (rng: Rng, world: FaultWorld) => Omit<Fault, 'atMs'>;

const storeMethod = (rng: Rng): { port: 'broker' | 'records'; method: string } =>
  rng.next() < 0.5
    ? { port: 'broker', method: pick(rng, brokerMethods) }
    : { port: 'records', method: pick(rng, recordsMethods) };

/** How one fault of each kind is drawn. Durations reach from harmless to well past a lease. */
const draws: { [K in FaultKind]: Draw } = {
  'machine.crash': (rng, world) => ({
    kind: 'machine.crash',
    machine: rng.int(0, world.machines - 1),
    silent: rng.next() < 0.5,
    disk: pick(rng, ['kept', 'unsynced lost', 'wiped'] as const),
    backAfterMs: rng.int(100, 2 * world.leaseTtlMs),
  }),
  'machine.freeze': (rng, world) => ({
    kind: 'machine.freeze',
    machine: rng.int(0, world.machines - 1),
    forMs: rng.int(1_000, 3 * world.leaseTtlMs),
    first: pick(rng, ['timer', 'io'] as const),
  }),
  'machine.twin': (rng, world) => ({ kind: 'machine.twin', machine: rng.int(0, world.machines - 1) }),
  'machine.drain': (rng, world) => ({
    kind: 'machine.drain',
    machine: rng.int(0, world.machines - 1),
    deadlineMs: rng.int(0, world.leaseTtlMs),
    backAfterMs: rng.int(100, 2 * world.leaseTtlMs),
  }),
  'machine.skew': (rng, world) => ({
    kind: 'machine.skew',
    machine: rng.int(0, world.machines - 1),
    byMs: rng.int(-300_000, 300_000),
  }),
  'link.cut': (rng, world) => ({ kind: 'link.cut', machine: rng.int(0, world.machines - 1) }),
  'link.hold': (rng, world) => ({
    kind: 'link.hold',
    machine: rng.int(0, world.machines - 1),
    direction: pick(rng, ['up', 'down'] as const),
    forMs: rng.int(500, 2 * world.leaseTtlMs),
  }),
  'link.vanish': (rng, world) => ({
    kind: 'link.vanish',
    machine: rng.int(0, world.machines - 1),
    direction: pick(rng, ['up', 'down', 'both'] as const),
  }),
  'broker.lose': (rng) => ({ kind: 'broker.lose', again: rng.next() < 0.3 }),
  'broker.rollback': (rng, world) => ({ kind: 'broker.rollback', lostMs: rng.int(1, world.leaseTtlMs) }),
  'broker.down': (rng, world) => ({ kind: 'broker.down', forMs: rng.int(100, world.leaseTtlMs) }),
  'records.down': (rng, world) => ({ kind: 'records.down', forMs: rng.int(100, world.leaseTtlMs) }),
  'hub.crash': (rng, world) => ({
    kind: 'hub.crash',
    hub: rng.int(0, world.hubs - 1),
    silent: rng.next() < 0.5,
    backAfterMs: rng.int(100, 2 * world.leaseTtlMs),
  }),
  'hub.freeze': (rng, world) => ({
    kind: 'hub.freeze',
    hub: rng.int(0, world.hubs - 1),
    forMs: rng.int(500, 3 * world.leaseTtlMs),
  }),
  'peer.cut': (rng, world) => ({ kind: 'peer.cut', hub: rng.int(0, world.hubs - 1) }),
  'peer.hold': (rng, world) => ({
    kind: 'peer.hold',
    hub: rng.int(0, world.hubs - 1),
    direction: pick(rng, ['up', 'down'] as const),
    forMs: rng.int(500, world.leaseTtlMs),
  }),
  'peer.partition': (rng, world) => ({
    kind: 'peer.partition',
    hub: rng.int(0, world.hubs - 1),
    forMs: rng.int(1_000, 3 * world.leaseTtlMs),
  }),
  'reply.lost': (rng, world) => ({
    kind: 'reply.lost',
    hub: rng.int(0, world.hubs - 1),
    ...storeMethod(rng),
  }),
  'call.stalled': (rng, world) => ({
    kind: 'call.stalled',
    hub: rng.int(0, world.hubs - 1),
    ...storeMethod(rng),
    when: pick(rng, ['before', 'after'] as const),
    forMs: rng.int(100, 2 * world.leaseTtlMs),
  }),
  'wall.jump': (rng) => ({ kind: 'wall.jump', byMs: rng.int(-20_000, 20_000) }),
  'client.cancel': (rng, world) => ({ kind: 'client.cancel', job: rng.int(0, world.jobs - 1) }),
  'client.requeue': (rng, world) => ({ kind: 'client.requeue', job: rng.int(0, world.jobs - 1) }),
};

export const faultKinds = Object.keys(draws) as FaultKind[];

/**
 * A script for one seed. Swarm testing: each seed draws its own subset of kinds, because faults mask
 * each other; what is left out is as telling as what is in. In order of time.
 */
export function drawFaults(rng: Rng, world: FaultWorld, count: number): Fault[] {
  const chosen = faultKinds.filter((kind) => rng.fork(`kind ${kind}`).next() < 0.5);
  const kinds = chosen.length > 0 ? chosen : faultKinds;
  const faults: Fault[] = [];
  for (let index = 0; index < count; index++) {
    const own = rng.fork('fault');
    const fault = draws[pick(own, kinds)](own, world);
    faults.push({ atMs: own.int(0, world.spanMs), ...fault } as Fault);
  }
  return faults.sort((a, b) => a.atMs - b.atMs);
}
