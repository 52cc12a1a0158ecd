import type { Rng } from '#protocol/env.ts';
import { everyCustomer, type LimitDefinition } from '#protocol/limit.ts';
import { chaosCustomers } from './chaos-fleet.ts';
import { type Fault, type FaultKind, type FaultOf, faultKinds, Malformation } from './fault-script.ts';
import { pick } from './seeded-rng.ts';

export interface FaultWorld {
  machines: number;
  hubs: number;
  jobs: number;
  leaseTtlMs: number;
  /** Faults happen within this span, ms. */
  spanMs: number;
}

/** A seed draws from at least so many kinds. */
export const leastKinds = 5;

const brokerMethods = [
  'submit',
  'claim',
  'beats',
  'complete',
  'turns',
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
  'admitJobs',
  'recordBrokerEvents',
];

type Port = 'broker' | 'records';
const storeMethod = (rng: Rng): { port: Port; method: string } =>
  rng.next() < 0.5
    ? { port: 'broker', method: pick(rng, brokerMethods) }
    : { port: 'records', method: pick(rng, recordsMethods) };

type Draws = { [K in FaultKind]: (rng: Rng, world: FaultWorld) => Omit<FaultOf<K>, 'atMs' | 'kind'> };

const aMachine = (rng: Rng, world: FaultWorld) => ({ machine: rng.int(0, world.machines - 1) });
const aHub = (rng: Rng, world: FaultWorld) => ({ hub: rng.int(0, world.hubs - 1) });
/** From harmless to well past a lease, in lease times. */
const span = (rng: Rng, world: FaultWorld, fromMs: number, leases: number) =>
  rng.int(fromMs, Math.max(fromMs, Math.round(leases * world.leaseTtlMs)));
/** As often just past the lease, where what was on its way meets whoever has taken its place. */
const aroundLease = (rng: Rng, world: FaultWorld, fromMs: number, leases: number) =>
  rng.next() < 0.5
    ? span(rng, world, fromMs, leases)
    : rng.int(world.leaseTtlMs, Math.round(1.6 * world.leaseTtlMs));
const back = (rng: Rng, world: FaultWorld) => ({ backAfterMs: span(rng, world, 100, 2) });
const spoilt = (rng: Rng) => ({
  how: pick(rng, Malformation.options),
  replaces: rng.next() < 0.5,
  // Past the limit of a minute now and then: the link must be closed.
  frames: rng.next() < 0.7 ? rng.int(1, 3) : rng.int(10, 40),
});

const machineDraws = {
  'machine.crash': (rng, world) => ({
    ...aMachine(rng, world),
    silent: rng.next() < 0.5,
    disk: pick(rng, ['kept', 'unsynced lost', 'wiped'] as const),
    ...back(rng, world),
  }),
  'machine.reclaim': (rng, world) => {
    const taken = Array.from({ length: world.machines }, (_, index) => index).filter(() => rng.next() < 0.4);
    return { machines: taken.length > 0 ? taken : [0], backAfterMs: span(rng, world, 1_000, 4) };
  },
  'machine.freeze': (rng, world) => ({
    ...aMachine(rng, world),
    forMs: aroundLease(rng, world, 1_000, 3),
    first: pick(rng, ['timer', 'io'] as const),
  }),
  'machine.twin': aMachine,
  'machine.drain': (rng, world) => ({
    ...aMachine(rng, world),
    deadlineMs: rng.int(0, world.leaseTtlMs),
    ...back(rng, world),
  }),
  'machine.reconfigure': (rng, world) => ({
    ...aMachine(rng, world),
    slots: rng.int(1, 4),
    ...back(rng, world),
  }),
  'machine.skew': (rng, world) => ({ ...aMachine(rng, world), byMs: rng.int(-300_000, 300_000) }),
  'disk.full': (rng, world) => ({
    ...aMachine(rng, world),
    freeBytes: rng.next() < 0.5 ? 0 : rng.int(0, 1_000_000),
    forMs: span(rng, world, 1_000, 3),
  }),
  'disk.slow': (rng, world) => ({
    ...aMachine(rng, world),
    callMs: rng.int(5, 500),
    forMs: span(rng, world, 1_000, 2),
  }),
  'download.corrupt': (rng, world) => ({ ...aMachine(rng, world), forMs: span(rng, world, 1_000, 2) }),
  'service.crash': aMachine,
  'service.hang': (rng, world) => ({ ...aMachine(rng, world), forMs: span(rng, world, 1_000, 4) }),
  'gpu.lost': (rng, world) => ({ ...aMachine(rng, world), forMs: span(rng, world, 10_000, 4) }),
  'operator.cordon': (rng, world) => ({ ...aMachine(rng, world), forMs: span(rng, world, 1_000, 2) }),
  'operator.drain': (rng, world) => ({
    ...aMachine(rng, world),
    deadlineMs: rng.int(0, world.leaseTtlMs),
    ...back(rng, world),
  }),
} satisfies Partial<Draws>;

const linkDraws = {
  'link.cut': aMachine,
  'link.hold': (rng, world) => ({
    ...aMachine(rng, world),
    direction: pick(rng, ['up', 'down'] as const),
    forMs: aroundLease(rng, world, 500, 2),
  }),
  'link.stall': (rng, world) => ({
    ...aMachine(rng, world),
    forMs: aroundLease(rng, world, 500, 2),
    // By chance alone hardly any completion is on its way when a link stalls.
    from: pick(rng, ['now', 'completion'] as const),
  }),
  'link.vanish': (rng, world) => ({
    ...aMachine(rng, world),
    direction: pick(rng, ['up', 'down', 'both'] as const),
  }),
  'link.partition': (rng, world) => ({
    ...aMachine(rng, world),
    ...aHub(rng, world),
    forMs: span(rng, world, 1_000, 3),
  }),
  'link.malformed': (rng, world) => ({
    ...aMachine(rng, world),
    direction: pick(rng, ['up', 'down'] as const),
    ...spoilt(rng),
  }),
  'peer.cut': aHub,
  'peer.hold': (rng, world) => ({
    ...aHub(rng, world),
    direction: pick(rng, ['up', 'down'] as const),
    forMs: span(rng, world, 500, 1),
  }),
  'peer.partition': (rng, world) => ({ ...aHub(rng, world), forMs: span(rng, world, 1_000, 3) }),
  'peer.malformed': (rng, world) => ({ ...aHub(rng, world), ...spoilt(rng) }),
} satisfies Partial<Draws>;

const storeDraws = {
  'broker.lose': (rng) => ({ again: rng.next() < 0.3 }),
  'broker.rollback': (rng, world) => ({ lostMs: span(rng, world, 1, 1) }),
  'broker.down': (rng, world) => ({ forMs: span(rng, world, 100, 1) }),
  'broker.failover': (rng, world) => ({ lostMs: rng.int(1, 2_000), forMs: span(rng, world, 100, 0.5) }),
  'records.down': (rng, world) => ({ forMs: span(rng, world, 100, 1) }),
  'records.failover': (rng, world) => ({ forMs: span(rng, world, 100, 0.7) }),
  'objects.down': (rng, world) => ({ forMs: span(rng, world, 100, 1) }),
  'reply.lost': (rng, world) => ({ ...aHub(rng, world), ...storeMethod(rng) }),
  'call.stalled': (rng, world) => ({
    ...aHub(rng, world),
    ...storeMethod(rng),
    when: pick(rng, ['before', 'after'] as const),
    forMs: span(rng, world, 100, 2),
  }),
  'wall.jump': (rng) => ({ byMs: rng.int(-20_000, 20_000) }),
} satisfies Partial<Draws>;

/** Small enough to hold what waits, of one customer, of each, of a pool, or of both. */
function drawLimit(rng: Rng): LimitDefinition {
  const [share, rated] = [rng.next(), rng.next() < 0.3];
  const customer = pick(rng, [...chaosCustomers, everyCustomer, everyCustomer] as const);
  const pool = pick(rng, ['fast-lane', 'standard'] as const);
  return {
    ...(share < 0.7 ? { customer } : {}),
    ...(share > 0.4 ? { pool } : {}),
    ...(rated ? { perMinute: rng.int(20, 120) } : { concurrent: rng.int(0, 4) }),
    reason: '',
  };
}

const draws: Draws = {
  ...machineDraws,
  ...linkDraws,
  ...storeDraws,
  'hub.crash': (rng, world) => ({ ...aHub(rng, world), silent: rng.next() < 0.5, ...back(rng, world) }),
  'hub.freeze': (rng, world) => ({ ...aHub(rng, world), forMs: span(rng, world, 500, 3) }),
  'hub.stop': (rng, world) => ({ ...aHub(rng, world), backAfterMs: rng.int(0, 10_000) }),
  'hub.skew': (rng, world) => ({ ...aHub(rng, world), byMs: rng.int(-60_000, 60_000) }),
  'hub.cutoff': (rng, world) => ({
    ...aHub(rng, world),
    port: pick(rng, ['broker', 'records'] as const),
    forMs: span(rng, world, 500, 2),
    waitMs: rng.next() < 0.5 ? 0 : 5_000,
  }),
  'hubs.down': (rng, world) => ({ silent: rng.next() < 0.5, backAfterMs: span(rng, world, 100, 1.5) }),
  'operator.limit': (rng, world) => ({
    name: pick(rng, ['first', 'second', 'third']),
    definition: drawLimit(rng),
    forMs: span(rng, world, 5_000, 4),
  }),
  'operator.pause': (rng, world) => ({
    customer: pick(rng, chaosCustomers),
    forMs: span(rng, world, 1_000, 2),
  }),
  'client.cancel': (rng, world) => ({ job: rng.int(0, world.jobs - 1) }),
  'client.requeue': (rng, world) => ({ job: rng.int(0, world.jobs - 1) }),
};

/**
 * A script for one seed. Swarm testing: each seed draws its own subset of kinds, because faults mask
 * each other; what is left out is as telling as what is in. In order of time.
 */
export function drawFaults(rng: Rng, world: FaultWorld, count: number): Fault[] {
  const ranked = faultKinds
    .map((kind) => ({ kind, rank: rng.fork(`kind ${kind}`).next() }))
    .sort((a, b) => a.rank - b.rank);
  // From a handful of kinds, each of them often, to most of them, each once or so.
  const share = rng.fork('share').next();
  const wanted = Math.max(leastKinds, Math.round(share * 0.8 * ranked.length));
  const kinds = ranked.slice(0, wanted).map(({ kind }) => kind);
  const faults: Fault[] = [];
  for (let index = 0; index < count; index++) {
    const own = rng.fork('fault');
    // Each kind once, as far as they go, so that a seed's mix is what it has drawn.
    const kind = kinds[index] ?? pick(own, kinds);
    const drawn = draws[kind](own, world);
    faults.push({ atMs: own.int(0, world.spanMs), kind, ...drawn } as Fault);
  }
  return faults.sort((a, b) => a.atMs - b.atMs);
}
