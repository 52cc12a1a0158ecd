import { z } from 'zod';
import { JobError, JobState } from './job.ts';
import { JsonObject } from './json.ts';
import { LimitName } from './limit.ts';
import { CustomerName, Incarnation, JobId, MachineId, ModelId, PoolName, ServiceName } from './names.ts';
import { FencingToken } from './token.ts';

/**
 * Every fact that Records keep as an event, with the form of its data. Stores write the facts of
 * jobs, machines and models themselves, in the commit that makes them true; `appendEvent` is for
 * what no other method commits (`machine.incident`, `hub.*`). No payload or result is in an event.
 */

const holder = { machineId: MachineId, incarnation: Incarnation };
const counts = { attempts: z.int().min(0), runs: z.int().min(0) };
const text = z.string().max(2_000);
const count = z.int().min(0);
const run = { token: FencingToken, ...holder };
const bulked = { bulkId: z.string().max(64), actor: z.string().max(128) };
const scheduled = { name: z.string().max(64) };
const paused = {
  kind: z.enum(['pool', 'service', 'customer']),
  name: z.string(),
  actor: z.string().max(128),
};
/** Recorded after the run had ended or was fenced: it changed no state. */
const claim = z.strictObject({ ...run, run: z.int().min(1), late: z.boolean() });

export const EVENT_DATA = {
  'job.submitted': z.strictObject({
    state: JobState,
    service: ServiceName,
    pool: PoolName,
    customer: CustomerName,
    priority: z.int(),
  }),
  'job.leased': claim.extend({
    /** What a resident model took from the rank of the job when this machine claimed it, ms. */
    bonusMs: z.number().optional(),
    /** What it was charged because the machine's pool is another one, ms. */
    penaltyMs: z.number().optional(),
  }),
  /** A running lease was taken over after a loss of the Broker. */
  'job.adopted': claim,
  'job.progressed': z.strictObject({ ...run, progress: z.number().min(0).max(1) }),
  'job.succeeded': z.strictObject({ ...run, ...counts, outputs: z.int().min(0) }),
  /** A permanent error. */
  'job.failed': z.strictObject({ ...run, ...counts, error: JobError }),
  /** A run failed and the job will be tried again. */
  'job.retried': z.strictObject({
    ...run,
    ...counts,
    error: JobError,
    state: JobState,
    notBeforeMs: z.number().nullable(),
  }),
  'job.released': z.strictObject({ ...run, ...counts, reason: text, state: JobState }),
  'job.expired': z.strictObject({ ...run, ...counts, reason: text, state: JobState }),
  /** `token` is null where the job was never claimed. */
  'job.dead': z.strictObject({ ...counts, reason: text, token: FencingToken.nullable() }),
  'job.cancel_requested': z.strictObject({ actor: z.string().max(128) }),
  'job.cancelled': z.strictObject({ ...counts, actor: z.string().max(128), reason: text.nullable() }),
  /** Its run was asked back for another job. */
  'job.preempted': z.strictObject({ ...run, for: JobId }),
  'job.promoted': z.strictObject({}),
  'job.admitted': z.strictObject({ state: JobState }),
  'job.requeued': z.strictObject({ actor: z.string().max(128), fenceFloor: FencingToken }),
  'machine.joined': z.strictObject({
    incarnation: Incarnation,
    classId: z.string(),
    pool: PoolName,
    hubId: z.string(),
  }),
  /** The same incarnation is back after silence. */
  'machine.resumed': z.strictObject({ incarnation: Incarnation, hubId: z.string().nullable() }),
  'machine.lost': z.strictObject({ incarnation: Incarnation }),
  'machine.left': z.strictObject({ incarnation: Incarnation }),
  'machine.flagged': z.strictObject({
    incarnation: Incarnation,
    cordoned: z.boolean(),
    draining: z.boolean(),
  }),
  /** Something that people should know: a card lost, a connector quarantined, a disk full. */
  'machine.incident': z.strictObject({
    incarnation: Incarnation,
    kind: z.string().min(1).max(64),
    detail: text,
    fields: JsonObject.optional(),
  }),
  'model.registered': z.strictObject({ modelId: ModelId, replaced: z.boolean() }),
  'work.paused': z.strictObject({ ...paused, reason: text }),
  'work.resumed': z.strictObject(paused),
  'schedule.saved': z.strictObject({
    ...scheduled,
    actor: z.string().max(128),
    nextAtMs: z.number().nullable(),
  }),
  'schedule.removed': z.strictObject({ ...scheduled, actor: z.string().max(128) }),
  /** A time of a schedule has come; the job, if one was submitted, is named by the event. */
  'schedule.came_due': z.strictObject({
    ...scheduled,
    outcome: z.enum(['submitted', 'skipped', 'failed']),
    dueAtMs: z.number(),
    detail: text,
  }),
  'limit.saved': z.strictObject({ name: LimitName, actor: z.string().max(128) }),
  'limit.removed': z.strictObject({ name: LimitName, actor: z.string().max(128) }),
  'bulk.started': z.strictObject({ ...bulked, action: z.enum(['cancel', 'requeue']), matched: count }),
  'bulk.ended': z.strictObject({
    ...bulked,
    state: z.enum(['done', 'aborted']),
    done: count,
    refused: count,
  }),
  'hub.started': z.strictObject({ hubId: z.string(), version: z.string() }),
  'hub.stopped': z.strictObject({ hubId: z.string() }),
  /** The Broker was found to be another server than the one it was opened on, and was closed. */
  'broker.closed': z.strictObject({ hubId: z.string(), identity: z.string() }),
  'broker.opened': z.strictObject({ hubId: z.string(), identity: z.string() }),
} as const satisfies Record<string, z.ZodType>;

export type EventType = keyof typeof EVENT_DATA;
export type EventData<T extends EventType> = z.infer<(typeof EVENT_DATA)[T]>;

export const EVENT_TYPES = Object.keys(EVENT_DATA) as EventType[];
export const EventType = z.enum(EVENT_TYPES as [EventType, ...EventType[]]);

/** Largest data of one event as JSON, bytes. */
export const eventDataLimitBytes = 16_384;
/** A progress event is kept for each step of this share, so that a run leaves at most 100. */
export const progressEventStep = 0.01;
