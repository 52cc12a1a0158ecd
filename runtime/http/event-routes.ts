import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { WebSocket } from 'ws';
import { z } from 'zod';
import { EmpError } from '#protocol/errors.ts';
import { EventType } from '#protocol/events.ts';
import { JobId } from '#protocol/names.ts';
import type { RecordedEvent } from '#protocol/records.ts';
import type { EventFilter } from '#runtime/hub/events-hub.ts';
import type { Hub } from '#runtime/hub/hub.ts';
import type { HttpApp } from './http-app.ts';
import { listOf, parseQuery, wholeNumber } from './request-checks.ts';

const pageLimit = 1_000;
const batchLimit = 200;
/** A comment as often as this keeps proxies from closing an idle stream, ms. */
const pingMs = 15_000;

export const EventsQuery = z.strictObject({
  from: wholeNumber(0, Number.MAX_SAFE_INTEGER).optional(),
  job: JobId.optional(),
  types: listOf(EventType).optional(),
  limit: wholeNumber(1, pageLimit).default(pageLimit),
});
export type EventsQuery = z.infer<typeof EventsQuery>;

function filterOf(query: EventsQuery): EventFilter {
  return { ...(query.job !== undefined && { jobId: query.job }), ...(query.types && { types: query.types }) };
}

/** Where a subscriber's events go. `write` resolves when the reader has taken them; false = it has gone. */
interface EventSink {
  write(events: RecordedEvent[]): Promise<boolean>;
  ping(): void;
}

/** Streams under way on this hub. */
export class EventStreams {
  readonly #hub: Hub;
  #open = 0;

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** Refuses one more subscriber than the limit. */
  admit(): void {
    const { subscribersLimit } = this.#hub.config;
    if (this.#open < subscribersLimit) return;
    throw new EmpError('INBOX_FULL', {
      detail: `${this.#open} subscribers follow events already: try again, or poll GET /v1/events`,
    });
  }

  /**
   * Sends every matching event after `after`, then each new one, until `signal` aborts or the sink
   * ends. Pulls: one batch is in flight per subscriber, whatever its speed.
   */
  async run(options: {
    after: number;
    filter: EventFilter;
    sink: EventSink;
    signal: AbortSignal;
  }): Promise<void> {
    const { filter, sink, signal } = options;
    const { events } = this.#hub;
    let cursor = options.after;
    this.#open++;
    try {
      while (!signal.aborted) {
        const batch = await events.since({ after: cursor, filter, limit: batchLimit });
        if (batch.events.length > 0 && !(await sink.write(batch.events))) {
          if (!signal.aborted) this.#hub.counters.subscribersDropped++;
          return;
        }
        const still = batch.cursor === cursor;
        cursor = batch.cursor;
        if (!still) continue;
        if (!(await events.newer({ after: cursor, waitMs: pingMs, signal })) && !signal.aborted) sink.ping();
      }
    } finally {
      this.#open--;
    }
  }

  /** Follows events over an accepted WebSocket: one RecordedEvent a message. */
  async follow(socket: WebSocket, query: EventsQuery, signal: AbortSignal): Promise<void> {
    const { env, config } = this.#hub;
    const sink: EventSink = {
      ping: () => socket.ping(),
      async write(events) {
        let last: Promise<boolean> = Promise.resolve(true);
        for (const event of events) {
          last = new Promise((resolve) =>
            socket.send(JSON.stringify(event), (error) => resolve(error === undefined || error === null)),
          );
        }
        return await inTime(env, last, config.slowReaderMs);
      },
    };
    const after = query.from ?? this.#hub.events.highest;
    await this.run({ after, filter: filterOf(query), sink, signal });
    socket.close(signal.aborted ? 1_001 : 1_013, 'resume with ?from= and the last seq');
  }
}

/** The value, or false when it does not come in time: a reader that takes nothing for so long is dropped and resumes. */
async function inTime(env: Hub['env'], value: Promise<boolean>, limitMs: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const timer = env.clock.setTimeout(() => resolve(false), limitMs);
    void value.then((answer) => {
      env.clock.clearTimeout(timer);
      resolve(answer);
    });
  });
}

/** Ends streams when the client hangs up or the hub stops. */
export function eventRoutes(
  app: HttpApp,
  hub: Hub,
  options: { streams: EventStreams; stopped: AbortSignal },
): void {
  app.get('/v1/events', async (request, reply) => {
    const query = parseQuery(EventsQuery, request);
    const wantsStream = (request.headers.accept ?? '').includes('text/event-stream');
    if (wantsStream) return await streamEvents(hub, { request, reply, query, ...options });
    const { limit, from = 0 } = query;
    const items = await hub.records.listEvents({ after: from, limit, ...filterOf(query) });
    return { items, highestSeq: await hub.records.highestSeq() };
  });
}

async function streamEvents(
  hub: Hub,
  options: {
    request: FastifyRequest;
    reply: FastifyReply;
    query: EventsQuery;
    streams: EventStreams;
    stopped: AbortSignal;
  },
): Promise<FastifyReply> {
  const { request, reply, query, streams, stopped } = options;
  streams.admit();
  const after = lastEventId(request) ?? query.from ?? hub.events.highest;
  reply.hijack();
  const response = reply.raw;
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'x-request-id': request.id,
  });
  response.write(': connected\n\n');
  const gone = new AbortController();
  const end = () => gone.abort();
  response.once('close', end);
  stopped.addEventListener('abort', end, { once: true });
  const sink = sseSink(hub, response, gone.signal);
  try {
    await streams.run({ after, filter: filterOf(query), sink, signal: gone.signal });
  } finally {
    stopped.removeEventListener('abort', end);
    response.end();
  }
  return reply;
}

function lastEventId(request: FastifyRequest): number | null {
  const given = request.headers['last-event-id'];
  return typeof given === 'string' && /^\d{1,16}$/.test(given) ? Number(given) : null;
}

function sseSink(hub: Hub, response: ServerResponse, signal: AbortSignal): EventSink {
  return {
    ping: () => void response.write(': ping\n\n'),
    async write(events) {
      const text = events
        .map((event) => `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
        .join('');
      if (signal.aborted || response.destroyed) return false;
      if (response.write(text)) return true;
      const drained = new Promise<boolean>((resolve) => {
        response.once('drain', () => resolve(true));
        signal.addEventListener('abort', () => resolve(false), { once: true });
      });
      const taken = await inTime(hub.env, drained, hub.config.slowReaderMs);
      if (!taken) response.destroy();
      return taken;
    },
  };
}
