import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { composeHub, type HubCore } from './compose-hub.ts';
import { systemEnv } from './env.ts';
import type { HttpApp } from './http/http-app.ts';
import { StartGate } from './http/start-gate.ts';
import type { StoreNames } from './hub/status.ts';
import { HubConfig } from './hub-config.ts';
import { processLog } from './log.ts';
import { openStores } from './open-stores.ts';
import { hubApp, serveHub } from './serve-hub.ts';

const env = systemEnv(processLog({ level: 'silent', fields: {} }));
const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanUps.splice(0).reverse()) await clean();
});

/** A core on embedded stores that has not started. */
async function notStarted(): Promise<{ core: HubCore; stores: StoreNames }> {
  const config = HubConfig.parse({ port: 0 });
  const { records, broker, objects, names, close } = await openStores({ config, env });
  cleanUps.push(close);
  const ports = { records, broker, objects };
  return { core: await composeHub({ config, env, ports, services: [simulationSpec] }), stores: names };
}

async function starting() {
  const server = await serveHub(await notStarted());
  cleanUps.push(() => server.stop());
  return server;
}

/** A socket that never hangs up by itself, and all that it was told. */
function ask(
  port: number,
  path: string,
  headers: string[] = [],
): { socket: Socket; answer: Promise<string> } {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  cleanUps.push(async () => socket.destroy());
  let text = '';
  socket.on('data', (data) => {
    text += String(data);
  });
  const answer = once(socket, 'end').then(() => text);
  socket.write([`GET ${path} HTTP/1.1`, 'Host: localhost', ...headers, '', ''].join('\r\n'));
  return { socket, answer };
}

const upgrade = (port: number, path = '/v1/link') =>
  ask(port, path, [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ]);

/** Resolves when the next request has come to the gate: the server's own listener was there before. */
const arrived = (app: HttpApp, kind: 'request' | 'upgrade') => once(app.server, kind);

describe('a start that is given up', () => {
  test('answers 503 to a WebSocket that waits, and is over though its client does not hang up', async () => {
    const server = await starting();
    const came = arrived(server.app, 'upgrade');
    const { answer } = upgrade(server.port);
    await came;
    await server.stop();
    expect(await answer).toMatch(/^HTTP\/1.1 503 .*Retry-After: 1\r\n.*"code":"DRAINING"/s);
  });

  test('answers 503 to a request that waits', async () => {
    const server = await starting();
    const came = arrived(server.app, 'request');
    const { answer } = ask(server.port, '/v1/jobs');
    await came;
    await server.stop();
    expect(await answer).toMatch(/^HTTP\/1.1 503 .*retry-after: 1\r\n.*"code":"DRAINING"/s);
  });
});

describe('before a hub has started', () => {
  test('it is live, and neither ready nor started for the reason that it is starting', async () => {
    const server = await starting();
    const probe = async (path: string) => {
      const answer = await fetch(server.url + path);
      return [answer.status, await answer.text()];
    };
    expect(await probe('/livez')).toEqual([200, 'ok\n']);
    for (const path of ['/readyz', '/startupz', '/readyz?verbose'])
      expect(await probe(path)).toEqual([503, 'starting\n']);
  });

  test('requests and WebSockets wait, and are served when it opens', async () => {
    const { core, stores } = await notStarted();
    const server = await serveHub({ core, stores });
    cleanUps.push(() => server.stop());
    const asked = arrived(server.app, 'request');
    const jobs = fetch(`${server.url}/v1/jobs`);
    await asked;
    const dialled = arrived(server.app, 'upgrade');
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/v1/events?from=0`);
    cleanUps.push(async () => socket.terminate());
    await dialled;
    const first = once(socket, 'message');
    await core.start();
    server.open();
    expect((await jobs).status).toBe(200);
    expect(String(await first)).toContain('hub.started');
  });

  test('what is more than may wait is refused at once, and room is made by who hangs up', async () => {
    const gate = new StartGate({ limit: 1 });
    const { core, stores } = await notStarted();
    const { app } = hubApp({ core, stores, gate, stopped: new AbortController().signal });
    await app.listen({ host: '127.0.0.1', port: 0 });
    cleanUps.push(async () => {
      gate.close();
      await app.close();
    });
    const { port } = app.server.address() as AddressInfo;
    for (const kind of ['upgrade', 'request'] as const) {
      const came = arrived(app, kind);
      const first = kind === 'upgrade' ? upgrade(port) : ask(port, '/v1/jobs');
      await came;
      expect(await upgrade(port).answer).toMatch(/^HTTP\/1.1 503 .*Retry-After: 1\r\n.*"code":"INBOX_FULL"/s);
      const refused = await fetch(`http://127.0.0.1:${port}/v1/jobs`);
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
      expect(await refused.json()).toMatchObject({ code: 'INBOX_FULL', retryable: true });
      // Its end is all that the server hears of a client that hangs up in good order.
      first.socket.end();
      await first.answer;
    }
    const last = arrived(app, 'upgrade');
    const { answer } = upgrade(port);
    await last;
    gate.close();
    expect(await answer).toContain('"code":"DRAINING"');
  });
});
