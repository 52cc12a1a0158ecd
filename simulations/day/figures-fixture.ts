import type { DayPlan, PlannedJob, PlannedMachine, PlannedModel } from './plan.ts';
import { DayLog, type JobEnd, type RunOutcome } from './run-log.ts';

/** For tests: a plan of a few jobs and machines, every field that a test does not care about filled in. */
export function planOf(parts: {
  jobs?: (Partial<PlannedJob> & { id: string })[];
  machines?: (Partial<PlannedMachine> & { id: string })[];
  models?: PlannedModel[];
  wanted?: DayPlan['wanted'];
  spanMs?: number;
  originBytesPerMs?: number | null;
}): DayPlan {
  return {
    scenario: 'small',
    seed: 1,
    load: 1,
    spanMs: parts.spanMs ?? 100_000,
    models: parts.models ?? [],
    jobs: (parts.jobs ?? []).map((job) => ({
      atMs: 0,
      customer: 'acme',
      kind: 'image',
      pool: 'standard',
      priority: 50,
      models: [],
      runMs: 1_000,
      vramMb: 0,
      failRuns: 0,
      ...job,
    })),
    machines: (parts.machines ?? []).map((machine) => ({
      askedMs: 0,
      startMs: 0,
      endMs: 100_000,
      ending: 'stays',
      away: null,
      drainMs: 0,
      gpu: 'RTX 3090',
      pool: 'standard',
      vramMb: 24_000,
      ramMb: 32_000,
      diskBytes: 1e12,
      speed: 1,
      downBytesPerMs: 10,
      upBytesPerMs: 10,
      diskBytesPerMs: 100,
      usdPerHour: 1,
      ...machine,
    })),
    wanted: parts.wanted ?? [],
    incidents: [],
    originBytesPerMs: parts.originBytesPerMs ?? null,
  };
}

/** Something that the runner tells a log; `atMs` decides the order, then the order of writing. */
export type Told =
  | { atMs: number; tell: 'accepted'; job: string }
  | { atMs: number; tell: 'claimed' | 'ready' | 'started'; job: string; machine: string }
  | { atMs: number; tell: 'ranOut'; job: string; machine: string; outcome: RunOutcome }
  | { atMs: number; tell: 'runLost'; job: string; outcome: 'released' | 'lost' | 'cancelled' }
  | { atMs: number; tell: 'ended'; job: string; as: JobEnd }
  | { atMs: number; tell: 'up'; machine: string; slots?: number }
  | { atMs: number; tell: 'draining'; machine: string }
  | { atMs: number; tell: 'down'; machine: string; as: PlannedMachine['ending'] }
  | { atMs: number; tell: 'bytes'; machine: string; bytes: number }
  | {
      atMs: number;
      tell: 'onDisk' | 'evicted' | 'loaded' | 'unloaded';
      machine: string;
      model: string;
    };

/** A log of what was told, in order of time, closed at `closeMs`. */
export function logOf(plan: DayPlan, told: readonly Told[], closeMs: number): DayLog {
  const log = new DayLog(plan);
  for (const event of told.toSorted((a, b) => a.atMs - b.atMs)) write(log, event);
  log.close(closeMs);
  return log;
}

function write(log: DayLog, event: Told): void {
  const { atMs } = event;
  switch (event.tell) {
    case 'accepted':
      return log.jobAccepted(event.job, atMs);
    case 'claimed':
      return log.claimed(event.job, event.machine, atMs);
    case 'ready':
      return log.modelsReady(event.job, event.machine, atMs);
    case 'started':
      return log.runStarted(event.job, event.machine, atMs);
    case 'ranOut':
      return log.runEnded(event.job, event.machine, atMs, event.outcome);
    case 'runLost':
      return log.runLost(event.job, atMs, event.outcome);
    case 'ended':
      return log.jobEnded(event.job, atMs, event.as);
    case 'up':
      return log.machineStarted(event.machine, atMs, event.slots ?? 1);
    case 'draining':
      return log.machineDraining(event.machine, atMs);
    case 'down':
      return log.machineEnded(event.machine, atMs, event.as);
    case 'bytes':
      return log.downloaded(event.machine, event.bytes, atMs);
    case 'onDisk':
      return log.modelOnDisk(event.machine, event.model, atMs);
    case 'evicted':
      return log.modelEvicted(event.machine, event.model, atMs);
    case 'loaded':
      return log.modelLoaded(event.machine, event.model, atMs);
    case 'unloaded':
      return log.modelUnloaded(event.machine, event.model, atMs);
  }
}

/** One job that runs once: asked at `atMs`, claimed, its models ready, and done. */
export function ranOnce(
  job: string,
  machine: string,
  times: { atMs: number; claimedMs: number; readyMs?: number; endMs: number },
): Told[] {
  return [
    { atMs: times.atMs, tell: 'accepted', job },
    { atMs: times.claimedMs, tell: 'claimed', job, machine },
    { atMs: times.readyMs ?? times.claimedMs, tell: 'started', job, machine },
    { atMs: times.endMs, tell: 'ranOut', job, machine, outcome: 'succeeded' },
    { atMs: times.endMs, tell: 'ended', job, as: 'succeeded' },
  ];
}
