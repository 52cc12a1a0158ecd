import type { Clock } from '#protocol/env.ts';
import { EmpError, ERROR_CODES, type ErrorCode, type FieldError } from '#protocol/errors.ts';

/** Longest JSON answer a client reads, characters: a list page of 1 000 jobs with small payloads fits. */
export const answerLimitCharacters = 64 * 1_048_576;

/** How long a second look at what closed a connection may take, ms. */
const secondLookMs = 2_000;

/** No hub answered at the URL. `reason` is the system's code (`ECONNREFUSED`), never a sentence. */
export class HubUnreachable extends Error {
  readonly url: string;
  readonly reason: string;

  constructor(url: string, reason: string, cause?: unknown) {
    super(`hub did not answer at ${url} (${reason})`, { cause });
    this.name = 'HubUnreachable';
    this.url = url;
    this.reason = reason;
  }
}

/** Something answers at the URL, but not in the hub's language: another server, or a proxy's page. */
export class NotAHub extends Error {
  readonly url: string;

  constructor(url: string, detail: string) {
    super(`what answers at ${url} is not an EMP hub: ${detail}`);
    this.name = 'NotAHub';
    this.url = url;
  }
}

export interface HttpOptions {
  /** Origin of the hub, e.g. `http://127.0.0.1:7700`. */
  baseUrl: string;
  clock: Clock;
  /** Time for one request including its answer, ms. */
  timeoutMs: number;
}

export interface HttpRequest {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Path on the hub, or an absolute URL that the hub handed out (signed uploads). */
  path: string;
  query?: Record<string, string | number | boolean | undefined>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is, instead of `json`. */
  body?: Blob | Uint8Array<ArrayBuffer>;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** Added to the time limit: how long the hub may hold a long poll, ms. */
  holdMs?: number;
}

/** URL of a request with its query; undefined values are left out. */
export function requestUrl(baseUrl: string, request: Pick<HttpRequest, 'path' | 'query'>): URL {
  const url = new URL(request.path, baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`);
  for (const [key, value] of Object.entries(request.query ?? {})) {
    if (value !== undefined) url.searchParams.set(key, String(value));
  }
  return url;
}

/** Runs `work` with a signal that aborts after `limitMs` (`TIMEOUT`) or with the caller's signal. */
async function within<T>(
  options: { clock: Clock; limitMs: number; what: string; signal: AbortSignal | undefined },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const timeout = new AbortController();
  const timer = options.clock.setTimeout(
    () =>
      timeout.abort(
        new EmpError('TIMEOUT', { detail: `no answer to ${options.what} within ${options.limitMs} ms` }),
      ),
    options.limitMs,
  );
  try {
    return await work(options.signal ? AbortSignal.any([options.signal, timeout.signal]) : timeout.signal);
  } finally {
    options.clock.clearTimeout(timer);
  }
}

/** The code that says why a socket failed; fetch hides it one or two causes deep. */
export function networkReason(error: unknown): string {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (typeof code === 'string') return code;
    if (cause instanceof AggregateError && cause.errors.length > 0) return networkReason(cause.errors[0]);
  }
  return error instanceof Error ? error.message : String(error);
}

function isKnownCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERROR_CODES, code);
}

function fieldErrors(value: unknown): FieldError[] {
  if (!Array.isArray(value)) return [];
  return value.filter(
    (item): item is FieldError =>
      typeof item === 'object' &&
      item !== null &&
      typeof item.pointer === 'string' &&
      typeof item.detail === 'string',
  );
}

/** A code for an answer that names none we know: a newer hub, or a proxy in between. */
function codeOfStatus(status: number): ErrorCode {
  const found = Object.entries(ERROR_CODES).find(([, entry]) => entry.status === status);
  if (found !== undefined) return found[0] as ErrorCode;
  return status < 500 ? 'VALIDATION_FAILED' : 'INTERNAL';
}

/**
 * The error of a refused request, from its problem document (RFC 9457). `fields.status` keeps the
 * HTTP status, `fields.code` a code that this version does not know.
 */
export function problemError(url: string, status: number, text: string): EmpError | NotAHub {
  let problem: Record<string, unknown>;
  try {
    problem = JSON.parse(text) as Record<string, unknown>;
  } catch {
    return new NotAHub(url, `it answered ${status} without a problem document`);
  }
  if (typeof problem !== 'object' || problem === null || !('code' in problem)) {
    return new NotAHub(url, `it answered ${status} without a problem document`);
  }
  const code = isKnownCode(problem['code']) ? problem['code'] : codeOfStatus(status);
  const detail = typeof problem['detail'] === 'string' ? problem['detail'] : ERROR_CODES[code].title;
  return new EmpError(code, {
    detail,
    retryable:
      typeof problem['retryable'] === 'boolean' ? problem['retryable'] : status === 429 || status >= 500,
    errors: fieldErrors(problem['errors']),
    fields: {
      status,
      code: String(problem['code']),
      traceId: typeof problem['traceId'] === 'string' ? problem['traceId'] : null,
    },
  });
}

/**
 * Sends a request and answers as soon as the headers are there; the body is the caller's. Rejects
 * with `HubUnreachable`, `NotAHub`, `EmpError` of the hub's problem, `TIMEOUT`, or the reason of the
 * caller's signal. The signal goes on to abort the body.
 */
export async function openRequest(http: HttpOptions, request: HttpRequest): Promise<Response> {
  const url = requestUrl(http.baseUrl, request);
  const method = request.method ?? 'GET';
  const limitMs = http.timeoutMs + (request.holdMs ?? 0);
  return await within(
    { clock: http.clock, limitMs, what: `${method} ${url.pathname}`, signal: request.signal },
    async (signal) => {
      try {
        const response = await fetch(url, {
          method,
          headers: {
            ...(request.json === undefined ? {} : { 'content-type': 'application/json' }),
            ...request.headers,
          },
          body: request.body ?? (request.json === undefined ? null : JSON.stringify(request.json)),
          signal,
        });
        if (!response.ok) throw problemError(url.origin, response.status, await response.text());
        return response;
      } catch (error) {
        const failure = asClientError(url.origin, error, signal);
        if (failure instanceof HubUnreachable && closedUnanswered(error)) {
          if (await closesUnanswered(http, url.origin)) throw notHttp(url.origin);
        }
        throw failure;
      }
    },
  );
}

/** A connection was taken and closed again without a byte: by a hub that dies, or by a server of another language. */
function closedUnanswered(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as { code?: unknown; socket?: unknown }) : undefined;
  const socket = cause?.socket as { bytesRead?: unknown } | undefined;
  return cause?.code === 'UND_ERR_SOCKET' && socket?.bytesRead === 0;
}

/** Whether the same happens to a second connection: where a hub has died, nobody takes one. */
async function closesUnanswered({ clock }: HttpOptions, origin: string): Promise<boolean> {
  const what = { clock, limitMs: secondLookMs, what: 'GET /livez', signal: undefined };
  try {
    await within(what, async (signal) => await fetch(new URL('/livez', origin), { signal }));
    return false;
  } catch (error) {
    return closedUnanswered(error);
  }
}

const notHttp = (origin: string) => new NotAHub(origin, 'it does not speak HTTP');

/** Sends a request and reads its JSON answer; errors as `openRequest`. */
export async function requestJson<T>(
  http: HttpOptions,
  request: HttpRequest,
): Promise<{ status: number; body: T }> {
  const limitMs = http.timeoutMs + (request.holdMs ?? 0);
  const what = `${request.method ?? 'GET'} ${request.path}`;
  const origin = new URL(http.baseUrl).origin;
  return await within({ clock: http.clock, limitMs, what, signal: request.signal }, async (signal) => {
    const response = await openRequest(http, { ...request, signal });
    let text: string;
    try {
      text = await response.text();
    } catch (error) {
      throw asClientError(origin, error, signal);
    }
    if (text.length > answerLimitCharacters)
      throw new NotAHub(origin, `an answer of ${text.length} characters`);
    try {
      return { status: response.status, body: JSON.parse(text) as T };
    } catch {
      throw new NotAHub(origin, `its answer to ${what} is not JSON`);
    }
  });
}

/** What a failed fetch means: the caller's abort, our own error, or a hub that is not there. */
export function asClientError(origin: string, error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof EmpError || error instanceof NotAHub || error instanceof HubUnreachable) return error;
  if (error instanceof Error && (error.cause as Error | undefined)?.name === 'HTTPParserError')
    return notHttp(origin);
  return new HubUnreachable(origin, networkReason(error), error);
}
