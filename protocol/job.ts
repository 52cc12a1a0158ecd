import { z } from 'zod';
import { ERROR_CODES } from './errors.ts';
import { JsonObject, JsonValue } from './json.ts';
import { Sha256 } from './model.ts';
import {
  CustomerName,
  FileName,
  Incarnation,
  JobId,
  MachineId,
  ModelId,
  PoolName,
  ServiceName,
} from './names.ts';
import { Requirements } from './requirements.ts';
import { FencingToken } from './token.ts';

/**
 * - `scheduled`: not before a time, or backing off. Left by promote at that time, or cancel.
 * - `held`: kept out by a limit or a pause of its customer. Left by admit when there is room, cancel, or
 *   expire-ttl at the sweeper.
 * - `waiting`: claimable. Left by claim, cancel, or expire-ttl at the sweeper.
 * - `leased`: one incarnation holds it. Left by complete, fail, release, cancel, or, if the machine
 *   is silent past its lease, by expire at the sweeper.
 * - `succeeded`: its result is committed. Terminal.
 * - `failed`: a permanent error. Terminal until an operator requeues it.
 * - `cancelled`: by request, before any completion. Terminal until an operator requeues it.
 * - `dead`: attempts or runs used up, poison, or TTL, with the reason. Terminal until requeued.
 */
export const JobState = z.enum([
  'scheduled',
  'held',
  'waiting',
  'leased',
  'succeeded',
  'failed',
  'cancelled',
  'dead',
]);
export type JobState = z.infer<typeof JobState>;

export const TERMINAL_STATES = ['succeeded', 'failed', 'cancelled', 'dead'] as const satisfies JobState[];

export function isTerminal(state: JobState): boolean {
  return (TERMINAL_STATES as readonly JobState[]).includes(state);
}

export const JobOperation = z.enum([
  'claim',
  'complete',
  'fail',
  'release',
  'expire',
  'withhold',
  'cancel',
  'promote',
  'admit',
  'ttl',
  'requeue',
]);
export type JobOperation = z.infer<typeof JobOperation>;

interface Transition {
  from: readonly JobState[];
  to: readonly JobState[];
  /** Who moves the job. */
  by: string;
}

/**
 * Who moves a job out of each state, as committed in Records. Records may learn of a claim after the
 * run has ended (the recorder copies claims by cursor), so exits from a lease also start at `waiting`
 * and `scheduled`; the fencing token decides there. A job that limits count comes back as `held`.
 * Anything not listed is refused.
 */
export const JOB_TRANSITIONS: Readonly<Record<JobOperation, Transition>> = {
  claim: { from: ['waiting', 'scheduled'], to: ['leased'], by: 'recorder, for a machine' },
  complete: { from: ['leased', 'waiting', 'scheduled'], to: ['succeeded'], by: 'hub, for a machine' },
  fail: {
    from: ['leased', 'waiting', 'scheduled'],
    to: ['waiting', 'scheduled', 'held', 'failed', 'dead', 'cancelled'],
    by: 'hub, for a machine',
  },
  release: {
    from: ['leased', 'waiting', 'scheduled'],
    to: ['waiting', 'held', 'dead', 'cancelled'],
    by: 'hub, for a machine or a rebuilt lease',
  },
  expire: {
    from: ['leased', 'waiting', 'scheduled'],
    to: ['waiting', 'scheduled', 'held', 'dead', 'cancelled'],
    by: 'sweeper',
  },
  withhold: {
    from: ['leased', 'waiting', 'scheduled'],
    to: ['held', 'cancelled'],
    by: 'hub, at a claim that a limit or a pause of the customer forbids',
  },
  cancel: { from: ['scheduled', 'held', 'waiting', 'leased'], to: ['cancelled'], by: 'client or operator' },
  promote: { from: ['scheduled'], to: ['waiting'], by: 'recorder, when its time has come' },
  admit: { from: ['held'], to: ['waiting'], by: 'hub, when its limits have room' },
  ttl: { from: ['scheduled', 'held', 'waiting'], to: ['dead'], by: 'sweeper' },
  requeue: { from: ['failed', 'cancelled', 'dead'], to: ['waiting', 'held'], by: 'operator' },
};

/** Runs after which a job is dead whatever ended them: releases do not count attempts, but must end. */
export const runsLimit = 20;
/** Longest request document, bytes, and longest body that a Broker entry keeps, bytes. */
export const requestLimitBytes = 1_048_576;
export const brokerBodyLimitBytes = 8_192;
export const inputsLimit = 16;
export const outputsLimit = 64;
export const maxRunMsDefault = 6 * 3_600_000;

export const Traceparent = z
  .string()
  .regex(
    /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/,
    'traceparent has the W3C form 00-<32 hex>-<16 hex>-<2 hex>',
  );

/** An input file, uploaded before: `object` is the key that the upload answered. */
export const InputRef = z.strictObject({ name: FileName, object: z.string().min(1).max(512) });
export type InputRef = z.infer<typeof InputRef>;

/** What a client sends to have work done. Unknown fields are refused, by name. */
export const JobSubmission = z.strictObject({
  /** Chosen by the client: makes the submit idempotent. Made by the hub when absent. */
  id: JobId.optional(),
  service: ServiceName,
  payload: JsonObject.default({}),
  inputs: z.array(InputRef).max(inputsLimit).default([]),
  requirements: Requirements.default({}),
  /** Preferred pool; chosen by the expected duration when absent. */
  pool: PoolName.optional(),
  /** 0 (last) to 100 (first). */
  priority: z.int().min(0).max(100).default(50),
  customer: CustomerName.default('default'),
  /** Client's own estimate of the run time, ms. */
  expectedMs: z.int().min(1).max(86_400_000).optional(),
  /** A run that takes longer is ended by the sweeper, ms. */
  maxRunMs: z
    .int()
    .min(1_000)
    .max(7 * 86_400_000)
    .default(maxRunMsDefault),
  /** Counted tries: failures and expiries, not releases. */
  maxAttempts: z.int().min(1).max(20).default(3),
  /** Its run may be given back for a job that is much more urgent; it waits in its old place then. */
  preemptible: z.boolean().default(false),
  /** Not before this time, RFC 3339 with offset. */
  notBefore: z.iso.datetime({ offset: true }).optional(),
  /** Dead if not claimed this long after submission, ms. */
  ttlMs: z
    .int()
    .min(1_000)
    .max(30 * 86_400_000)
    .optional(),
  labels: z
    .record(z.string().min(1).max(64), z.string().max(256))
    .refine((labels) => Object.keys(labels).length <= 16, 'at most 16 labels')
    .default({}),
  traceparent: Traceparent.optional(),
});
export type JobSubmission = z.infer<typeof JobSubmission>;
export type JobSubmissionInput = z.input<typeof JobSubmission>;

export const JobError = z.strictObject({
  code: z.enum(Object.keys(ERROR_CODES) as [keyof typeof ERROR_CODES]),
  message: z.string().max(2_000),
  retryable: z.boolean(),
});
export type JobError = z.infer<typeof JobError>;

/** A committed result file. */
export const JobOutput = z.strictObject({
  name: FileName,
  object: z.string().min(1).max(512),
  bytes: z.int().min(0),
  sha256: Sha256,
  mime: z.string().min(1).max(128),
});
export type JobOutput = z.infer<typeof JobOutput>;

export const JobResult = z.strictObject({ outputs: z.array(JobOutput).max(outputsLimit), data: JsonValue });
export type JobResult = z.infer<typeof JobResult>;

const TimeMs = z.number();

/** A job as Records keep it and clients read it. Times are ms since 1970 by the hub's clock. */
export const Job = z.strictObject({
  id: JobId,
  service: ServiceName,
  state: JobState,
  pool: PoolName,
  group: z.string(),
  affinity: z.string(),
  models: z.array(ModelId),
  priority: z.int(),
  customer: CustomerName,
  expectedMs: z.int(),
  maxRunMs: z.int(),
  maxAttempts: z.int(),
  /** Counted tries used up. */
  attempts: z.int(),
  /** Executions ended or under way, counted or not. */
  runs: z.int(),
  payload: JsonObject,
  inputs: z.array(InputRef),
  requirements: Requirements,
  labels: z.record(z.string(), z.string()),
  traceparent: Traceparent,
  submittedAtMs: TimeMs,
  notBeforeMs: TimeMs.nullable(),
  expiresAtMs: TimeMs.nullable(),
  startedAtMs: TimeMs.nullable(),
  finishedAtMs: TimeMs.nullable(),
  cancelRequestedAtMs: TimeMs.nullable(),
  brokeredAtMs: TimeMs.nullable(),
  preemptible: z.boolean(),
  /** Limits count it: it is let in by them, and comes back as `held`. */
  limited: z.boolean(),
  /** Lowest token that may still change this job. */
  fenceFloor: FencingToken,
  /** Last recorded holder; null before the first claim is recorded. */
  token: FencingToken.nullable(),
  machineId: MachineId.nullable(),
  incarnation: Incarnation.nullable(),
  progress: z.number().min(0).max(1),
  error: JobError.nullable(),
  /** Why a dead or cancelled job ended, in words. */
  reason: z.string().nullable(),
  result: JobResult.nullable(),
});
export type Job = z.infer<typeof Job>;

export const RunOutcome = z.enum(['running', 'succeeded', 'failed', 'released', 'expired', 'cancelled']);
export type RunOutcome = z.infer<typeof RunOutcome>;

/** One execution of a job on one incarnation. */
export const JobRun = z.strictObject({
  jobId: JobId,
  run: z.int().min(1),
  token: FencingToken,
  machineId: MachineId,
  incarnation: Incarnation,
  startedAtMs: TimeMs,
  endedAtMs: TimeMs.nullable(),
  outcome: RunOutcome,
  /** Whether it used up an attempt. */
  counted: z.boolean(),
  error: JobError.nullable(),
});
export type JobRun = z.infer<typeof JobRun>;

/** One committed change of state: the timeline of a job is the list of these. */
export const JobTransition = z.strictObject({
  jobId: JobId,
  from: JobState.nullable(),
  to: JobState,
  operation: z.union([JobOperation, z.literal('submit')]),
  /** `client`, `operator`, `sweeper`, `reconciler`, `recorder`, or `machine/incarnation`. */
  actor: z.string().max(128),
  reason: z.string().max(2_000).nullable(),
  token: FencingToken.nullable(),
  atMs: TimeMs,
});
export type JobTransition = z.infer<typeof JobTransition>;

/** Object key of a result: it carries job and token, so a stale upload never meets a fresh one. */
export function resultObjectKey(options: { jobId: JobId; token: FencingToken; name: string }): string {
  return `results/${options.jobId}/${options.token}/${options.name}`;
}
