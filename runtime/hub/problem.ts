import type { z } from 'zod';
import { EmpError, ERROR_CODES, type ErrorCode, type FieldError } from '#protocol/errors.ts';
import { type JsonValue, jsonDepth, jsonDepthLimit } from '#protocol/json.ts';

/** RFC 9457 body of an error, `application/problem+json`. docs/errors.md has one anchor per code. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  retryable: boolean;
  instance: string | null;
  errors: FieldError[];
  traceId: string | null;
}

/** Most field errors that one answer lists: a hostile document could make millions. */
const fieldErrorsLimit = 100;

export function toProblem(
  error: EmpError,
  context: { instance: string | null; traceId: string | null },
): Problem {
  const known = ERROR_CODES[error.code];
  return {
    type: `urn:emp:error:${error.code}`,
    title: known.title,
    status: known.status,
    detail: error.message,
    code: error.code,
    retryable: error.retryable,
    instance: context.instance,
    errors: error.errors.slice(0, fieldErrorsLimit),
    traceId: context.traceId,
  };
}

/** JSON Pointer (RFC 6901) of a path, `prefix` before it. */
export function jsonPointer(path: readonly PropertyKey[], prefix = ''): string {
  return prefix + path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** Every wrong place of a document, unknown fields each by name. `prefix` is the pointer of the document itself. */
export function fieldErrors(error: z.core.$ZodError, prefix = ''): FieldError[] {
  return error.issues.flatMap((issue) => issueErrors(issue, prefix)).slice(0, fieldErrorsLimit);
}

function issueErrors(issue: z.core.$ZodIssue, prefix: string): FieldError[] {
  const at = jsonPointer(issue.path, prefix);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      pointer: at + jsonPointer([key]),
      detail: 'this field is not known here',
    }));
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // Of several forms the one with the fewest problems is what the writer meant.
    const [closest] = [...issue.errors].sort((a, b) => a.length - b.length);
    if (closest !== undefined && closest.length > 0)
      return closest.flatMap((inner) => issueErrors(inner, at));
  }
  return [{ pointer: at, detail: issue.message }];
}

/** Parses a document of a client; throws `code` with a pointer for every wrong place. */
export function parseDocument<T>(
  schema: z.ZodType<T>,
  value: unknown,
  options: { code?: ErrorCode; prefix?: string; what?: string } = {},
): T {
  checkDepth(value, options.prefix ?? '');
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const errors = fieldErrors(parsed.error, options.prefix);
  throw new EmpError(options.code ?? 'VALIDATION_FAILED', {
    detail: summary(options.what ?? 'The request', errors),
    errors,
  });
}

/** Refuses what nests so deep that a recursive reader could run out of stack. */
export function checkDepth(value: unknown, pointer = ''): void {
  if (jsonDepth(value as JsonValue) <= jsonDepthLimit) return;
  const detail = `nested deeper than ${jsonDepthLimit} levels`;
  throw new EmpError('VALIDATION_FAILED', {
    detail: `The request is ${detail}`,
    errors: [{ pointer, detail }],
  });
}

/** One line for people: the first wrong places, and how many more there are. */
export function summary(what: string, errors: readonly FieldError[]): string {
  const shown = errors.slice(0, 3).map((error) => `${error.pointer || 'the document'}: ${error.detail}`);
  const more = errors.length > shown.length ? ` (and ${errors.length - shown.length} more)` : '';
  return `${what} has ${errors.length === 1 ? 'a wrong field' : `${errors.length} wrong fields`}: ${shown.join('; ')}${more}`;
}
