/**
 * Every code a caller can meet, with its HTTP status and what to do. docs/errors.md lists the same
 * codes; a test walks both. Nobody matches on message text.
 */
export const ERROR_CODES = {
  VALIDATION_FAILED: { status: 400, retryable: false, title: 'The request does not have the expected form' },
  BODY_TOO_LARGE: { status: 413, retryable: false, title: 'The request is larger than its limit' },
  UNKNOWN_SERVICE: { status: 422, retryable: false, title: 'No machine class offers this service' },
  REQUIREMENT_UNMET: { status: 422, retryable: false, title: 'No machine class meets this requirement' },
  UNKNOWN_MODEL: { status: 422, retryable: false, title: 'The model is not registered' },
  IDEMPOTENCY_CONFLICT: {
    status: 422,
    retryable: false,
    title: 'The same id or key was used with another body',
  },
  NOT_FOUND: { status: 404, retryable: false, title: 'Nothing is known under this id' },
  METHOD_NOT_ALLOWED: { status: 405, retryable: false, title: 'This path does not take this method' },
  CONFLICT: { status: 409, retryable: false, title: 'The object is in a state that does not allow this' },
  UNAUTHORIZED: { status: 401, retryable: false, title: 'A valid token is needed' },
  FORBIDDEN: { status: 403, retryable: false, title: 'The token does not allow this' },
  QUEUE_FULL: { status: 429, retryable: true, title: 'Too many jobs wait already' },
  RECORDS_UNAVAILABLE: { status: 503, retryable: true, title: 'The record store does not answer' },
  BROKER_UNAVAILABLE: { status: 503, retryable: true, title: 'The broker does not answer' },
  DRAINING: { status: 503, retryable: true, title: 'This process is shutting down' },
  TIMEOUT: { status: 504, retryable: true, title: 'The deadline passed before an answer came' },
  LINK_CLOSED: { status: 503, retryable: true, title: 'The link to the hub is not open' },
  FRAME_INVALID: { status: 400, retryable: false, title: 'A link frame does not have the expected form' },
  INBOX_FULL: { status: 503, retryable: true, title: 'A bounded inbox refused an item' },
  CONFIG_INVALID: { status: 500, retryable: false, title: 'The configuration cannot be used' },
  PAYLOAD_INVALID: { status: 422, retryable: false, title: 'The payload does not fit the service' },
  INPUT_INVALID: { status: 422, retryable: false, title: 'An input file cannot be used' },
  INPUT_UNAVAILABLE: { status: 502, retryable: true, title: 'An input file could not be fetched' },
  OUTPUT_MISSING: {
    status: 409,
    retryable: true,
    title: 'A result object is missing or differs from what was reported',
  },
  MODEL_UNAVAILABLE: { status: 502, retryable: true, title: 'No source delivered the model' },
  MODEL_CHECKSUM_MISMATCH: {
    status: 502,
    retryable: true,
    title: 'A model file does not have the registered hash',
  },
  DISK_FULL: { status: 507, retryable: true, title: 'There is no room for the file' },
  CONNECTOR_FAILED: { status: 500, retryable: true, title: 'The service failed while it ran the job' },
  JOB_FAILED: { status: 422, retryable: false, title: 'The job itself cannot succeed' },
  JOB_STALLED: { status: 500, retryable: true, title: 'The run made no progress before its deadline' },
  JOB_CANCELLED: { status: 409, retryable: false, title: 'The job was cancelled' },
  LEASE_LOST: { status: 409, retryable: true, title: 'The lease of this run has ended' },
  INTERNAL: { status: 500, retryable: false, title: 'A bug: the process met a state it excludes' },
} as const satisfies Record<string, { status: number; retryable: boolean; title: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** One wrong place in a document: `pointer` is a JSON Pointer (RFC 6901), `detail` says what to do. */
export interface FieldError {
  pointer: string;
  detail: string;
}

export interface EmpErrorOptions {
  /** What went wrong and what to do next, for people. Defaults to the title of the code. */
  detail?: string;
  retryable?: boolean;
  cause?: unknown;
  errors?: FieldError[];
  /** Ids and figures of the case, for logs and clients: never secrets or customer content. */
  fields?: Record<string, string | number | boolean | null>;
}

/** An operation that failed. Refusals that a caller expects are values instead, not errors. */
export class EmpError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly errors: FieldError[];
  readonly fields: Record<string, string | number | boolean | null>;

  constructor(code: ErrorCode, options: EmpErrorOptions = {}) {
    super(options.detail ?? ERROR_CODES[code].title, { cause: options.cause });
    this.name = 'EmpError';
    this.code = code;
    this.retryable = options.retryable ?? ERROR_CODES[code].retryable;
    this.errors = options.errors ?? [];
    this.fields = options.fields ?? {};
  }
}

/** The error itself if it is ours, else `fallback` around it: boundaries call this once. */
export function toEmpError(error: unknown, fallback: ErrorCode = 'INTERNAL'): EmpError {
  if (error instanceof EmpError) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new EmpError(fallback, { detail, cause: error });
}
