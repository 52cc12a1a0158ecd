import { type AutoscaleMemory, autoscale, type StartingOrder } from '#machines/policy/autoscale.ts';
import { whoLeaves } from '#machines/policy/autoscale-leave.ts';
import type { Clock } from '#protocol/env.ts';
import { Fleet } from '#simulations/policies/fleet.ts';
import type { FleetMachine, Policy, ScaleAnswer } from '#simulations/policies/policy.ts';
import { poolNames } from '#simulations/reality/gpu-classes.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { nthRental } from '#simulations/workloads/plan-auto.ts';
import { AutoDemand } from './auto-demand.ts';
import { type DayWatch, deafWatch, watchAll } from './day-watch.ts';
import type { AutoPlan, DayPlan, MachineEnding, PlannedIncident, PlannedMachine } from './plan.ts';

/** What the provider of a day is told, and who hears of it. */
export interface AutoProvider {
  clock: Clock;
  /** Starts at its time; answers how to withdraw the order before that. */
  rent(machine: PlannedMachine): () => void;
  drain(machineId: string): void;
}

export interface AutoNotes {
  /** From now on the machine may start. */
  rented(machine: PlannedMachine): void;
  /** Machines of all pools together, orders included. */
  wanted(machines: number): void;
  incident(incident: PlannedIncident): void;
}

interface Order extends StartingOrder {
  machine: PlannedMachine;
  withdraw: () => void;
}

/** What a policy without a `scale` of its own does: the rules that ship. */
export function shippedScale(): NonNullable<Policy['scale']> {
  let memory: AutoscaleMemory = {};
  return ({ nowMs }, { demands, rules }) => {
    const decided = autoscale({ nowMs, pools: demands, memory }, rules);
    memory = decided.memory;
    return decided.pools;
  };
}

/**
 * The fleet of a day that is not scripted: every interval the policy says how many machines each pool should
 * have, and this asks the provider for more or lets some go. What was asked for starts when the models of
 * reality say so, or never; what runs may be lost, as in a scripted day, and is missed at the next look.
 */
export class AutoFleet {
  readonly #auto: AutoPlan;
  readonly #clock: { monotonic(): number };
  readonly #notes: AutoNotes;
  readonly #scale: NonNullable<Policy['scale']>;
  readonly #view: Fleet;
  readonly #demand: AutoDemand;
  readonly #orders = new Map<string, Order>();
  readonly #rented = new Map<string, number>();
  readonly #plans = new Map<string, PlannedMachine>();
  readonly #leaving = new Set<string>();
  readonly #wanted = new Map<string, number>();
  #provider: AutoProvider | null = null;

  constructor(options: {
    plan: DayPlan;
    auto: AutoPlan;
    clock: { monotonic(): number };
    scale: NonNullable<Policy['scale']>;
    notes: AutoNotes;
  }) {
    const { plan, auto, clock, notes } = options;
    this.#auto = auto;
    this.#clock = clock;
    this.#notes = notes;
    this.#scale = options.scale;
    const rng = seededRng(`scale ${plan.seed}`);
    this.#view = new Fleet({ plan, clock, rng, onLeft: () => {}, onCopy: () => {} });
    this.#demand = new AutoDemand(this.#view, { auto, jobs: plan.jobs });
    for (const machine of plan.machines) {
      this.#plans.set(machine.id, machine);
      this.#rented.set(machine.pool, (this.#rented.get(machine.pool) ?? 0) + 1);
    }
  }

  /** What it must hear of the day; the view first, because the rest asks it. */
  watch(): DayWatch {
    const view = this.#view.watch();
    const again = (jobId: string) => void this.#view.enqueue(jobId);
    return watchAll([
      {
        ...view,
        jobAsked: again,
        runLost(at) {
          view.runLost(at);
          again(at.jobId);
        },
      },
      this.#demand.watch(),
      {
        ...deafWatch,
        machineStarted: (machineId) => this.#started(machineId),
        machineEnded: (machineId) => this.#ended(machineId),
      },
    ]);
  }

  /** Looks for the first time after one interval. */
  begin(provider: AutoProvider): void {
    this.#provider = provider;
    for (const machine of this.#plans.values()) this.#tellAway(machine);
    this.#lookLater();
  }

  /** How a machine that has ended went. */
  endingOf(machineId: string): MachineEnding {
    const plan = this.#plans.get(machineId);
    if (plan?.ending === 'lost' && this.#clock.monotonic() >= plan.endMs) return 'lost';
    return this.#leaving.has(machineId) ? 'scale-in' : (plan?.ending ?? 'lost');
  }

  #lookLater(): void {
    const { clock } = this.#asked();
    clock.setTimeout(() => {
      this.#look();
      this.#lookLater();
    }, this.#auto.everyMs);
  }

  #asked(): AutoProvider {
    if (this.#provider === null) throw new RangeError('the fleet has not begun');
    return this.#provider;
  }

  #look(): void {
    const machines = [...this.#view.machines.values()].filter((machine) => this.#takesWork(machine));
    const starting = Map.groupBy(this.#orders.values(), ({ machine }) => machine.pool);
    const demands = this.#demand.look(machines, starting);
    const answers = this.#scale(this.#view, { demands, rules: this.#auto.rules });
    this.#refuseBeyondBounds(answers);
    const before = this.#total();
    for (const answer of answers) {
      for (const id of answer.giveUp) this.#withdraw(id, 'not delivered');
      this.#follow(
        answer,
        machines.filter(({ plan }) => plan.pool === answer.pool),
      );
    }
    if (this.#total() !== before) this.#notes.wanted(this.#total());
  }

  #total(): number {
    return [...this.#wanted.values()].reduce((sum, machines) => sum + machines, 0);
  }

  /** One that was cut off counts as lost, also when it is back: its place has been filled. */
  #takesWork({ plan, draining }: FleetMachine): boolean {
    return !draining && (plan.away === null || this.#clock.monotonic() < plan.away.fromMs);
  }

  /** A policy that asks for more than it may is wrong, and a fleet that hid it would compare nothing. */
  #refuseBeyondBounds(answers: readonly ScaleAnswer[]): void {
    const { min, max, pools } = this.#auto.rules;
    let total = 0;
    let most = 0;
    for (const { pool, wanted } of answers) {
      const bounds = pools[pool] ?? { min: 0, max };
      total += wanted;
      most += bounds.max;
      if (!Number.isInteger(wanted) || wanted < bounds.min || wanted > bounds.max)
        throw new RangeError(
          `the policy wants ${wanted} machines of ${pool}, allowed are ${bounds.min} to ${bounds.max}`,
        );
    }
    const least = Math.min(min, most);
    if (total > max || total < least)
      throw new RangeError(`the policy wants ${total} machines, allowed are ${least} to ${max}`);
  }

  #follow({ pool, wanted, reason }: ScaleAnswer, running: readonly FleetMachine[]): void {
    const known = this.#wanted.get(pool);
    const orders = [...this.#orders.values()].filter(({ machine }) => machine.pool === pool);
    if (known !== wanted) {
      const was = known === undefined ? `${running.length + orders.length} there` : `was ${known}`;
      this.#tell('wanted', `${pool} ${wanted}, ${was}: ${reason}`);
      this.#wanted.set(pool, wanted);
    }
    const surplus = running.length + orders.length - wanted;
    for (let missing = surplus; missing < 0; missing++) this.#order(pool);
    if (surplus <= 0) return;
    const { withdraw, drain } = this.#whoLeaves(surplus, orders, running);
    for (const id of withdraw) this.#withdraw(id, 'withdrawn');
    for (const id of drain) {
      this.#leaving.add(id);
      this.#asked().drain(id);
    }
  }

  #whoLeaves(surplus: number, starting: readonly Order[], running: readonly FleetMachine[]) {
    const copies = new Map<string, number>();
    for (const { onDisk } of this.#view.machines.values())
      for (const modelId of onDisk) copies.set(modelId, (copies.get(modelId) ?? 0) + 1);
    const nowMs = this.#clock.monotonic();
    return whoLeaves({
      surplus,
      starting,
      drainMs: running[0]?.plan.drainMs ?? 0,
      machines: running.map((machine) => ({
        machineId: machine.plan.id,
        // One slot: what is left of all its jobs is left of the one that runs.
        runs: [...machine.running.values()].map(({ claimedMs }) => ({
          ranMs: nowMs - claimedMs,
          leftMs: this.#demand.leftMs(machine),
        })),
        residencyMs: this.#demand.residencyMs(machine, copies),
      })),
    });
  }

  #order(pool: string): void {
    const name = poolNames.find((one) => one === pool);
    if (name === undefined) throw new RangeError(`nobody rents machines of the pool ${pool}`);
    const nth = (this.#rented.get(pool) ?? 0) + 1;
    this.#rented.set(pool, nth);
    const askedMs = this.#clock.monotonic();
    const machine = nthRental(this.#auto.rentals, { pool: name, nth, askedMs, running: false });
    this.#plans.set(machine.id, machine);
    this.#view.rented(machine);
    this.#notes.rented(machine);
    const withdraw = machine.startMs === null ? () => {} : this.#asked().rent(machine);
    this.#orders.set(machine.id, { id: machine.id, askedMs, machine, withdraw });
  }

  #withdraw(id: string, kind: 'withdrawn' | 'not delivered'): void {
    this.#orders.get(id)?.withdraw();
    this.#orders.delete(id);
    this.#tell(kind, id);
  }

  #started(machineId: string): void {
    const order = this.#orders.get(machineId);
    if (order === undefined) return;
    this.#orders.delete(machineId);
    this.#demand.started(order.machine.pool, this.#clock.monotonic() - order.askedMs);
    this.#tellAway(order.machine);
  }

  #ended(machineId: string): void {
    const ending = this.endingOf(machineId);
    const away = this.#plans.get(machineId)?.away ?? null;
    // The loss of a zombie was told when it was cut off.
    if (ending !== 'stays' && (away === null || ending === 'scale-in')) this.#tell(ending, machineId);
  }

  /** A zombie counts as lost while it is away, if it was not told to go before. */
  #tellAway({ id, away }: PlannedMachine): void {
    if (away === null) return;
    const { clock } = this.#asked();
    const tell = (kind: 'lost' | 'back') => {
      if (this.#view.machines.get(id)?.draining === false) this.#tell(kind, id);
    };
    clock.setTimeout(() => tell('lost'), away.fromMs - clock.monotonic());
    clock.setTimeout(() => tell('back'), away.untilMs - clock.monotonic());
  }

  #tell(kind: PlannedIncident['kind'], what: string): void {
    this.#notes.incident({ atMs: this.#clock.monotonic(), kind, what });
  }
}
