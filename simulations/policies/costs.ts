import type { PlannedJob, PlannedMachine, PlannedModel } from '#simulations/day/plan.ts';
import type { FleetMachine } from './policy.ts';

type Models = ReadonlyMap<string, PlannedModel>;

/** Hard requirements: memory of the card, and room on the disk for the job's models. */
export function fits(
  machine: PlannedMachine,
  job: Pick<PlannedJob, 'vramMb' | 'models'>,
  models: Models,
): boolean {
  if (machine.vramMb < job.vramMb) return false;
  let bytes = 0;
  for (const id of job.models) bytes += models.get(id)?.bytes ?? 0;
  return bytes <= machine.diskBytes;
}

/** Run time on this machine, models in memory, ms. */
export function runOn(machine: PlannedMachine, job: PlannedJob): number {
  return job.runMs / machine.speed;
}

/** Time until every model of the job is in this machine's memory if it began now, ms: missing bytes over its link, then from disk. */
export function prepareOn(
  machine: Pick<FleetMachine, 'plan' | 'onDisk' | 'loaded'>,
  job: PlannedJob,
  models: Models,
): number {
  const { plan, onDisk, loaded } = machine;
  let ms = 0;
  for (const id of job.models) {
    const bytes = models.get(id)?.bytes ?? 0;
    if (!onDisk.has(id)) ms += bytes / plan.downBytesPerMs;
    if (!loaded.has(id)) ms += bytes / plan.diskBytesPerMs;
  }
  return ms;
}

/** What is left of the jobs that run here, ms. Exact once the work has begun: run times are known here. */
export function residualOf(machine: FleetMachine, nowMs: number, models: Models): number {
  let ms = 0;
  for (const { job, claimedMs, startedMs } of machine.running.values()) {
    const run = runOn(machine.plan, job);
    if (startedMs !== null) ms += Math.max(0, run - (nowMs - startedMs));
    else ms += Math.max(0, prepareOn(machine, job, models) - (nowMs - claimedMs)) + run;
  }
  return ms;
}

/** How many of the oldest jobs a decision looks at: those beyond wait anyway. */
export const windowJobs = 64;

/** What a ms of waiting counts by kind: short work must not wait behind long work. */
export const kindWeight = { llm: 6, cpu: 6, image: 1, video: 0.15 } as const;
