import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { sleep } from '#protocol/env.ts';
import { frameLimitBytes, linkVersion } from '#protocol/link.ts';
import type { RecordedEvent } from '#protocol/records.ts';
import { systemEnv } from './env.ts';
import { cpuClass } from './hub/hub-rig.ts';
import { HubConfig, type HubConfigInput } from './hub-config.ts';
import { processLog } from './log.ts';
import { type RunningHub, startHub } from './start-hub.ts';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanUps.splice(0).reverse()) await clean();
});

const env = systemEnv(processLog({ level: 'silent', fields: {} }));

async function start(config: HubConfigInput = {}): Promise<RunningHub> {
  const hub = await startHub({
    config: HubConfig.parse({ port: 0, leaseTtlMs: 2_000, singletonTtlMs: 1_000, ...config }),
    env,
  });
  cleanUps.push(() => hub.stop());
  // The broker opens with the first reconcile.
  while ((await fetch(`${hub.url}/readyz`)).status !== 200) await sleep(env.clock, 5);
  return hub;
}

async function dataDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'emp-data-'));
  cleanUps.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function post(hub: RunningHub, path: string, json: unknown) {
  const answer = await fetch(hub.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(json),
  });
  return (await answer.json()) as Answer;
}

/** What tests look at in answers of all kinds. */
interface Answer {
  kind?: string;
  token: string;
  incarnation: number;
  machineToken: string;
  assignment: { jobId: string; token: string };
  error?: unknown;
  body: Answer;
}

const submit = (hub: RunningHub, id: string) => post(hub, '/v1/jobs', { service: 'simulation', id });

/** The socket of a machine: asks by frame, answers by promise. */
async function machine(hub: RunningHub, machineId: string, given?: { token: string; incarnation: number }) {
  const { token } = given ?? (await post(hub, '/v1/join-tokens', {}));
  const socket = new WebSocket(`${hub.url.replace('http', 'ws')}/v1/link`, {
    headers: { authorization: `Bearer ${token}` },
  });
  cleanUps.push(async () => socket.terminate());
  const closed = new Promise<number>((resolve) => socket.on('close', resolve));
  const waiting = new Map<number, (frame: Answer) => void>();
  const notices: string[] = [];
  let noticed = () => {};
  socket.on('message', (data) => {
    const frame = JSON.parse(String(data));
    if (frame.re === undefined) {
      notices.push(frame.type);
      noticed();
    } else waiting.get(frame.re)?.(frame);
  });
  await new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject));
  let id = 0;
  const ask = (type: string, body: object): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const own = ++id;
      waiting.set(own, (frame) =>
        'error' in frame ? reject(new Error(JSON.stringify(frame.error))) : resolve(frame.body),
      );
      socket.send(JSON.stringify({ v: linkVersion, id: own, type, body }));
    });
  const welcome = await ask('hello', {
    machineId,
    incarnation: given?.incarnation ?? null,
    machineClass: cpuClass,
    software: 'test',
  });
  let request = 0;
  return {
    socket,
    closed,
    welcome,
    ask,
    async lease() {
      const free = [{ service: 'simulation', slots: 1 }];
      return await ask('claim', { requestId: ++request, free, resident: [] });
    },
    beat: () =>
      ask('beat', {
        running: [],
        highestRequestId: request,
        openRequestId: null,
        free: [{ service: 'simulation', slots: 1 }],
        report: {
          state: 'ready',
          reasons: [],
          diskFreeBytes: 1,
          loopDelayMs: 0,
          rssBytes: 1,
          deadLetters: 0,
          restarts: 0,
        },
      }),
    complete: (lease: { jobId: string; token: string }) =>
      ask('complete', { jobId: lease.jobId, token: lease.token, outputs: [], data: null, next: null }),
    count: (type: string) => notices.filter((notice) => notice === type).length,
    /** Resolves when so many notices of this type have come. */
    async noticed(type: string, count = 1) {
      while (notices.filter((notice) => notice === type).length < count) {
        await new Promise<void>((resolve) => {
          noticed = resolve;
        });
      }
    },
  };
}

/** Reads server-sent events until `enough` says so. */
async function readStream(
  url: string,
  options: { headers?: Record<string, string>; enough: (events: RecordedEvent[]) => boolean },
): Promise<RecordedEvent[]> {
  const gone = new AbortController();
  const answer = await fetch(url, {
    headers: { accept: 'text/event-stream', ...options.headers },
    signal: gone.signal,
  });
  expect(answer.headers.get('content-type')).toBe('text/event-stream');
  const events: RecordedEvent[] = [];
  let rest = '';
  for await (const chunk of answer.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const parts = (rest + chunk).split('\n\n');
    rest = parts.pop() ?? '';
    for (const part of parts) {
      const data = /^data: (.*)$/m.exec(part)?.[1];
      if (data === undefined) continue;
      const event = JSON.parse(data) as RecordedEvent;
      expect(part).toContain(`id: ${event.seq}\nevent: ${event.type}\n`);
      events.push(event);
    }
    if (options.enough(events)) break;
  }
  gone.abort();
  return events;
}

const ended = (jobId: string) => (events: RecordedEvent[]) =>
  events.some((event) => event.jobId === jobId && event.type === 'job.succeeded');

describe('a hub on sockets', () => {
  test('a machine joins by socket, claims, completes, and is woken for the next job', async () => {
    const hub = await start();
    const { lease, complete, noticed, welcome } = await machine(hub, 'm1');
    expect(welcome).toMatchObject({ kind: 'welcome', incarnation: 1, leaseTtlMs: 2_000 });
    await submit(hub, 'j1');
    const claimed = await lease();
    expect(claimed).toMatchObject({ kind: 'leased', assignment: { jobId: 'j1' } });
    expect(await complete(claimed.assignment)).toMatchObject({ kind: 'committed' });
    expect(await lease()).toEqual({ kind: 'empty' });
    await submit(hub, 'j2');
    await noticed('wake');
    expect(await lease()).toMatchObject({ kind: 'leased', assignment: { jobId: 'j2' } });
  });

  test('a link without a good token is closed with 4401, other paths are refused before the upgrade', async () => {
    const hub = await start();
    const dial = (path: string, headers: Record<string, string> = {}) =>
      new Promise<string>((resolve) => {
        const socket = new WebSocket(hub.url.replace('http', 'ws') + path, { headers });
        socket.on('close', (code) => resolve(String(code)));
        socket.on('error', (error) => resolve(error.message));
      });
    expect(await dial('/v1/link')).toBe('4401');
    expect(await dial('/v1/link', { authorization: 'Bearer nonsense' })).toBe('4401');
    expect(await dial('/v1/other')).toContain('404');
    expect(await dial('/v1/events?types=nothing')).toContain('400');
    expect(await dial('/v1/events', { origin: 'https://evil.example' })).toContain('403');
    expect(await dial('/v1/link', { host: 'evil.example' })).toContain('403');
  });

  test('binary and oversized messages close the link, the hub goes on', async () => {
    const hub = await start();
    const first = await machine(hub, 'm1');
    first.socket.send(Buffer.from([1, 2, 3]));
    expect(await first.closed).toBe(1_003);
    const second = await machine(hub, 'm2');
    second.socket.send('x'.repeat(4 * frameLimitBytes + 1));
    expect(await second.closed).toBe(1_009);
    expect((await fetch(`${hub.url}/readyz`)).status).toBe(200);
  });

  test('a request that is no HTTP is answered with 400 and closed', async () => {
    const hub = await start();
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(Number(new URL(hub.url).port), '127.0.0.1', () =>
        socket.write('EHLO hub\r\n\r\n'),
      );
      let text = '';
      socket.on('data', (data) => (text += String(data)));
      socket.on('close', () => resolve(text));
    });
    expect(answer).toMatch(/^HTTP\/1.1 400/);
  });

  test('a stop tells machines, ends streams and long polls, and closes the port', async () => {
    const hub = await start();
    const linked = await machine(hub, 'm1');
    await submit(hub, 'j1');
    const poll = fetch(`${hub.url}/v1/jobs/j1?waitMs=60000`).then(
      (answer) => answer.status,
      () => 0,
    );
    const stream = readStream(`${hub.url}/v1/events?from=0`, { enough: () => false });
    const socket = new WebSocket(`${hub.url.replace('http', 'ws')}/v1/events?from=0`);
    const over = new Promise<number>((resolve) => socket.on('close', resolve));
    await new Promise((resolve) => socket.once('message', resolve));
    await hub.stop();
    await linked.noticed('closing');
    expect(await linked.closed).toBe(1_001);
    expect(await over).toBe(1_001);
    expect((await stream).length).toBeGreaterThan(0);
    expect([0, 200]).toContain(await poll);
    await expect(fetch(`${hub.url}/livez`)).rejects.toThrow();
  });

  test('a hub without a data folder leaves nothing behind', async () => {
    const before = (await readdir(tmpdir())).filter((name) => name.startsWith('emp-hub-'));
    const hub = await start();
    await hub.stop();
    const after = (await readdir(tmpdir())).filter(
      (name) => name.startsWith('emp-hub-') && !before.includes(name),
    );
    expect(after).toEqual([]);
  });
});

describe('events', () => {
  test('R18: a stream resumes after its last id across a restart on the same data, without a gap or a repeat', async () => {
    const dir = await dataDir();
    const first = await start({ dataDir: dir });
    await submit(first, 'j1');
    const before = await readStream(`${first.url}/v1/events?from=0`, {
      enough: (events) => events.some((event) => event.jobId === 'j1'),
    });
    await submit(first, 'j2');
    await first.stop();
    const second = await start({ dataDir: dir, leaseTtlMs: 500 });
    const last = before.at(-1)?.seq ?? 0;
    const following = readStream(`${second.url}/v1/events`, {
      headers: { 'last-event-id': String(last) },
      enough: ended('j3'),
    });
    await submit(second, 'j3');
    const worker = await machine(second, 'm1');
    for (let done = 0; done < 3; ) {
      const seen = worker.count('wake');
      await worker.beat();
      const claimed = await worker.lease();
      if (claimed.kind === 'leased') {
        await worker.complete(claimed.assignment);
        done++;
      } else await worker.noticed('wake', seen + 1);
    }
    const all = [...before, ...(await following)];
    expect(all.map((event) => event.seq)).toEqual(
      Array.from({ length: all.length }, (_, index) => index + 1),
    );
    expect(all.filter((event) => event.type === 'job.submitted').map((event) => event.jobId)).toEqual([
      'j1',
      'j2',
      'j3',
    ]);
  });

  test('a WebSocket gets one event a message, filtered, from the seq that it names', async () => {
    const hub = await start();
    await submit(hub, 'j1');
    await submit(hub, 'j2');
    const socket = new WebSocket(
      `${hub.url.replace('http', 'ws')}/v1/events?from=0&job=j2&types=job.submitted,job.cancelled`,
    );
    cleanUps.push(async () => socket.terminate());
    const events: RecordedEvent[] = [];
    const both = new Promise<void>((resolve) =>
      socket.on('message', (data) => {
        if (events.push(JSON.parse(String(data))) === 2) resolve();
      }),
    );
    await new Promise((resolve) => socket.once('open', resolve));
    await post(hub, '/v1/jobs/j2/cancel', {});
    await both;
    expect(events.map((event) => [event.type, event.jobId])).toEqual([
      ['job.submitted', 'j2'],
      ['job.cancelled', 'j2'],
    ]);
  });

  test('a page of events names the highest seq', async () => {
    const hub = await start();
    await submit(hub, 'j1');
    await readStream(`${hub.url}/v1/events?from=0`, {
      enough: (events) => events.some((event) => event.jobId === 'j1'),
    });
    const page = (await (await fetch(`${hub.url}/v1/events?from=1&limit=2`)).json()) as {
      items: RecordedEvent[];
      highestSeq: number;
    };
    expect(page.items.map((event) => event.seq)).toEqual([2, 3]);
    expect(page.highestSeq).toBeGreaterThanOrEqual(4);
  });

  test('R19: more subscribers than the limit are refused', async () => {
    const hub = await start({ subscribersLimit: 1 });
    const socket = new WebSocket(`${hub.url.replace('http', 'ws')}/v1/events?from=0`);
    cleanUps.push(async () => socket.terminate());
    await new Promise((resolve) => socket.once('message', resolve));
    const answer = await fetch(`${hub.url}/v1/events`, { headers: { accept: 'text/event-stream' } });
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ code: 'INBOX_FULL' });
  });

  test('R15: a reader that takes nothing is dropped, and the hub keeps serving others', async () => {
    const hub = await start({ slowReaderMs: 100 });
    const { records, poke } = hub.core.hub;
    // More than the buffers of a loopback socket take.
    const data = { incarnation: 1, kind: 'x', detail: '', fields: { filler: 'x'.repeat(15_000) } };
    const event = { type: 'machine.incident', jobId: null, machineId: 'm1', data, atMs: 0 };
    await Promise.all(Array.from({ length: 2_000 }, () => records.appendEvent(event)));
    poke.recorder();
    const ended = new Promise<void>((resolve) => {
      const socket = connect(Number(new URL(hub.url).port), '127.0.0.1', () => {
        socket.write(
          'GET /v1/events?from=0 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n',
        );
        socket.pause();
      });
      cleanUps.push(async () => socket.destroy());
      const look = () => {
        // A paused socket learns of its end only when it reads again.
        if (hub.core.hub.counters.subscribersDropped > 0) resolve();
        else env.clock.setTimeout(look, 10);
      };
      look();
    });
    await ended;
    expect((await fetch(`${hub.url}/readyz`)).status).toBe(200);
  });
});

describe('data', () => {
  test('a job that runs through a restart of the hub keeps its machine and completes', async () => {
    const dir = await dataDir();
    const first = await start({ dataDir: dir, leaseTtlMs: 600 });
    await submit(first, 'j1');
    const worker = await machine(first, 'm1');
    const claimed = await worker.lease();
    expect(claimed.kind).toBe('leased');
    await first.stop();
    const second = await start({ dataDir: dir, leaseTtlMs: 600 });
    const job = ((await (await fetch(`${second.url}/v1/jobs/j1`)).json()) as { job: { state: string } }).job;
    expect(['leased', 'waiting']).toContain(job.state);
    const { machineToken } = worker.welcome;
    const back = await machine(second, 'm1', { token: machineToken, incarnation: 1 });
    expect(back.welcome).toMatchObject({ kind: 'welcome', incarnation: 1 });
    const { jobId, token } = claimed.assignment;
    expect(await back.complete({ jobId, token })).toMatchObject({ kind: 'committed' });
  });
});
