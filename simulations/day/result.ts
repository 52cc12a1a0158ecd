import { z } from 'zod';

/**
 * What a replay answers: figures that can be compared, and series to draw. One object per command,
 * printed by `--json`, read by the report and by `emp sim diff`. Times are ms of virtual time unless a
 * name says wall; a share is 0 to 1. Schemas, because a result is also a file that somebody hands in.
 */

const count = z.int().min(0);
const amount = z.number().min(0);
const share = z.number().min(0).max(1);

/** Most samples of a series, policies, seeds and incidents of a result: a report draws them all. */
export const resultLimits = {
  samples: 5_000,
  policies: 64,
  seeds: 1_000,
  incidents: 100_000,
  /** Characters of what an incident says. */
  what: 400,
  names: 1_000,
};

const samples = z.array(amount).max(resultLimits.samples);
const name = z.string().min(1).max(200);

/** Waits of a set of jobs: from arrival to the end, less the run on the machine that ran it, ms. */
export const WaitFigures = z.object({
  jobs: count,
  meanMs: amount,
  p50Ms: amount,
  p95Ms: amount,
  p99Ms: amount,
  maxMs: amount,
});
export type WaitFigures = z.infer<typeof WaitFigures>;

/**
 * One policy, all seeds together: counts, bytes, hours and costs are sums over the seeds, percentiles
 * are over the jobs of all seeds, the rest are means. What one day comes to is in `intervals`.
 */
export const PolicyFigures = z.object({
  wallMs: amount,
  /** Accepted. */
  jobs: count,
  /** Succeeded. */
  finished: count,
  /** Ended as dead or failed. */
  dead: count,
  /** Waits are those of jobs that succeeded, and so far those of jobs that had not ended at the close. */
  waitMeanMs: amount,
  waitP50Ms: amount,
  waitP95Ms: amount,
  waitP99Ms: amount,
  /** p95 over jobs whose run takes at most 3 s. */
  shortWaitP95Ms: amount,
  /** Share of jobs that waited less than 10 s. */
  waitUnder10s: share,
  /** Mean per job: preparing for models, and waiting while a slot that fits was idle. */
  downloadWaitMs: amount,
  downloadBytes: amount,
  /** Share of the slot time of living machines that ran jobs. */
  utilisation: share,
  machineHours: amount,
  costUsd: amount,
  costPer1000JobsUsd: amount,
  /** Y1 against `fifo` and `clairvoyant` of the same command; null where one of them was not run. */
  avoidableWaitRemoved: z.number().max(1_000).min(-1_000_000).nullable(),
  /** Y2. */
  goodDecisions: share,
  /** Y3: lower bound of the flow time over the flow time reached, 0 to 1. */
  lowerBoundRatio: share,
  /** Jain's index over the customers' mean waits relative to their own run times, 0 to 1. */
  fairness: share,
  /** Executions that did not end their job. */
  repeatedRuns: count,
});
export type PolicyFigures = z.infer<typeof PolicyFigures>;
export type FigureName = keyof PolicyFigures;
export const figureNames = Object.keys(PolicyFigures.shape) as [FigureName, ...FigureName[]];

/**
 * An interval over seeds: mean and its 95 % half width (Student); half width 0 with one seed. `values`
 * are those of the seeds in their order: two results of the same seeds are compared seed by seed.
 */
export const Interval = z.object({
  mean: z.number(),
  halfWidth: amount,
  values: z.array(z.number()).max(resultLimits.seeds),
});
export type Interval = z.infer<typeof Interval>;

/** Samples at equal distances, for charts: index i is the span from i × stepMs on. Of the first seed. */
export const DaySeries = z.object({
  stepMs: z.number().positive(),
  /** At the end of each span. */
  machinesWanted: samples,
  machinesRunning: samples,
  /** Lost within the span. */
  machinesLost: samples,
  /** Jobs that wait at the end of each span, and the age of the oldest, by pool. */
  queueDepth: z.record(name, samples),
  oldestAgeMs: z.record(name, samples),
  /** Jobs that arrived and that ended within the span. */
  arrived: samples,
  ended: samples,
  /** p95 of the waits of jobs that ended within the span; null where none did. */
  waitP95Ms: z.array(amount.nullable()).max(resultLimits.samples),
  /** Share of the slot time within the span that ran jobs. */
  busyShare: samples,
  downloadBytes: samples,
});
export type DaySeries = z.infer<typeof DaySeries>;

/** In order of time. */
const incidents = z
  .array(z.object({ atMs: amount, kind: z.string().max(200), what: z.string().max(resultLimits.what) }))
  .max(resultLimits.incidents);

export const PolicyReport = PolicyFigures.extend({
  traceHash: z.string().max(200),
  byPool: z.record(name, WaitFigures),
  byKind: z.record(name, WaitFigures),
  /** Of figures that vary with the seed, by name of the field. */
  intervals: z.partialRecord(z.enum(figureNames), Interval),
  series: DaySeries,
  /** Of the first seed, where the policy chose its own machines; else those of the result are everybody's. */
  incidents: incidents.optional(),
});
export type PolicyReport = z.infer<typeof PolicyReport>;

export const SimResult = z.object({
  /** Of this format; a reader refuses what it does not know. */
  version: z.literal(1),
  scenario: name,
  seeds: z.array(z.int()).min(1).max(resultLimits.seeds),
  load: z.number().positive(),
  spanMs: z.number().positive(),
  wallMs: amount,
  /** The command that makes this result again. */
  command: z.string().max(2_000),
  versions: z.object({ emp: z.string().max(100), node: z.string().max(100) }),
  /** SHA-256 over the traces of all runs in order of the arguments. */
  traceHash: z.string().max(200),
  invariants: z.object({ checked: count, violated: count }),
  policies: z
    .record(name, PolicyReport)
    .refine((all) => Object.keys(all).length >= 1 && Object.keys(all).length <= resultLimits.policies, {
      error: `must hold 1 to ${resultLimits.policies} policies`,
    }),
  /** Of the first seed. */
  incidents,
});
export type SimResult = z.infer<typeof SimResult>;
