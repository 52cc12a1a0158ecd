/**
 * What a replay answers: figures that can be compared, and series to draw. One object per command,
 * printed by `--json`, read by the report and by `emp sim diff`. Times are ms of virtual time unless a
 * name says wall; a share is 0 to 1.
 */

/** Waits of a set of jobs: from arrival to the end, less the run on the machine that ran it, ms. */
export interface WaitFigures {
  jobs: number;
  meanMs: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
  maxMs: number;
}

/** One policy, all seeds together; percentiles over the jobs of all seeds. */
export interface PolicyFigures {
  wallMs: number;
  jobs: number;
  finished: number;
  dead: number;
  waitMeanMs: number;
  waitP50Ms: number;
  waitP95Ms: number;
  waitP99Ms: number;
  /** p95 over jobs whose run takes at most 3 s. */
  shortWaitP95Ms: number;
  /** Share of jobs that waited less than 10 s. */
  waitUnder10s: number;
  /** Mean per job: preparing for models, and waiting while a slot that fits was idle. */
  downloadWaitMs: number;
  downloadBytes: number;
  /** Share of the slot time of living machines that ran jobs. */
  utilisation: number;
  machineHours: number;
  costUsd: number;
  costPer1000JobsUsd: number;
  /** Y1 against `fifo` and `clairvoyant` of the same command; null where one of them was not run. */
  avoidableWaitRemoved: number | null;
  /** Y2. */
  goodDecisions: number;
  /** Y3: lower bound of the flow time over the flow time reached, 0 to 1. */
  lowerBoundRatio: number;
  /** Jain's index over the customers' mean waits relative to their own run times, 0 to 1. */
  fairness: number;
  /** Executions that did not end their job. */
  repeatedRuns: number;
}

/** An interval over seeds: mean and its 95 % half width (Student); half width 0 with one seed. */
export interface Interval {
  mean: number;
  halfWidth: number;
}

/** Samples at equal distances, for charts: index i is the span from i × stepMs on. Of the first seed. */
export interface DaySeries {
  stepMs: number;
  machinesWanted: number[];
  machinesRunning: number[];
  machinesLost: number[];
  /** Jobs that wait at the end of each span, and the age of the oldest, by pool. */
  queueDepth: Record<string, number[]>;
  oldestAgeMs: Record<string, number[]>;
  /** Jobs that arrived and that ended within the span. */
  arrived: number[];
  ended: number[];
  /** p95 of the waits of jobs that ended within the span; null where none did. */
  waitP95Ms: (number | null)[];
  busyShare: number[];
  downloadBytes: number[];
}

export interface PolicyReport extends PolicyFigures {
  traceHash: string;
  byPool: Record<string, WaitFigures>;
  byKind: Record<string, WaitFigures>;
  /** Of figures that vary with the seed, by name of the field. */
  intervals: Partial<Record<keyof PolicyFigures, Interval>>;
  series: DaySeries;
}

export interface SimResult {
  scenario: string;
  seeds: number[];
  load: number;
  spanMs: number;
  wallMs: number;
  /** SHA-256 over the traces of all runs in order of the arguments. */
  traceHash: string;
  invariants: { checked: number; violated: number };
  policies: Record<string, PolicyReport>;
  /** Of the first seed, in order of time. */
  incidents: { atMs: number; kind: string; what: string }[];
}
