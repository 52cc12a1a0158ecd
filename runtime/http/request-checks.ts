import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { EmpError } from '#protocol/errors.ts';
import { Traceparent } from '#protocol/job.ts';
import { traceId } from '#protocol/trace.ts';
import { parseDocument } from '#runtime/hub/problem.ts';

const loopbackNames = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * Name part of a Host or Origin authority, in lower case. A page on another name that resolves to
 * 127.0.0.1 (DNS rebinding) sends its own name here.
 */
function hostName(authority: string): string {
  return authority.toLowerCase().replace(/:\d{1,5}$/, '');
}

/** Refuses requests that a browser was tricked into: foreign Host names, foreign origins, cross-site fetches. */
export function checkOrigin(headers: FastifyRequest['raw']['headers']): void {
  const { host, origin } = headers;
  if (host === undefined || !loopbackNames.has(hostName(host))) {
    throw new EmpError('FORBIDDEN', {
      detail: `This hub answers on loopback names only (localhost, 127.0.0.1, [::1]); the Host header says ${JSON.stringify(host ?? '')}`,
    });
  }
  if (origin !== undefined && !loopbackNames.has(hostName(origin.replace(/^https?:\/\//, '')))) {
    throw new EmpError('FORBIDDEN', { detail: 'Pages of other origins may not call this hub' });
  }
  if (headers['sec-fetch-site'] === 'cross-site') {
    throw new EmpError('FORBIDDEN', { detail: 'Pages of other sites may not call this hub' });
  }
}

/** The caller's trace, null where the header is absent or malformed: a bad one must not fail a request. */
export function traceparentOf(headers: FastifyRequest['raw']['headers']): string | null {
  if (headers.traceparent === undefined) return null;
  const parsed = Traceparent.safeParse(headers.traceparent);
  return parsed.success ? parsed.data : null;
}

export function traceIdOf(headers: FastifyRequest['raw']['headers']): string | null {
  const traceparent = traceparentOf(headers);
  return traceparent === null ? null : traceId(traceparent);
}

/** How the caller reached this hub: URLs of the folder store are made for the same name. */
export function baseUrlOf(headers: FastifyRequest['raw']['headers']): string {
  return `http://${headers.host ?? '127.0.0.1'}`;
}

/** Query of a request; unknown parameters are refused by name. */
export function parseQuery<T>(schema: z.ZodType<T>, request: FastifyRequest): T {
  return parseDocument(schema, { ...(request.query as Record<string, unknown>) }, { what: 'The query' });
}

/** Path parameters; a malformed id cannot exist, so it is not found. */
export function parsePath<T>(schema: z.ZodType<T>, request: FastifyRequest): T {
  const parsed = schema.safeParse(request.params);
  if (parsed.success) return parsed.data;
  throw new EmpError('NOT_FOUND', {
    detail: `Nothing is known under ${request.url.split('?')[0]}: ${parsed.error.issues[0]?.message ?? ''}`,
  });
}

/** Path parameters of a request that makes what it names: a name that cannot be is told why, not that it is unknown. */
export function parseNewPath<T>(schema: z.ZodType<T>, request: FastifyRequest): T {
  return parseDocument(schema, request.params, { what: 'The path' });
}

export function parseBody<T>(schema: z.ZodType<T>, request: FastifyRequest): T {
  return parseDocument(schema, request.body ?? {}, { what: 'The request' });
}

/** Warnings as part of an answer; no field where there is none. */
export const warningsOf = (warnings: string[]) => (warnings.length > 0 ? { warnings } : {});

/** `true` and `false` as text. */
export const Flag = z.enum(['true', 'false']).transform((text) => text === 'true');

/** Comma-separated list of at most 32 values. */
export const listOf = <T extends z.ZodType<unknown, string>>(item: T) =>
  z
    .string()
    .transform((text) => text.split(',').filter((part) => part !== ''))
    .pipe(z.array(item).min(1).max(32));

/** Whole number from text, so that `1e3`, `0x10` and blanks are refused. */
export const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,16}$/, 'is a whole number')
    .transform(Number)
    .pipe(z.int().min(min).max(max));
