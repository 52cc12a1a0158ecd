import { z } from 'zod';
import type { ServiceSpec } from '#protocol/connector.ts';
import { ModelId } from '#protocol/names.ts';

/** How a simulated run ends instead of succeeding. */
export const SimulatedFailure = z.enum([
  /** `JOB_FAILED`: no other try is made. */
  'permanent',
  /** `CONNECTOR_FAILED`: another try may succeed. */
  'retryable',
  /** The machine's process dies. Refused unless the connector was made with `allowCrash`. */
  'crash',
  /** No progress and no end, until the run is aborted. */
  'hang',
]);

/** Work that takes a given time and does nothing: for trials, load and faults. */
export const SimulationPayload = z.strictObject({
  durationMs: z.int().min(0).max(21_600_000).default(0),
  /** Progress reports, evenly over the duration. */
  progressSteps: z.int().min(0).max(1_000).default(10),
  outputs: z.int().min(0).max(16).default(0),
  /** Size of each output; its bytes follow from the job id and the output's number alone. */
  outputBytes: z.int().min(0).max(67_108_864).default(1_024),
  /** Length of the text `filler` in the result's data. */
  dataBytes: z.int().min(0).max(32_768).default(0),
  /** Models the run needs on the machine, base model first. */
  models: z.array(ModelId).max(8).default([]),
  /** Added when the first model was not used here since the start or its eviction, as a load into memory would. */
  loadMs: z.int().min(0).max(3_600_000).default(0),
  failWith: SimulatedFailure.optional(),
  /** Share of the duration after which a failing run fails. */
  failAt: z.number().min(0).max(1).default(0.5),
  /** Only the first runs of the job on this connector fail, so many; without it, every run does. */
  failRuns: z.int().min(1).max(1_000).optional(),
  /** Share of runs that fail, drawn from the machine's seeded source. */
  failRate: z.number().min(0).max(1).default(1),
});
export type SimulationPayload = z.infer<typeof SimulationPayload>;

export const simulationSpec: ServiceSpec = {
  service: 'simulation',
  version: '1.0.0',
  payload: SimulationPayload,
  models: (payload) => (payload as SimulationPayload).models,
  expectedMs: (payload) => (payload as SimulationPayload).durationMs,
  inputs: { min: 0, max: 16 },
};
