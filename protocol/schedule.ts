import { z } from 'zod';
import { JobSubmission } from './job.ts';
import type { JobId } from './names.ts';

/** Schedules that may be kept at once. */
export const schedulesLimit = 1_000;

/** Label of every job that a schedule submits: its name. */
export const scheduleLabel = 'schedule';

const Template = JobSubmission.omit({ id: true, notBefore: true, traceparent: true }).refine(
  ({ labels }) => Object.keys(labels).length <= 15 && !(scheduleLabel in labels),
  {
    path: ['labels'],
    error: `at most 15 labels, none of them \`${scheduleLabel}\`: the schedule adds that one`,
  },
);

/** A job that comes again and again: what a client sends. Unknown fields are refused, by name. */
export const ScheduleDefinition = z.strictObject({
  /** Minute, hour, day of month, month, day of week; or @hourly, @daily, @weekly, @monthly, @yearly. */
  cron: z.string().min(1).max(128),
  /** Whose clock the pattern means: a name of the IANA time zone database. */
  timezone: z.string().min(1).max(64).default('UTC'),
  /** What is submitted each time, as to POST /v1/jobs, without id and notBefore. */
  job: Template,
  /** `skip`: nothing is submitted while the job before has not ended. */
  overlap: z.enum(['allow', 'skip']).default('allow'),
  /** Of the times that pass while no hub runs only the last is made up for, and only within this time, ms. */
  lateLimitMs: z
    .int()
    .min(60_000)
    .max(7 * 86_400_000)
    .default(3_600_000),
  /** Nothing is submitted, and what passes meanwhile is not made up for. */
  paused: z.boolean().default(false),
});
export type ScheduleDefinition = z.infer<typeof ScheduleDefinition>;
export type ScheduleDefinitionInput = z.input<typeof ScheduleDefinition>;

/** What became of the newest time that a schedule came to. */
export interface ScheduleOutcome {
  /** The time that the pattern named, ms since 1970. */
  dueAtMs: number;
  outcome: 'submitted' | 'skipped' | 'failed';
  /** Of `submitted`. */
  jobId: JobId | null;
  /** Of `skipped` and `failed`, in words; empty otherwise. */
  detail: string;
}

/** As Records keep it and clients read it. Times are ms since 1970 by the hub's clock. */
export interface Schedule extends ScheduleDefinition {
  name: string;
  /** Null where the pattern names no time any more, or it is paused. */
  nextAtMs: number | null;
  /** Null until it first came to a time. */
  last: ScheduleOutcome | null;
  /** The job that it submitted last, whatever became of the times since. */
  lastJobId: JobId | null;
  /** Who wrote it last. */
  actor: string;
  createdAtMs: number;
  updatedAtMs: number;
}
