import { z } from 'zod';
import { InputRef, JobError, JobOutput, outputsLimit } from './job.ts';
import { JsonObject, JsonValue } from './json.ts';
import { ModelManifest, Residency, Sha256 } from './model.ts';
import { FileName, Incarnation, JobId, MachineId, ModelId, ServiceName } from './names.ts';
import { MachineClass } from './requirements.ts';
import { FencingToken } from './token.ts';

/**
 * Frames of the one outbound WebSocket of a machine to a hub. JSON text, one frame a message, with a
 * version and a size limit. A request carries `id`; its answer carries the same number in `re`.
 * Version n speaks to n−1: unknown frame types are counted and skipped, unknown fields refused.
 */
export const linkVersion = 1;
export const frameLimitBytes = 262_144;
export const previewLimitBytes = 65_536;

const Free = z.array(z.strictObject({ service: ServiceName, slots: z.int().min(0).max(64) })).max(64);
const Holding = z.strictObject({ jobId: JobId, token: FencingToken });

/** A claim as the machine sends it; the hub turns services and models into groups and lanes. */
export const ClaimOffer = z.strictObject({
  requestId: z.int().min(1),
  free: Free,
  /** Models on this machine's disk, most valuable first. */
  resident: z.array(ModelId).max(500),
});
export type ClaimOffer = z.infer<typeof ClaimOffer>;

/** A job as it is handed to a machine. */
export const Assignment = z.strictObject({
  jobId: JobId,
  token: FencingToken,
  run: z.int().min(1),
  attempts: z.int().min(0),
  service: ServiceName,
  payload: JsonObject,
  inputs: z.array(InputRef),
  models: z.array(ModelId),
  expectedMs: z.int(),
  maxRunMs: z.int(),
  traceparent: z.string(),
});
export type Assignment = z.infer<typeof Assignment>;

export const ClaimResult = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('leased'), assignment: Assignment, more: z.boolean() }),
  z.strictObject({ kind: z.literal('empty') }),
  z.strictObject({ kind: z.literal('lapsed') }),
  z.strictObject({ kind: z.literal('superseded') }),
  z.strictObject({ kind: z.literal('closed') }),
  /** The machine is cordoned or draining: ask again after `uncordon`. */
  z.strictObject({ kind: z.literal('cordoned') }),
]);
export type ClaimResult = z.infer<typeof ClaimResult>;

export const MachineReport = z.strictObject({
  state: z.enum(['booting', 'enrolling', 'ready', 'degraded', 'draining', 'stopped']),
  reasons: z.array(z.string().max(200)).max(16),
  diskFreeBytes: z.int().min(0),
  loopDelayMs: z.number().min(0),
  rssBytes: z.int().min(0),
  deadLetters: z.int().min(0),
  restarts: z.int().min(0),
});
export type MachineReport = z.infer<typeof MachineReport>;

/** Requests of a machine and their answers. */
export const LINK_REQUESTS = {
  hello: {
    body: z.strictObject({
      machineId: MachineId,
      /** The incarnation it had on this boot, to go on with; null asks for a new one. */
      incarnation: Incarnation.nullable(),
      machineClass: MachineClass,
      software: z.string().max(64),
    }),
    answer: z.discriminatedUnion('kind', [
      z.strictObject({
        kind: z.literal('welcome'),
        incarnation: Incarnation,
        /** Bound to machine and incarnation; replaces the join token on reconnects. */
        machineToken: z.string().max(1_024),
        leaseTtlMs: z.int().min(1),
        beatMs: z.int().min(1),
        cordoned: z.boolean(),
        hubId: z.string().max(64),
      }),
      z.strictObject({ kind: z.literal('superseded') }),
    ]),
  },
  claim: { body: ClaimOffer, answer: ClaimResult },
  beat: {
    body: z.strictObject({
      running: z.array(Holding).max(256),
      highestRequestId: z.int().min(0),
      openRequestId: z.int().min(1).nullable(),
      free: Free,
      report: MachineReport,
    }),
    answer: z.discriminatedUnion('kind', [
      z.strictObject({
        kind: z.literal('ok'),
        drop: z.array(JobId),
        cancel: z.array(JobId),
        work: z.boolean(),
        /**
         * The Broker last heard of this machine so long ago, ms: beats of idle machines go to it together.
         * The lease, should one begin now, runs from then. Absent = it heard of this very beat.
         */
        ageMs: z.int().min(0).optional(),
      }),
      z.strictObject({ kind: z.literal('lapsed') }),
      z.strictObject({ kind: z.literal('superseded') }),
    ]),
  },
  complete: {
    body: z.strictObject({
      jobId: JobId,
      token: FencingToken,
      outputs: z.array(JobOutput).max(outputsLimit),
      data: JsonValue,
      /** Claims the next job in the same call. */
      next: ClaimOffer.nullable(),
    }),
    answer: z.strictObject({
      /** `refused`: another run or a cancel came first; this result stays invisible. */
      kind: z.enum(['committed', 'refused', 'missingOutput']),
      detail: z.string().nullable(),
      next: ClaimResult.nullable(),
    }),
  },
  exit: {
    body: z.strictObject({
      jobId: JobId,
      token: FencingToken,
      cause: z.discriminatedUnion('kind', [
        z.strictObject({ kind: z.literal('fail'), error: JobError }),
        z.strictObject({ kind: z.literal('release'), reason: z.string().max(500) }),
        z.strictObject({ kind: z.literal('cancel'), reason: z.string().max(500) }),
      ]),
    }),
    answer: z.strictObject({ kind: z.enum(['ok', 'unknown']) }),
  },
  /** URLs for the inputs, results or models of a job this machine holds. */
  sign: {
    body: z.discriminatedUnion('what', [
      z.strictObject({ what: z.literal('inputs'), jobId: JobId, token: FencingToken }),
      z.strictObject({
        what: z.literal('results'),
        jobId: JobId,
        token: FencingToken,
        files: z
          .array(
            z.strictObject({
              name: FileName,
              bytes: z.int().min(0),
              sha256: Sha256,
              mime: z.string().max(128),
            }),
          )
          .min(1)
          .max(outputsLimit),
      }),
      z.strictObject({ what: z.literal('model'), modelId: ModelId }),
    ]),
    answer: z.discriminatedUnion('kind', [
      z.strictObject({
        kind: z.literal('signed'),
        /** In the order asked; for a model one entry per file, with every source in order of preference. */
        files: z.array(
          z.strictObject({
            name: FileName,
            object: z.string(),
            urls: z.array(z.string().max(4_096)).min(1),
            bytes: z.int().min(0).nullable(),
            sha256: Sha256.nullable(),
            mime: z.string(),
          }),
        ),
        manifest: ModelManifest.nullable(),
      }),
      z.strictObject({ kind: z.literal('refused'), error: JobError }),
    ]),
  },
  leave: {
    body: z.strictObject({ reason: z.string().max(200) }),
    answer: z.strictObject({ kind: z.literal('ok') }),
  },
} as const;
export type LinkRequestType = keyof typeof LINK_REQUESTS;
export type LinkBody<T extends LinkRequestType> = z.infer<(typeof LINK_REQUESTS)[T]['body']>;
export type LinkAnswer<T extends LinkRequestType> = z.infer<(typeof LINK_REQUESTS)[T]['answer']>;

/** One-way frames of a machine: droppable, state-based, coalesced by the sender. */
export const MACHINE_NOTICES = {
  progress: z.strictObject({
    items: z
      .array(
        z.strictObject({
          jobId: JobId,
          token: FencingToken,
          fraction: z.number().min(0).max(1),
          message: z.string().max(500).nullable(),
        }),
      )
      .min(1)
      .max(256),
  }),
  preview: z.strictObject({
    jobId: JobId,
    token: FencingToken,
    mime: z.string().max(64),
    base64: z.base64().max(Math.ceil(previewLimitBytes / 3) * 4),
  }),
  /** Residency entries changed since the last notice; all of them after a (re)connect. */
  residency: z.strictObject({ full: z.boolean(), entries: z.array(Residency).max(500) }),
  /** A fact worth keeping: an actor failed or restarted, dead letters, degraded, … */
  incident: z.strictObject({
    kind: z.string().max(64),
    path: z.string().max(256),
    detail: z.string().max(2_000),
    jobId: JobId.nullable(),
  }),
} as const;
export type MachineNoticeType = keyof typeof MACHINE_NOTICES;
export type MachineNotice<T extends MachineNoticeType> = z.infer<(typeof MACHINE_NOTICES)[T]>;

/** One-way frames of a hub. */
export const HUB_NOTICES = {
  /** Claimable work fits: claim now. */
  wake: z.strictObject({}),
  cancel: z.strictObject({ jobId: JobId, reason: z.string().max(500) }),
  /** Give this run back, with its attempt: a more urgent job needs its slot. */
  preempt: z.strictObject({ jobId: JobId, reason: z.string().max(500) }),
  /** Stop this run: its lease has ended. */
  drop: z.strictObject({ jobId: JobId }),
  drain: z.strictObject({ deadlineMs: z.int().min(0).max(86_400_000), reason: z.string().max(200) }),
  cordon: z.strictObject({ cordoned: z.boolean() }),
  superseded: z.strictObject({}),
  /** The hub is stopping: reconnect elsewhere; nothing is shortened. */
  closing: z.strictObject({}),
} as const;
export type HubNoticeType = keyof typeof HUB_NOTICES;
export type HubNotice<T extends HubNoticeType> = z.infer<(typeof HUB_NOTICES)[T]>;

/** What came out of JSON.parse is JSON to any depth; what must be in it, the schema of its type says. */
const Body = z.custom<JsonObject>((value) => isRecord(value), { error: 'expected an object' });
const version = z.literal(linkVersion);
const number = z.int().min(1);
const type = z.string().max(32);

const Request = z.strictObject({ v: version, id: number, type, body: Body });
const Answer = z.strictObject({ v: version, re: number, body: Body });
const Refusal = z.strictObject({ v: version, re: number, error: JobError });
const Notice = z.strictObject({ v: version, type, body: Body });
export type Envelope = z.infer<typeof Request | typeof Answer | typeof Refusal | typeof Notice>;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Told apart by the fields that only one kind has: a union would try each of them on every frame. */
function envelopeOf(json: unknown) {
  if (!isRecord(json)) return Notice;
  if ('re' in json) return 'error' in json ? Refusal : Answer;
  return 'id' in json ? Request : Notice;
}

export type DecodedFrame = { kind: 'ok'; frame: Envelope } | { kind: 'invalid'; detail: string };

/** Checks size, JSON, version and shape of a frame; bodies are checked by their type afterwards. */
export function decodeFrame(text: string): DecodedFrame {
  if (text.length > frameLimitBytes)
    return {
      kind: 'invalid',
      detail: `frame of ${text.length} characters is over the limit of ${frameLimitBytes}`,
    };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return { kind: 'invalid', detail: `frame is not JSON: ${(error as Error).message}` };
  }
  const parsed = envelopeOf(json).safeParse(json);
  return parsed.success
    ? { kind: 'ok', frame: parsed.data }
    : { kind: 'invalid', detail: z.prettifyError(parsed.error) };
}
