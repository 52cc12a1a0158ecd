import type { Rng } from '#protocol/env.ts';
import type { Incarnation } from '#protocol/names.ts';
import { type DayWatch, deafWatch } from '#simulations/day/day-watch.ts';
import type { DayPlan, PlannedJob, PlannedMachine, PlannedModel } from '#simulations/day/plan.ts';
import type { Copy, FleetMachine, FleetView, RunningJob, WaitingJob } from './policy.ts';

class Machine implements FleetMachine {
  readonly plan: PlannedMachine;
  draining = false;
  readonly running = new Map<string, RunningJob>();
  idleSinceMs: number | null = null;
  readonly onDisk = new Set<string>();
  readonly loaded = new Set<string>();
  readonly copying = new Set<string>();
  /** Of its process, as the hub knows it; null before its first claim or beat. */
  incarnation: Incarnation | null = null;

  constructor(plan: PlannedMachine) {
    this.plan = plan;
  }
}

/** What is known of jobs and machines at each moment of a day, kept by what the day tells. */
export class Fleet implements FleetView {
  readonly waiting = new Map<string, WaitingJob>();
  readonly machines = new Map<string, Machine>();
  readonly models: ReadonlyMap<string, PlannedModel>;
  readonly rng: Rng;
  readonly #clock: { monotonic(): number };
  readonly #jobs: ReadonlyMap<string, PlannedJob>;
  readonly #plans: Map<string, PlannedMachine>;
  readonly #arrivedMs = new Map<string, number>();
  readonly #runs = new Map<string, number>();
  readonly #holder = new Map<string, Machine>();
  readonly #onLeft: (machineId: string) => void;
  readonly #onCopy: (copy: Copy) => void;

  constructor(options: {
    plan: DayPlan;
    clock: { monotonic(): number };
    rng: Rng;
    onLeft: (machineId: string) => void;
    /** Makes the machine fetch the model. */
    onCopy: (copy: Copy) => void;
  }) {
    const { plan } = options;
    this.models = new Map(plan.models.map((model) => [model.id, model]));
    this.rng = options.rng;
    this.#clock = options.clock;
    this.#jobs = new Map(plan.jobs.map((job) => [job.id, job]));
    this.#plans = new Map(plan.machines.map((machine) => [machine.id, machine]));
    this.#onLeft = options.onLeft;
    this.#onCopy = options.onCopy;
  }

  get nowMs(): number {
    return this.#clock.monotonic();
  }

  /** A machine that was not in the plan may start from now on. */
  rented(machine: PlannedMachine): void {
    this.#plans.set(machine.id, machine);
  }

  /** The job may be claimed from now on. */
  enqueue(jobId: string): WaitingJob | null {
    const job = this.#jobs.get(jobId);
    if (job === undefined) return null;
    const arrivedMs = this.#arrivedMs.get(jobId) ?? this.nowMs;
    this.#arrivedMs.set(jobId, arrivedMs);
    const waiting = { job, arrivedMs, runs: this.#runs.get(jobId) ?? 0 };
    this.waiting.set(jobId, waiting);
    return waiting;
  }

  dequeue(jobId: string): void {
    this.waiting.delete(jobId);
  }

  /** A policy wants the model there before anybody asks for it. */
  copy(copy: Copy): void {
    const machine = this.machines.get(copy.machineId);
    if (machine === undefined || machine.onDisk.has(copy.modelId) || machine.copying.has(copy.modelId))
      return;
    machine.copying.add(copy.modelId);
    this.#onCopy(copy);
  }

  asked(machineId: string, options: { incarnation: Incarnation; idle: boolean }): void {
    const machine = this.machines.get(machineId);
    if (machine === undefined) return;
    machine.incarnation = options.incarnation;
    machine.idleSinceMs = options.idle ? (machine.idleSinceMs ?? this.nowMs) : null;
  }

  /** What the day tells it; the rest comes through the Broker. */
  watch(): DayWatch {
    return {
      ...deafWatch,
      claimed: ({ jobId, machineId }) => this.#claimed(jobId, machineId),
      runStarted: ({ jobId }) => this.#started(jobId),
      runEnded: ({ jobId }) => this.#over(jobId),
      runLost: ({ jobId }) => this.#over(jobId),
      jobEnded: ({ jobId }) => {
        this.#over(jobId);
        this.waiting.delete(jobId);
      },
      machineStarted: (machineId) => {
        const plan = this.#plans.get(machineId);
        if (plan !== undefined) this.machines.set(machineId, new Machine(plan));
      },
      machineDraining: (machineId) => {
        const machine = this.machines.get(machineId);
        if (machine !== undefined) machine.draining = true;
        this.#onLeft(machineId);
      },
      machineEnded: (machineId) => {
        this.machines.delete(machineId);
        this.#onLeft(machineId);
      },
      model: ({ machineId, modelId, became }) => {
        const machine = this.machines.get(machineId);
        if (machine === undefined) return;
        if (became === 'onDisk') {
          machine.onDisk.add(modelId);
          machine.copying.delete(modelId);
        } else if (became === 'evicted') machine.onDisk.delete(modelId);
        else if (became === 'loaded') machine.loaded.add(modelId);
        else machine.loaded.delete(modelId);
      },
    };
  }

  #claimed(jobId: string, machineId: string): void {
    const job = this.#jobs.get(jobId);
    const machine = this.machines.get(machineId);
    this.waiting.delete(jobId);
    this.#runs.set(jobId, (this.#runs.get(jobId) ?? 0) + 1);
    if (job === undefined || machine === undefined) return;
    machine.idleSinceMs = null;
    machine.running.set(jobId, { job, claimedMs: this.nowMs, startedMs: null });
    this.#holder.set(jobId, machine);
  }

  #started(jobId: string): void {
    const machine = this.#holder.get(jobId);
    const running = machine?.running.get(jobId);
    if (running !== undefined) machine?.running.set(jobId, { ...running, startedMs: this.nowMs });
  }

  #over(jobId: string): void {
    this.#holder.get(jobId)?.running.delete(jobId);
    this.#holder.delete(jobId);
  }
}
