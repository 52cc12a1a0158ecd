import { z } from 'zod';
import { EmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';

/**
 * The payload as its schema types it. The hub has checked it with the same schema; a machine of
 * another version may still meet one that does not fit, and refuses it with `PAYLOAD_INVALID`.
 */
export function readPayload<T>(schema: z.ZodType<T>, payload: JsonObject): T {
  const parsed = schema.safeParse(payload);
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map(({ path, message }) => ({
    pointer: jsonPointer(path),
    detail: message,
  }));
  throw new EmpError('PAYLOAD_INVALID', { detail: z.prettifyError(parsed.error), errors });
}

/** A refusal of one field of the payload; `path` leads to it from the top. */
export function fieldRefused(path: (string | number)[], detail: string): EmpError {
  return new EmpError('PAYLOAD_INVALID', { detail, errors: [{ pointer: jsonPointer(path), detail }] });
}

/** JSON Pointer (RFC 6901) of a path in a document. */
export function jsonPointer(path: PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}
