import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import type { PeerLink } from '#protocol/peer.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { refusalCode, wsDialer } from './ws-dialer.ts';

async function listen(upgrade: (server: Server, sockets: WebSocketServer) => void): Promise<string> {
  const server = createServer();
  const sockets = new WebSocketServer({ noServer: true });
  upgrade(server, sockets);
  const open = new Set<Socket>();
  server.on('connection', (socket) => open.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of open) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/v1/link`;
}

function dial(url: string) {
  const events: string[] = [];
  let resolveOpen: (link: PeerLink) => void;
  let resolveClosed: (info: { code: number; reason: string }) => void;
  const opened = new Promise<PeerLink>((resolve) => (resolveOpen = resolve));
  const closed = new Promise<{ code: number; reason: string }>((resolve) => (resolveClosed = resolve));
  let heard: (text: string) => void = () => undefined;
  const message = new Promise<string>((resolve) => (heard = resolve));
  const { abort } = wsDialer.dial({
    url,
    token: 'secret',
    handlers: {
      open: (link) => resolveOpen(link),
      message: (text) => heard(text),
      closed: (info) => {
        events.push('closed');
        resolveClosed(info);
      },
    },
  });
  return { opened, closed, message, abort, events };
}

const accept =
  (onSocket: (socket: WebSocket, authorization: string | undefined) => void) =>
  (server: Server, sockets: WebSocketServer) =>
    server.on('upgrade', (request, socket, head) =>
      sockets.handleUpgrade(request, socket, head, (ws) => onSocket(ws, request.headers.authorization)),
    );

describe('WebSocket dialer', () => {
  test('carries text both ways, with the token as bearer', async () => {
    const url = await listen(
      accept((socket, authorization) => {
        socket.on('message', (data) => socket.send(`${data} ${authorization}`));
      }),
    );
    const { opened, message } = dial(url);
    const link = await opened;
    expect(link.send('hello')).toBe(true);
    expect(await message).toBe('hello Bearer secret');
    expect(link.bufferedBytes()).toBe(0);
  });

  test('a refused upgrade is told once, with its status in the code', async () => {
    const url = await listen((server) =>
      server.on('upgrade', (_, socket) =>
        socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n'),
      ),
    );
    const { closed, events } = dial(url);
    expect(await closed).toMatchObject({ code: refusalCode(401), reason: expect.stringContaining('401') });
    // The close of the socket itself comes later than the refusal.
    await new VirtualClock().settle();
    expect(events).toEqual(['closed']);
  });

  test('a port where nobody listens is told with the reason', async () => {
    const { closed } = dial('ws://127.0.0.1:1/v1/link');
    expect(await closed).toMatchObject({ code: 1006, reason: expect.stringContaining('ECONNREFUSED') });
  });

  test('the close code of the hub arrives', async () => {
    const url = await listen(accept((socket) => socket.close(4409, 'newer')));
    expect(await dial(url).closed).toEqual({ code: 4409, reason: 'newer' });
  });

  test('a connection that vanishes is told as such, and sends nothing more', async () => {
    const url = await listen(accept((socket) => socket.terminate()));
    const { opened, closed } = dial(url);
    const link = await opened;
    expect(await closed).toMatchObject({ code: 1006 });
    expect(link.send('x')).toBe(false);
  });

  test('hanging up tells the hub why', async () => {
    let told: (info: { code: number; reason: string }) => void;
    const heard = new Promise<{ code: number; reason: string }>((resolve) => (told = resolve));
    const url = await listen(
      accept((socket) => socket.on('close', (code, reason) => told({ code, reason: reason.toString() }))),
    );
    (await dial(url).opened).close(1000, 'hung up');
    expect(await heard).toEqual({ code: 1000, reason: 'hung up' });
  });

  test('hanging up on a hub that no longer reads ends at once', async () => {
    const url = await listen(accept((socket) => socket.pause()));
    const { opened, closed } = dial(url);
    (await opened).close(1000, 'hung up');
    expect(await closed).toMatchObject({ code: 1006 });
  });

  test('binary frames close the link', async () => {
    const url = await listen(accept((socket) => socket.send(Buffer.from([1, 2, 3]))));
    expect(await dial(url).closed).toMatchObject({ code: 1003 });
  });

  test('a frame far over the limit closes the link', async () => {
    const url = await listen(accept((socket) => socket.send('x'.repeat(2_000_000))));
    expect((await dial(url).closed).code).toBe(1006);
  });

  test('giving up ends the attempt', async () => {
    const url = await listen((server) => server.on('upgrade', () => undefined));
    const { abort, closed } = dial(url);
    abort();
    expect(await closed).toMatchObject({ code: 1006 });
  });
});
