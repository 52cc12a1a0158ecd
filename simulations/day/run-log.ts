import assert from 'node:assert/strict';
import type { DayPlan, MachineEnding, PlannedIncident, PlannedJob, PlannedMachine } from './plan.ts';

/** How a job ended; null while it has not. */
export type JobEnd = 'succeeded' | 'failed' | 'dead' | 'cancelled';

/** How one execution ended: `released` by drain or reclaim, `lost` with its machine or its lease. */
export type RunOutcome = 'succeeded' | 'failed' | 'released' | 'lost' | 'cancelled';

/** One claim and what came of it. Times are null where it never got there. */
export interface LoggedExecution {
  machine: LoggedMachine;
  claimedMs: number;
  /** Its models were on disk and in memory. */
  modelsReadyMs: number | null;
  startedMs: number | null;
  /** When the queue learned that it had ended: a lost lease ends when it expires. */
  endedMs: number | null;
  outcome: RunOutcome | null;
}

export interface LoggedJob {
  planned: PlannedJob;
  /** When the client asked first. */
  arrivalMs: number;
  endMs: number | null;
  ended: JobEnd | null;
  /** In order of their claims. */
  executions: LoggedExecution[];
}

export interface LoggedMachine {
  planned: PlannedMachine;
  /** Position in `DayLog.machines`. */
  index: number;
  startMs: number;
  /** Takes no work from then on; null where it never drained. */
  drainingMs: number | null;
  endMs: number | null;
  ending: MachineEnding | null;
  /** Executions at a time. */
  slots: number;
  downloadBytes: number;
}

/** What became of a model on a machine, in order of time; `model` is the position in `DayPlan.models`. */
export interface ResidencyEvent {
  atMs: number;
  machine: LoggedMachine;
  model: number;
  kind: 'onDisk' | 'evicted' | 'loaded' | 'unloaded';
}

/**
 * What the runner writes while it plays one day under one policy, in order of time; figures, yardsticks
 * and series are computed from it afterwards. Ids are those of the plan. Every call is a look-up and
 * a store. A call that contradicts the log is a bug of the runner and throws with the ids in it; what a
 * machine says about a job that it no longer holds is counted in `lateWords` and changes nothing.
 */
export class DayLog {
  readonly plan: DayPlan;
  readonly jobs: LoggedJob[] = [];
  readonly machines: LoggedMachine[] = [];
  readonly residency: ResidencyEvent[] = [];
  /** Bytes that arrived from when on, pairwise; in order of time. */
  readonly downloads: { atMs: number[]; bytes: number[] } = { atMs: [], bytes: [] };
  /** How many machines were wanted from when on, in order of time; the plan's, unless they were chosen. */
  readonly wanted: { atMs: number; machines: number }[];
  /** What happened to a fleet that was chosen, in order of time; empty where the plan has it. */
  readonly incidents: PlannedIncident[] = [];
  lateWords = 0;
  /** End of the log; null until `close`. */
  closedMs: number | null = null;

  readonly #plannedJobs: Map<string, PlannedJob>;
  readonly #plannedMachines: Map<string, PlannedMachine>;
  readonly #models: Map<string, number>;
  readonly #jobs = new Map<string, LoggedJob>();
  readonly #machines = new Map<string, LoggedMachine>();
  #nowMs = 0;

  constructor(plan: DayPlan) {
    this.plan = plan;
    this.#plannedJobs = new Map(plan.jobs.map((job) => [job.id, job]));
    this.#plannedMachines = new Map(plan.machines.map((machine) => [machine.id, machine]));
    this.wanted = [...plan.wanted];
    this.#models = new Map(plan.models.map((model, index) => [model.id, index]));
  }

  /** The client asked at `atMs` and the job was accepted, then or later. */
  jobAccepted(jobId: string, atMs: number): void {
    this.#advance(atMs);
    const planned = this.#plannedJobs.get(jobId);
    assert(planned !== undefined, `job ${jobId} is not in the plan`);
    assert(!this.#jobs.has(jobId), `job ${jobId} was accepted twice`);
    const job: LoggedJob = { planned, arrivalMs: atMs, endMs: null, ended: null, executions: [] };
    this.#jobs.set(jobId, job);
    this.jobs.push(job);
  }

  /** An execution of the job that is still open was lost: the queue gave the job to somebody else. */
  claimed(jobId: string, machineId: string, atMs: number): void {
    this.#advance(atMs);
    const job = this.#job(jobId);
    assert(job.ended === null, `job ${jobId} was claimed after its end`);
    const last = job.executions.at(-1);
    if (last !== undefined && last.endedMs === null) this.#endRun(last, atMs, 'lost');
    const machine = this.#machine(machineId);
    job.executions.push({
      machine,
      claimedMs: atMs,
      modelsReadyMs: null,
      startedMs: null,
      endedMs: null,
      outcome: null,
    });
  }

  /** Every model of the job is on the disk and in the memory of the machine. */
  modelsReady(jobId: string, machineId: string, atMs: number): void {
    this.#advance(atMs);
    const execution = this.#open(jobId, machineId);
    if (execution !== null) execution.modelsReadyMs = atMs;
  }

  runStarted(jobId: string, machineId: string, atMs: number): void {
    this.#advance(atMs);
    const execution = this.#open(jobId, machineId);
    if (execution === null) return;
    execution.modelsReadyMs ??= atMs;
    execution.startedMs = atMs;
  }

  /** The slot is free again. */
  runEnded(jobId: string, machineId: string, atMs: number, outcome: RunOutcome): void {
    this.#advance(atMs);
    const execution = this.#open(jobId, machineId);
    if (execution !== null) this.#endRun(execution, atMs, outcome);
  }

  /** The queue took the job from whoever holds it: it was given back, or its lease ran out. */
  runLost(jobId: string, atMs: number, outcome: 'released' | 'lost' | 'cancelled'): void {
    this.#advance(atMs);
    const last = this.#job(jobId).executions.at(-1);
    if (last !== undefined && last.endedMs === null) this.#endRun(last, atMs, outcome);
  }

  /** The end is committed. */
  jobEnded(jobId: string, atMs: number, ended: JobEnd): void {
    this.#advance(atMs);
    const job = this.#job(jobId);
    assert(job.ended === null, `job ${jobId} ended twice, ${job.ended} and ${ended}`);
    job.ended = ended;
    job.endMs = atMs;
    const last = job.executions.at(-1);
    if (last !== undefined && last.endedMs === null) {
      this.#endRun(last, atMs, ended === 'dead' ? 'lost' : ended);
    }
  }

  /** A machine that was not in the plan may start from now on. */
  machineRented(planned: PlannedMachine): void {
    assert(!this.#plannedMachines.has(planned.id), `machine ${planned.id} was rented twice`);
    this.#plannedMachines.set(planned.id, planned);
  }

  /** The fleet should have so many machines from now on. */
  machinesWanted(machines: number, atMs: number): void {
    this.#advance(atMs);
    this.wanted.push({ atMs, machines });
  }

  /** Something happened to a fleet that is not scripted. */
  incident(incident: PlannedIncident): void {
    this.#advance(incident.atMs);
    this.incidents.push(incident);
  }

  machineStarted(machineId: string, atMs: number, slots = 1): void {
    this.#advance(atMs);
    const planned = this.#plannedMachines.get(machineId);
    assert(planned !== undefined, `machine ${machineId} is not in the plan`);
    assert(!this.#machines.has(machineId), `machine ${machineId} started twice`);
    const machine: LoggedMachine = {
      planned,
      index: this.machines.length,
      startMs: atMs,
      drainingMs: null,
      endMs: null,
      ending: null,
      slots,
      downloadBytes: 0,
    };
    this.#machines.set(machineId, machine);
    this.machines.push(machine);
  }

  machineDraining(machineId: string, atMs: number): void {
    this.#advance(atMs);
    this.#machine(machineId).drainingMs ??= atMs;
  }

  machineEnded(machineId: string, atMs: number, ending: MachineEnding): void {
    this.#advance(atMs);
    const machine = this.#machine(machineId);
    assert(machine.endMs === null, `machine ${machineId} ended twice`);
    machine.endMs = atMs;
    machine.ending = ending;
  }

  /** `bytes` more of any model have arrived: one call per piece or per file, as the runner likes. */
  downloaded(machineId: string, bytes: number, atMs: number): void {
    this.#advance(atMs);
    this.#machine(machineId).downloadBytes += bytes;
    this.downloads.atMs.push(atMs);
    this.downloads.bytes.push(bytes);
  }

  /** The file is complete on disk; also for what an image brings with it. */
  modelOnDisk(machineId: string, modelId: string, atMs: number): void {
    this.#reside(machineId, modelId, atMs, 'onDisk');
  }

  modelEvicted(machineId: string, modelId: string, atMs: number): void {
    this.#reside(machineId, modelId, atMs, 'evicted');
  }

  modelLoaded(machineId: string, modelId: string, atMs: number): void {
    this.#reside(machineId, modelId, atMs, 'loaded');
  }

  modelUnloaded(machineId: string, modelId: string, atMs: number): void {
    this.#reside(machineId, modelId, atMs, 'unloaded');
  }

  /** Nothing more will come. What is still open has neither ended nor finished. */
  close(atMs: number): void {
    this.#advance(atMs);
    this.closedMs = atMs;
  }

  #advance(atMs: number): void {
    assert(this.closedMs === null, 'the log is closed');
    assert(atMs >= this.#nowMs, `the log went back from ${this.#nowMs} to ${atMs} ms`);
    this.#nowMs = atMs;
  }

  #job(jobId: string): LoggedJob {
    const job = this.#jobs.get(jobId);
    assert(job !== undefined, `job ${jobId} was never accepted`);
    return job;
  }

  #machine(machineId: string): LoggedMachine {
    const machine = this.#machines.get(machineId);
    assert(machine !== undefined, `machine ${machineId} never started`);
    return machine;
  }

  /** The open execution of the job on this machine; null where the machine does not hold it any more. */
  #open(jobId: string, machineId: string): LoggedExecution | null {
    const last = this.#job(jobId).executions.at(-1);
    assert(last !== undefined, `job ${jobId} was never claimed`);
    if (last.endedMs === null && last.machine.planned.id === machineId) return last;
    this.lateWords++;
    return null;
  }

  #endRun(execution: LoggedExecution, atMs: number, outcome: RunOutcome): void {
    execution.endedMs = atMs;
    execution.outcome = outcome;
  }

  #reside(machineId: string, modelId: string, atMs: number, kind: ResidencyEvent['kind']): void {
    this.#advance(atMs);
    const model = this.#models.get(modelId);
    assert(model !== undefined, `model ${modelId} is not in the plan`);
    this.residency.push({ atMs, machine: this.#machine(machineId), model, kind });
  }
}
