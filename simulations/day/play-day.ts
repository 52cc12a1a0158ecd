import { createHash } from 'node:crypto';
import type { Broker } from '#protocol/broker.ts';
import type { PolicyEntry } from '#simulations/policies/catalogue.ts';
import { Fleet } from '#simulations/policies/fleet.ts';
import type { Copy, Policy } from '#simulations/policies/policy.ts';
import { policyBroker } from '#simulations/policies/policy-broker.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import type { StoreFactory } from '#simulations/stage.ts';
import { embeddedStores } from '#simulations/stores-embedded.ts';
import { AutoFleet, type AutoNotes, shippedScale } from './auto-fleet.ts';
import { auditDay } from './day-audit.ts';
import { type DayWatch, deafWatch, logging, watchAll } from './day-watch.ts';
import { DayWorld, dayTtlMs } from './day-world.ts';
import type { DayPlan } from './plan.ts';
import { DayLog } from './run-log.ts';

export interface DayRun {
  log: DayLog;
  /** SHA-256 over who claimed what when, and how it ended: equal for equal seeds. */
  traceHash: string;
  /** Timers of the virtual clock that fired. */
  events: number;
  /** What was judged when the day was over, and what did not hold, in words. */
  invariants: { checked: number; violated: string[] };
}

/** Jobs that have not ended by then after the day count as unfinished, ms. */
const patienceMs = 4 * 3_600_000;

/** Plays one plan under one policy, in virtual time. Rejects where the run itself could not be made. */
export async function playDay(
  plan: DayPlan,
  options: { policy: PolicyEntry; stores?: StoreFactory | undefined },
): Promise<DayRun> {
  const log = new DayLog(plan);
  const hash = createHash('sha256');
  const clock = { monotonic: () => world?.clock.monotonic() ?? 0 };
  const endings = new Map(plan.machines.map(({ id, ending }) => [id, ending]));
  const line = (text: string) => void hash.update(text);
  const { aroundBroker, fleet, scale } = underPolicy(plan, options.policy, {
    clock,
    copy: (copy) => world?.copy(copy),
  });
  const auto = autoFleet(plan, { clock, scale, log, fleet, line });
  const watches: DayWatch[] = [
    logging(log, clock, (machineId) => auto?.endingOf(machineId) ?? endings.get(machineId) ?? 'lost'),
    tracing(clock, line),
    ...(fleet === null ? [] : [fleet.watch()]),
    ...(auto === null ? [] : [auto.watch()]),
  ];
  let world: DayWorld | null = null;
  world = await DayWorld.open({
    plan,
    stores: options.stores ?? embeddedStores({ leaseTtlMs: dayTtlMs }),
    aroundBroker,
    eviction: options.policy.eviction,
    watch: watchAll(watches),
  });
  auto?.begin(world);
  try {
    await world.play(patienceMs);
    log.close(world.clock.monotonic());
    return {
      log,
      traceHash: hash.digest('hex'),
      events: world.clock.fired,
      invariants: await auditDay(world),
    };
  } finally {
    await world.close();
  }
}

function underPolicy(
  plan: DayPlan,
  { make, name }: PolicyEntry,
  { clock, copy }: { clock: { monotonic(): number }; copy: (copy: Copy) => void },
): {
  aroundBroker: (broker: Broker) => Broker;
  /** What the policy sees; null where what ships decides. */
  fleet: Fleet | null;
  scale: NonNullable<Policy['scale']>;
} {
  if (make === null) return { aroundBroker: (broker) => broker, fleet: null, scale: shippedScale() };
  const rng = seededRng(`policy ${name} ${plan.seed}`);
  const fleet: Fleet = new Fleet({
    plan,
    clock,
    rng: rng.fork('view'),
    onLeft: (machineId) => policy.left?.(fleet, machineId),
    onCopy: copy,
  });
  const policy = make({
    rng: rng.fork('policy'),
    jobs: plan.jobs,
    machines: plan.auto?.kinds ?? plan.machines,
    models: fleet.models,
  });
  return {
    aroundBroker: (broker) => policyBroker(broker, { policy, fleet }),
    fleet,
    scale: policy.scale?.bind(policy) ?? shippedScale(),
  };
}

/** Who chooses the machines of a day that does not script them; null where the plan has them all. */
function autoFleet(
  plan: DayPlan,
  {
    clock,
    scale,
    log,
    fleet,
    line,
  }: {
    clock: { monotonic(): number };
    scale: NonNullable<Policy['scale']>;
    log: DayLog;
    fleet: Fleet | null;
    line: (text: string) => void;
  },
): AutoFleet | null {
  const { auto } = plan;
  if (auto === undefined) return null;
  const notes: AutoNotes = {
    rented(machine) {
      log.machineRented(machine);
      fleet?.rented(machine);
    },
    wanted: (machines) => log.machinesWanted(machines, clock.monotonic()),
    incident(incident) {
      log.incident(incident);
      line(`${incident.atMs} ${incident.kind} ${incident.what}\n`);
    },
  };
  return new AutoFleet({ plan, auto, clock, scale, notes });
}

/** A line for each thing that a later run of the seed must repeat. */
function tracing(clock: { monotonic(): number }, line: (text: string) => void): DayWatch {
  const note = (...parts: readonly string[]) => line(`${clock.monotonic()} ${parts.join(' ')}\n`);
  return {
    ...deafWatch,
    claimed: ({ jobId, machineId }) => note('claimed', jobId, machineId),
    runStarted: ({ jobId, machineId }) => note('started', jobId, machineId),
    runLost: ({ jobId }) => note('lost', jobId),
    jobEnded: ({ jobId, state }) => note('ended', jobId, state),
    machineStarted: (machineId) => note('machine', machineId),
    machineEnded: (machineId) => note('gone', machineId),
  };
}
