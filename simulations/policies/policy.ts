import type { Rng } from '#protocol/env.ts';
import type { PlannedJob, PlannedMachine, PlannedModel } from '#simulations/day/plan.ts';

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
}

/** Makes a policy for one run: what it remembers belongs to that run. */
export type PolicyMaker = (world: PolicyWorld) => Policy;

/** What a policy may know before the run: the plan, for those that know the future. */
export interface PolicyWorld {
  rng: Rng;
  jobs: readonly PlannedJob[];
  machines: readonly PlannedMachine[];
  models: ReadonlyMap<string, PlannedModel>;
}
