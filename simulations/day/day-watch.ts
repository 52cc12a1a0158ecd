import { realBytesPerByte } from './byte-scale.ts';
import type { DayLog } from './run-log.ts';

/** What a day tells as it happens, at the virtual time of the call: for figures, policies and the trace. */
export interface DayWatch {
  /** A client asks; nobody has answered yet. */
  jobAsked(jobId: string): void;
  claimed(at: { jobId: string; machineId: string }): void;
  /** Every model is on disk and in memory: the work itself begins. */
  runStarted(at: { jobId: string; machineId: string }): void;
  runEnded(at: { jobId: string; machineId: string; outcome: 'succeeded' | 'failed' }): void;
  /** Given back, or its lease ran out: it waits again. */
  runLost(at: { jobId: string }): void;
  /** Committed: it will never run again. */
  jobEnded(at: { jobId: string; state: 'succeeded' | 'failed' | 'cancelled' | 'dead' }): void;
  machineStarted(machineId: string): void;
  machineDraining(machineId: string): void;
  machineEnded(machineId: string): void;
  /** Bytes of models that arrived, as byte-scale.ts scales them. */
  downloaded(at: { machineId: string; scaledBytes: number }): void;
  model(at: { machineId: string; modelId: string; became: ModelChange }): void;
}

export type ModelChange = 'onDisk' | 'evicted' | 'loaded' | 'unloaded';

/** Hears everything and does nothing: the rest of a watch that wants little. */
export const deafWatch: DayWatch = {
  jobAsked() {},
  claimed() {},
  runStarted() {},
  runEnded() {},
  runLost() {},
  jobEnded() {},
  machineStarted() {},
  machineDraining() {},
  machineEnded() {},
  downloaded() {},
  model() {},
};

/** Tells each of them, in order. */
export function watchAll(watches: readonly DayWatch[]): DayWatch {
  const all = (tell: (watch: DayWatch) => void) => watches.forEach(tell);
  return {
    jobAsked: (jobId) => all((each) => each.jobAsked(jobId)),
    claimed: (at) => all((each) => each.claimed(at)),
    runStarted: (at) => all((each) => each.runStarted(at)),
    runEnded: (at) => all((each) => each.runEnded(at)),
    runLost: (at) => all((each) => each.runLost(at)),
    jobEnded: (at) => all((each) => each.jobEnded(at)),
    machineStarted: (machineId) => all((each) => each.machineStarted(machineId)),
    machineDraining: (machineId) => all((each) => each.machineDraining(machineId)),
    machineEnded: (machineId) => all((each) => each.machineEnded(machineId)),
    downloaded: (at) => all((each) => each.downloaded(at)),
    model: (at) => all((each) => each.model(at)),
  };
}

/** Writes a day's log, with real sizes and the time of `clock`. */
export function logging(
  log: DayLog,
  clock: { monotonic(): number },
  endingOf: (machineId: string) => 'scale-in' | 'lost' | 'stays',
): DayWatch {
  const now = () => clock.monotonic();
  return {
    jobAsked: (jobId) => log.jobAccepted(jobId, now()),
    claimed: ({ jobId, machineId }) => log.claimed(jobId, machineId, now()),
    runStarted({ jobId, machineId }) {
      log.modelsReady(jobId, machineId, now());
      log.runStarted(jobId, machineId, now());
    },
    runEnded: ({ jobId, machineId, outcome }) => log.runEnded(jobId, machineId, now(), outcome),
    runLost: ({ jobId }) => log.runLost(jobId, now(), 'lost'),
    jobEnded: ({ jobId, state }) => log.jobEnded(jobId, now(), state),
    machineStarted: (machineId) => log.machineStarted(machineId, now()),
    machineDraining: (machineId) => log.machineDraining(machineId, now()),
    machineEnded: (machineId) => log.machineEnded(machineId, now(), endingOf(machineId)),
    downloaded: ({ machineId, scaledBytes }) =>
      log.downloaded(machineId, scaledBytes * realBytesPerByte, now()),
    model({ machineId, modelId, became }) {
      if (became === 'onDisk') log.modelOnDisk(machineId, modelId, now());
      else if (became === 'evicted') log.modelEvicted(machineId, modelId, now());
      else if (became === 'loaded') log.modelLoaded(machineId, modelId, now());
      else log.modelUnloaded(machineId, modelId, now());
    },
  };
}
