import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import type { Connector, ConnectorFactory, ConnectorResult, ConnectorRun } from '#protocol/connector.ts';
import { type Env, sleep } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { DayWatch } from './day-watch.ts';
import type { PlannedJob, PlannedMachine, PlannedModel } from './plan.ts';

export interface DayConnectorOptions {
  machine: PlannedMachine;
  jobs: ReadonlyMap<string, PlannedJob>;
  models: ReadonlyMap<string, PlannedModel>;
  watch: DayWatch;
  /** Failed runs by job, of all machines together: a job that fails once fails wherever it ran first. */
  failed: Map<string, number>;
}

/**
 * The service on a machine of a day: it loads models from disk into the card's memory, keeps them while
 * there is room, and runs for the planned time over the machine's speed. What a job costs is read from
 * the plan by its id: the payload carries only what users would say.
 */
export function dayConnector(options: DayConnectorOptions): ConnectorFactory {
  return ({ env }) => new DayConnector(env, options);
}

class DayConnector implements Connector {
  readonly spec = simulationSpec;
  readonly #env: Env;
  readonly #options: DayConnectorOptions;
  /** MiB by model, least recently used first. */
  readonly #loaded = new Map<string, number>();

  constructor(env: Env, options: DayConnectorOptions) {
    this.#env = env;
    this.#options = options;
  }

  async start(): Promise<void> {}

  async probe(): Promise<void> {}

  async run(run: ConnectorRun): Promise<ConnectorResult> {
    const { machine, jobs, watch } = this.#options;
    const job = jobs.get(run.jobId);
    if (job === undefined) throw new EmpError('INTERNAL', { detail: `${run.jobId} is not in the plan` });
    const at = { jobId: run.jobId, machineId: machine.id };
    const { loadMs, missing } = this.#load(job);
    if (loadMs > 0) await sleep(this.#env.clock, loadMs, run.signal);
    for (const modelId of missing) watch.model({ machineId: machine.id, modelId, became: 'loaded' });
    watch.runStarted(at);
    await sleep(this.#env.clock, job.runMs / machine.speed, run.signal);
    const fails = this.#fails(job);
    watch.runEnded({ ...at, outcome: fails ? 'failed' : 'succeeded' });
    if (fails) throw new EmpError('CONNECTOR_FAILED', { detail: 'the plan lets this run fail' });
    return { outputs: [], data: null };
  }

  async evict(modelId: string): Promise<void> {
    this.#unload(modelId);
  }

  async stop(): Promise<void> {
    this.#loaded.clear();
  }

  /** Makes the job's models the most recent ones in memory; answers which ones were not there, and how long they take, ms. */
  #load(job: PlannedJob): { loadMs: number; missing: string[] } {
    const { machine, models } = this.#options;
    const missing: string[] = [];
    let loadMs = 0;
    for (const id of job.models) {
      const model = models.get(id);
      if (model === undefined) continue;
      if (!this.#loaded.delete(id)) {
        missing.push(id);
        loadMs += model.bytes / machine.diskBytesPerMs;
      }
      this.#loaded.set(id, model.vramMb);
    }
    let usedMb = 0;
    for (const vramMb of this.#loaded.values()) usedMb += vramMb;
    for (const [id, vramMb] of this.#loaded) {
      if (usedMb <= machine.vramMb || job.models.includes(id)) break;
      this.#unload(id);
      usedMb -= vramMb;
    }
    return { loadMs, missing };
  }

  #unload(modelId: string): void {
    const { machine, watch } = this.#options;
    if (this.#loaded.delete(modelId)) watch.model({ machineId: machine.id, modelId, became: 'unloaded' });
  }

  #fails(job: PlannedJob): boolean {
    if (job.failRuns === 'poison') return true;
    const { failed } = this.#options;
    const runs = failed.get(job.id) ?? 0;
    if (runs >= job.failRuns) return false;
    failed.set(job.id, runs + 1);
    return true;
  }
}
