import { z } from 'zod';
import { EmpError, type ErrorCode } from '#protocol/errors.ts';
import { JsonObject, JsonValue } from '#protocol/json.ts';

/** Most bytes of one encoded preview picture. */
export const previewLimitBytes = 65_536;

/** What a worker may say went wrong; anything else it throws becomes `CONNECTOR_FAILED`. */
export const workerErrorCodes = [
  'PAYLOAD_INVALID',
  'INPUT_INVALID',
  'JOB_FAILED',
  'CONNECTOR_FAILED',
] as const satisfies ErrorCode[];

/** Parent to worker: one order at a time; the next is sent after the answer to the last. */
export const WorkerOrder = z.strictObject({
  id: z.int().min(1),
  method: z.string().min(1).max(64),
  params: JsonObject,
});
export type WorkerOrder = z.infer<typeof WorkerOrder>;

const FieldErrors = z
  .array(z.strictObject({ pointer: z.string().max(1_000), detail: z.string().max(2_000) }))
  .max(64);

/**
 * Worker to parent. Read strictly: a worker that decodes hostile pictures is not trusted, and one
 * whose message does not fit is killed.
 */
export const WorkerMessage = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ready') }),
  z.strictObject({
    kind: z.literal('progress'),
    id: z.int().min(1),
    fraction: z.number().min(0).max(1),
    message: z.string().max(500).optional(),
    preview: z
      .strictObject({
        mime: z.string().max(100),
        bytes: z.custom<Uint8Array>(
          (bytes) => bytes instanceof Uint8Array && bytes.byteLength <= previewLimitBytes,
          'a preview has at most 64 KiB',
        ),
      })
      .optional(),
  }),
  z.strictObject({ kind: z.literal('done'), id: z.int().min(1), result: JsonValue }),
  z.strictObject({
    kind: z.literal('failed'),
    id: z.int().min(1),
    code: z.enum(workerErrorCodes),
    detail: z.string().max(2_000),
    errors: FieldErrors,
    trace: z.string().max(4_000).optional(),
  }),
]);
export type WorkerMessage = z.infer<typeof WorkerMessage>;

/**
 * What of an error crosses to the parent, cut to the limits of the message. The text of an error that
 * is not ours may name files of the machine: it goes into `trace`, for the log, not into `detail`.
 */
export function failedMessage(id: number, error: unknown): WorkerMessage {
  const known = error instanceof EmpError ? error : null;
  const traced = known === null ? error : known.cause;
  return {
    kind: 'failed',
    id,
    code: workerErrorCodes.find((code) => code === known?.code) ?? 'CONNECTOR_FAILED',
    detail: (
      known?.message ?? `the worker failed with ${error instanceof Error ? error.name : 'no error'}`
    ).slice(0, 2_000),
    errors: (known?.errors ?? []).slice(0, 64).map(({ pointer, detail }) => ({
      pointer: pointer.slice(0, 1_000),
      detail: detail.slice(0, 2_000),
    })),
    ...(traced instanceof Error ? { trace: (traced.stack ?? traced.message).slice(0, 4_000) } : {}),
  };
}
