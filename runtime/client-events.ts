import { sleep } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { RecordedEvent } from '#protocol/records.ts';
import { asClientError, type HttpOptions, HubUnreachable, openRequest } from './client-http.ts';

/** Longest single event, characters: above it the stream is not ours. */
const eventLimitCharacters = 2 * 1_048_576;
/** The hub writes a comment every 15 s; a stream silent for three of them is dead, ms. */
const silenceLimitMs = 45_000;
/** Longest pause between two connects, ms. */
const reconnectLimitMs = 5_000;

export interface SseMessage {
  id: string | null;
  event: string;
  data: string;
}

/**
 * Splits a byte stream into server-sent events, after the WHATWG HTML standard: fields may be cut
 * anywhere, lines end in LF, CR or CRLF, comments and unknown fields are skipped, an event without
 * data is dropped. Comments are reported by `onComment`, because they prove that the peer lives.
 */
export async function* readSse(
  chunks: AsyncIterable<Uint8Array>,
  onComment: () => void = () => {},
): AsyncGenerator<SseMessage> {
  const decoder = new TextDecoder();
  let rest = '';
  let id: string | null = null;
  let event = '';
  let data: string[] = [];
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    if (rest.length > eventLimitCharacters)
      throw new EmpError('FRAME_INVALID', {
        detail: `an event is longer than ${eventLimitCharacters} characters`,
      });
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { id, event: event || 'message', data: data.join('\n') };
        event = '';
        data = [];
        continue;
      }
      if (line.startsWith(':')) {
        onComment();
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'data') data.push(value);
      else if (field === 'event') event = value;
      else if (field === 'id') id = value;
    }
  }
}

export interface EventQuery {
  /** Events with a higher `seq` than this; 0 = from the first one kept. Absent = from now on. */
  after?: number;
  jobId?: string;
  types?: string[];
}

export interface FollowOptions extends EventQuery {
  signal: AbortSignal;
  /** Told of each lost connection and of the pause before the next try, ms. */
  onReconnect?: (info: { reason: string; pauseMs: number }) => void;
  /** Called once the stream stands, with each connect: what happens from now on will be seen. */
  onOpen?: () => void;
}

/**
 * Every recorded event from `after` on, in order, each once, across lost connections and restarts of
 * the hub: after a cut it goes on behind the last event it gave. Ends only by the signal (returns) or
 * by an error that no retry mends. The first connect must succeed: else it rejects `HubUnreachable`.
 */
export async function* followEvents(
  http: HttpOptions,
  options: FollowOptions & { after: number },
): AsyncGenerator<RecordedEvent> {
  let last = options.after;
  let opened = false;
  let failures = 0;
  while (!options.signal.aborted) {
    try {
      for await (const event of openStream(http, {
        ...options,
        after: last,
        onOpen: () => {
          opened = true;
          options.onOpen?.();
        },
      })) {
        failures = 0;
        if (event.seq <= last) continue;
        last = event.seq;
        yield event;
      }
      if (options.signal.aborted) return;
    } catch (error) {
      if (options.signal.aborted) return;
      const mendable = error instanceof HubUnreachable || (error instanceof EmpError && error.retryable);
      if (!opened || !mendable) throw error;
      options.onReconnect?.({
        reason: error instanceof Error ? error.message : String(error),
        pauseMs: pauseMs(failures),
      });
    }
    failures += 1;
    await sleep(http.clock, pauseMs(failures), options.signal).catch((error: unknown) => {
      if (!options.signal.aborted) throw error;
    });
  }
}

/** 100 ms after the first cut, doubling up to the limit: a restarted hub is met within its first second. */
function pauseMs(failures: number): number {
  return Math.min(reconnectLimitMs, 100 * 2 ** Math.min(failures, 10));
}

/** One connection of the stream. */
async function* openStream(
  http: HttpOptions,
  options: FollowOptions & { after: number },
): AsyncGenerator<RecordedEvent> {
  const dead = new AbortController();
  const signal = AbortSignal.any([options.signal, dead.signal]);
  let timer = http.clock.setTimeout(() => {}, 0);
  const alive = () => {
    http.clock.clearTimeout(timer);
    timer = http.clock.setTimeout(
      () =>
        dead.abort(
          new EmpError('TIMEOUT', { detail: `the event stream was silent for ${silenceLimitMs} ms` }),
        ),
      silenceLimitMs,
    );
  };
  try {
    const response = await openRequest(http, {
      path: '/v1/events',
      query: { from: options.after, job: options.jobId, types: options.types?.join(',') },
      headers: { accept: 'text/event-stream', 'last-event-id': String(options.after) },
      signal,
    });
    if (response.body === null) return;
    alive();
    options.onOpen?.();
    for await (const message of readSse(response.body, alive)) {
      alive();
      yield JSON.parse(message.data) as RecordedEvent;
    }
  } catch (error) {
    throw asClientError(new URL(http.baseUrl).origin, error, signal);
  } finally {
    http.clock.clearTimeout(timer);
    dead.abort();
  }
}
