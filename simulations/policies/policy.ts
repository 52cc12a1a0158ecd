import type { AutoscaleRules, PoolDecision, PoolDemand } from '#machines/policy/autoscale.ts';
import type { Rng } from '#protocol/env.ts';
import type { MachineKind, PlannedJob, PlannedMachine, PlannedModel } from '#simulations/day/plan.ts';

/** A job that waits, as policies see it. */
export interface WaitingJob {
  readonly job: PlannedJob;
  /** When it was first asked for; a job that came back keeps it. */
  readonly arrivedMs: number;
  /** Executions so far. */
  readonly runs: number;
}

export interface RunningJob {
  readonly job: PlannedJob;
  readonly claimedMs: number;
  /** When the work itself began; null while models are on their way. */
  readonly startedMs: number | null;
}

/** A machine that has joined and has not left, as policies see it: without delay, which flatters them all alike. */
export interface FleetMachine {
  readonly plan: PlannedMachine;
  readonly draining: boolean;
  readonly running: ReadonlyMap<string, RunningJob>;
  /** It asked for work and found none. */
  readonly idleSinceMs: number | null;
  readonly onDisk: ReadonlySet<string>;
  readonly loaded: ReadonlySet<string>;
  /** Models that were asked for ahead of any job and have not arrived. */
  readonly copying: ReadonlySet<string>;
}

export interface FleetView {
  readonly nowMs: number;
  /** Oldest first. */
  readonly waiting: ReadonlyMap<string, WaitingJob>;
  readonly machines: ReadonlyMap<string, FleetMachine>;
  readonly models: ReadonlyMap<string, PlannedModel>;
  readonly rng: Rng;
}

/** What a policy may look at when it says how many machines there should be. */
export interface ScaleQuestion {
  /** Queue, arrivals, machines and orders, pool by pool. */
  demands: readonly PoolDemand[];
  /** Its bounds hold for every policy. */
  rules: AutoscaleRules;
}

/** Machines that a pool should have, those on their way included; `giveUp` are orders that it no longer believes. */
export type ScaleAnswer = Pick<PoolDecision, 'pool' | 'wanted' | 'giveUp' | 'reason'>;

export interface Copy {
  machineId: string;
  modelId: string;
}

/**
 * One way to decide who runs what. Decisions are pure functions of the view and of what the policy
 * itself remembers; the world makes them true through the claims, caches and leases that ship.
 */
export interface Policy {
  readonly name: string;
  /** What this machine, which has a free slot, should run next; null = nothing now. */
  choose(view: FleetView, machine: FleetMachine): string | null;
  /** Which of the idle machines should be told of this job; null = none. */
  place(view: FleetView, waiting: WaitingJob): string | null;
  /** A job has come, or has come back. */
  arrived?(view: FleetView, waiting: WaitingJob): void;
  /** The machine has left: what was meant for it must go elsewhere. */
  left?(view: FleetView, machineId: string): void;
  /** Models to fetch ahead of demand; asked after each arrival. */
  copies?(view: FleetView, waiting: WaitingJob): readonly Copy[];
  /**
   * How many machines each pool should have; asked every control interval of a day that does not script its
   * fleet, and an answer beyond the bounds ends the run. Left out: the autoscaler that ships.
   */
  scale?(view: FleetView, asked: ScaleQuestion): readonly ScaleAnswer[];
}

/** Makes a policy for one run: what it remembers belongs to that run. */
export type PolicyMaker = (world: PolicyWorld) => Policy;

/** What a policy may know before the run: the plan, for those that know the future. */
export interface PolicyWorld {
  rng: Rng;
  jobs: readonly PlannedJob[];
  /** Of the plan; where the fleet is not scripted, the kinds that may be rented stand for those that will be. */
  machines: readonly MachineKind[];
  models: ReadonlyMap<string, PlannedModel>;
}
