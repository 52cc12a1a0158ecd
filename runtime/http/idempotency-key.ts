import { hash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { EmpError } from '#protocol/errors.ts';

/** Visible characters and blanks, as header values hold them; long enough for two UUIDs and a name. */
const keyForm = /^[ -~]{1,255}$/;

/** The request's `Idempotency-Key`, null without one. Throws VALIDATION_FAILED where it has another form. */
function keyOf(request: FastifyRequest): string | null {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return null;
  if (typeof key === 'string' && keyForm.test(key)) return key;
  const detail = 'the header Idempotency-Key holds 1 to 255 visible ASCII characters';
  throw new EmpError('VALIDATION_FAILED', { detail, errors: [{ pointer: '', detail }] });
}

/**
 * Gives submissions without an `id` of their own the id that follows from the request's
 * `Idempotency-Key`, their customer and their place in the request: a repeat under the key meets the
 * jobs of the first time, another content under it is refused, for as long as the jobs are kept.
 */
export function keyedSubmissions(request: FastifyRequest, documents: readonly unknown[]): unknown[] {
  const key = keyOf(request);
  if (key === null) return [...documents];
  return documents.map((document, index) => {
    if (typeof document !== 'object' || document === null || Array.isArray(document) || 'id' in document)
      return document;
    const customer = (document as { customer?: unknown }).customer ?? 'default';
    const id = `key-${hash('sha256', JSON.stringify([customer, key, index])).slice(0, 40)}`;
    return { ...document, id };
  });
}
