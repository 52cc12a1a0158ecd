import { EmpError, type ErrorCode, toEmpError } from '#protocol/errors.ts';
import type { JobError } from '#protocol/job.ts';

/** Longest message that a job's error carries. */
const messageLimit = 2_000;

/** Any failure as the error that a job ends with; what is not ours gets `fallback`. */
export function jobErrorOf(error: unknown, fallback: ErrorCode): JobError {
  const { code, message, retryable } = toEmpError(error, fallback);
  return { code, message: message.slice(0, messageLimit), retryable };
}

export function empErrorOf({ code, message, retryable }: JobError): EmpError {
  return new EmpError(code, { detail: message, retryable });
}
