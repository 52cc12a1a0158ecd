import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RecordedEvent } from '#protocol/records.ts';
import { ContractHub, json, problem } from './cli/contract-hub.ts';
import { HubClient } from './client.ts';
import { readSse, type SseMessage } from './client-events.ts';
import { HubUnreachable } from './client-http.ts';
import { systemClock } from './env.ts';
import { quietEnv } from './quiet-client.ts';

async function parse(chunks: (string | Uint8Array)[]): Promise<SseMessage[]> {
  async function* bytes() {
    for (const chunk of chunks) yield typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk;
  }
  const messages: SseMessage[] = [];
  for await (const message of readSse(bytes())) messages.push(message);
  return messages;
}

describe('server-sent events', () => {
  test('fields may be cut anywhere, even inside a character', async () => {
    const whole = new TextEncoder().encode('id: 7\nevent: job.leased\ndata: {"a":"é"}\n\n');
    const expected = [{ id: '7', event: 'job.leased', data: '{"a":"é"}' }];
    for (let at = 0; at <= whole.length; at++)
      expect(await parse([whole.slice(0, at), whole.slice(at)])).toEqual(expected);
  });

  test('all three line ends count, also when CRLF is cut in two', async () => {
    expect(await parse(['data: a\r\n\r\ndata: b\r\rdata: c\n\n'])).toMatchObject([
      { data: 'a' },
      { data: 'b' },
      { data: 'c' },
    ]);
    expect(await parse(['data: a\r', '\n\r', '\ndata: b\n\n'])).toMatchObject([{ data: 'a' }, { data: 'b' }]);
  });

  test('comments, unknown fields and events without data are skipped; data lines are joined', async () => {
    expect(await parse([': ping\n\nretry: 5\nid: 3\n\ndata: x\ndata:y\n\n'])).toEqual([
      { id: '3', event: 'message', data: 'x\ny' },
    ]);
  });

  test('an unfinished event at the end is dropped', async () => {
    expect(await parse(['data: a\n\ndata: b\n'])).toMatchObject([{ data: 'a' }]);
  });

  test('an endless line is refused', async () => {
    await expect(parse(['data: ', 'x'.repeat(3_000_000)])).rejects.toMatchObject({ code: 'FRAME_INVALID' });
  });
});

describe('following events', () => {
  let hub: ContractHub;
  let client: HubClient;
  let stop: AbortController;
  beforeEach(async () => {
    hub = await ContractHub.start();
    client = new HubClient({ baseUrl: hub.url, env: quietEnv() });
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort();
    await hub.stop();
  });

  const event = (seq: number): RecordedEvent => ({
    seq,
    type: 'job.leased',
    jobId: 'j',
    machineId: null,
    data: {},
    atMs: 0,
  });
  const sse = (...events: RecordedEvent[]) =>
    events.map((item) => `id: ${item.seq}\nevent: ${item.type}\ndata: ${JSON.stringify(item)}\n\n`).join('');

  async function take(count: number, after = 0): Promise<number[]> {
    const seen: number[] = [];
    for await (const { seq } of client.follow({ after, signal: stop.signal })) {
      seen.push(seq);
      if (seen.length === count) break;
    }
    return seen;
  }

  test('goes on behind the last event after a cut, each event once', async () => {
    let connects = 0;
    hub.on('GET /v1/events', ({ response }) => {
      connects += 1;
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      if (connects === 1) {
        response.write(sse(event(5), event(6)));
        systemClock.setTimeout(() => response.destroy(), 0);
      } else response.write(sse(event(6), event(7)));
    });
    expect(await take(3, 4)).toEqual([5, 6, 7]);
    expect(hub.requests.map(({ line, headers }) => [line, headers['last-event-id']])).toEqual([
      ['GET /v1/events?from=4', '4'],
      ['GET /v1/events?from=6', '6'],
    ]);
  });

  test('goes on after a stream that ended in good order', async () => {
    let next = 1;
    hub.on('GET /v1/events', ({ response }) => void response.writeHead(200).end(sse(event(next++))));
    expect(await take(3)).toEqual([1, 2, 3]);
  });

  test('a hub that stops for a while is waited for, once it answered', async () => {
    let connects = 0;
    hub.on('GET /v1/events', ({ response }) => {
      connects += 1;
      if (connects === 1) return void response.writeHead(200).end(sse(event(1)));
      if (connects === 2) return problem(response, 503, 'DRAINING', 'stopping');
      response.writeHead(200).write(sse(event(2)));
    });
    expect(await take(2)).toEqual([1, 2]);
  });

  test('the first connect must succeed', async () => {
    const { url } = hub;
    await hub.stop();
    hub = await ContractHub.start();
    client = new HubClient({ baseUrl: url, env: quietEnv() });
    await expect(take(1)).rejects.toThrow(HubUnreachable);
  });

  test('a refusal ends it with the error of the hub', async () => {
    hub.on('GET /v1/events', ({ response }) => problem(response, 400, 'VALIDATION_FAILED', 'types: unknown'));
    await expect(take(1)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
  });

  test('the signal ends it without an error', async () => {
    hub.on('GET /v1/events', ({ response }) => {
      response.writeHead(200).write(sse(event(1)));
    });
    const seen: number[] = [];
    for await (const { seq } of client.follow({
      after: 0,
      signal: stop.signal,
      types: ['job.leased'],
      jobId: 'j',
    })) {
      seen.push(seq);
      stop.abort();
    }
    expect(seen).toEqual([1]);
    expect(hub.requests[0]?.line).toBe('GET /v1/events?from=0&job=j&types=job.leased');
  });

  test('one page is asked for as JSON', async () => {
    hub.on('GET /v1/events', ({ response }) => json(response, 200, { items: [event(9)], highestSeq: 9 }));
    expect(await client.highestSeq()).toBe(9);
    expect(hub.requests[0]).toMatchObject({
      line: 'GET /v1/events?from=0&limit=1',
      headers: { accept: 'application/json' },
    });
  });
});
