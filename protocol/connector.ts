import type { z } from 'zod';
import type { Env } from './env.ts';
import type { JsonObject, JsonValue } from './json.ts';

/** A file that was staged for a run: on this machine's disk, size and hash already checked. */
export interface StagedInput {
  /** Name the submitter gave it; connectors refer to inputs by it. */
  name: string;
  path: string;
  bytes: number;
  mime: string;
}

/** A registered model that is resident on this machine and pinned until the run ends. */
export interface ResidentModel {
  /** Registry id, e.g. `esrgan-slim-x2`. */
  id: string;
  /** Folder that holds the model's files under their registered names. */
  dir: string;
  bytes: number;
}

export interface RunProgress {
  /** Share of the work done, 0 to 1; never falls within one run. */
  fraction: number;
  message?: string;
  /** Small picture of the state of the work, at most 64 KiB encoded. */
  preview?: { mime: string; bytes: Uint8Array };
}

/** One execution of one job, as a connector sees it. */
export interface ConnectorRun {
  jobId: string;
  /** Fencing token, decimal string. */
  token: string;
  /** Already validated by the connector's own schema. */
  payload: JsonObject;
  inputs: StagedInput[];
  models: ResidentModel[];
  /** Empty folder of this run; whatever the result names must lie in it. Removed afterwards. */
  outDir: string;
  /** Aborts on cancel, lost lease or drain deadline. The run must stop its work, not only its wait. */
  signal: AbortSignal;
  progress(progress: RunProgress): void;
}

export interface ConnectorOutput {
  /** File name in the result, `[A-Za-z0-9._-]`, unique within the run. */
  name: string;
  path: string;
  mime: string;
}

export interface ConnectorResult {
  outputs: ConnectorOutput[];
  /** Small facts about the result (sizes, durations), at most 64 KiB as JSON. */
  data: JsonValue;
}

/** What a connector offers before it is started; the hub validates submissions with it, too. */
export interface ServiceSpec {
  /** Name jobs ask for: `image`, `upscale`, `simulation`, `comfyui`, … */
  service: string;
  /** Version of the connector's contract; part of a machine's capabilities. */
  version: string;
  /** Strict schema of the payload. Field errors reach the submitter with JSON pointers. */
  payload: z.ZodType<JsonObject>;
  /** Ids of the registered models that a payload, as `payload` has parsed it, needs, base model first. Pure. */
  models(payload: JsonObject): string[];
  /** Prior for the run time of a parsed payload on an idle CPU slot, ms. Pure; measurements replace it. */
  expectedMs(payload: JsonObject): number;
  /** Highest and lowest number of input files. */
  inputs: { min: number; max: number };
}

export interface ConnectorContext {
  env: Env;
  /** Folder the connector may use for as long as it runs. */
  workDir: string;
}

/** The service behind one slot group: started once by its actor, then asked to run jobs. */
export interface Connector {
  readonly spec: ServiceSpec;
  /** Brings the service up; rejects with `CONNECTOR_FAILED` if it cannot. Called again after a crash. */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves when the service is healthy, rejects with the reason otherwise. Cheap, called often. */
  probe(signal: AbortSignal): Promise<void>;
  /**
   * Runs one job. Rejects with `EmpError`: `PAYLOAD_INVALID`, `INPUT_INVALID` or `JOB_FAILED` when
   * the job can never succeed, `CONNECTOR_FAILED` when another try may.
   */
  run(run: ConnectorRun): Promise<ConnectorResult>;
  /** Frees what a model holds in memory (worker, VRAM); the files stay. */
  evict(modelId: string): Promise<void>;
  /** Ends the service and everything it started. Idempotent. */
  stop(): Promise<void>;
}

/** Makes the connector of one service. */
export type ConnectorFactory = (context: ConnectorContext) => Connector;
