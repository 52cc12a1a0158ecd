import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '#runtime/env.ts';
import { TcpProxy } from './tcp-proxy.ts';

const open: { close(): void | Promise<void> }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

async function setup(onSocket: (socket: Socket) => void, shape = { rttMs: 4, bitsPerMs: 8_000_000 }) {
  const server: Server = createServer({ allowHalfOpen: true }, onSocket);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const proxy = new TcpProxy({ clock: systemClock, shape, target: { host: '127.0.0.1', port } });
  open.push(proxy, { close: () => void server.close() });
  const client = connect({ host: '127.0.0.1', port: await proxy.listen(), allowHalfOpen: true });
  await once(client, 'connect');
  return { proxy, client };
}

/** Everything until the other side ends; the socket itself stays open for writing. */
async function read(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'end');
  return Buffer.concat(chunks);
}

test('every byte arrives once and in order, in both directions, also after one side has ended', async () => {
  const sent = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => index % 251));
  const { proxy, client } = await setup((socket) => {
    void read(socket).then((all) => socket.end(all));
  });
  client.end(sent);
  expect(Buffer.compare(await read(client), sent)).toBe(0);
  expect(proxy.bytes).toEqual({ up: sent.length, down: sent.length });
});

test('a cut on one side is a cut on the other', async () => {
  const { client } = await setup((socket) => void socket.once('data', () => socket.destroy()));
  const ended = once(client, 'end');
  client.resume();
  client.write('x');
  await ended;
  expect(client.readableEnded).toBe(true);
});

test('a target that is not there closes the connection', async () => {
  const proxy = new TcpProxy({
    clock: systemClock,
    shape: { rttMs: 0, bitsPerMs: 1_000 },
    target: { host: '127.0.0.1', port: 1 },
  });
  open.push(proxy);
  const client = connect(await proxy.listen(), '127.0.0.1');
  client.on('error', () => client.destroy());
  await once(client, 'close');
});
