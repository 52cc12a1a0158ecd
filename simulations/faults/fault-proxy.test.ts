import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '#runtime/env.ts';
import { FaultProxy } from './fault-proxy.ts';

const open: { close(): void | Promise<void> }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});

/** A server that sends back what it gets behind its name, and says what it got. */
async function echo(name: string) {
  const got: string[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      got.push(chunk.toString());
      socket.write(`${name}:${chunk.toString()}`);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push({
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  });
  const address = server.address();
  return { got, port: typeof address === 'object' && address !== null ? address.port : 0 };
}

async function setup() {
  const server = await echo('a');
  const proxy = new FaultProxy({
    name: 'wire',
    clock: systemClock,
    target: { host: '127.0.0.1', port: server.port },
  });
  const port = await proxy.listen();
  open.push(proxy);
  const dial = async () => {
    const socket = connect({ host: '127.0.0.1', port });
    open.push({ close: () => void socket.destroy() });
    const closed = new Promise<string>((resolve) => {
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
      socket.once('close', () => resolve('closed'));
    });
    await once(socket, 'connect');
    return { socket, closed };
  };
  return { server, proxy, dial };
}

async function answer(socket: Socket): Promise<string> {
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  return chunk.toString();
}

test('a healthy wire carries bytes both ways in order', async () => {
  const { dial, proxy } = await setup();
  const { socket } = await dial();
  socket.write('one');
  expect(await answer(socket)).toBe('a:one');
  expect(proxy.connections).toBe(1);
});

test('what is held arrives after the heal, on the same connection', async () => {
  const { dial, proxy, server } = await setup();
  const { socket } = await dial();
  socket.write('one');
  await answer(socket);
  proxy.set({ up: 'held' });
  socket.write('two');
  // A connection of its own, so that a turn of the loop has passed on both sides.
  await dial();
  expect(server.got).toEqual(['one']);
  proxy.heal();
  expect(await answer(socket)).toBe('a:two');
  expect(server.got).toEqual(['one', 'two']);
});

test('what is dropped never arrives, and its connection is reset at the heal', async () => {
  const { dial, proxy, server } = await setup();
  const [{ socket, closed }, other] = [await dial(), await dial()];
  socket.write('one');
  await answer(socket);
  proxy.set({ up: 'dropped' });
  socket.write('two');
  await expect.poll(() => proxy.droppedBytes).toBe(3);
  const probe = await dial();
  proxy.set({ down: 'dropped' });
  probe.socket.write('three');
  await expect.poll(() => server.got).toContain('three');
  proxy.heal();
  expect(await probe.closed).toBe('ECONNRESET');
  expect(server.got).not.toContain('two');
  expect(await closed).toBe('ECONNRESET');
  other.socket.write('four');
  expect(await answer(other.socket)).toBe('a:four');
});

test('forgotten connections stay silent after a heal while new ones are carried', async () => {
  const { dial, proxy } = await setup();
  const { socket } = await dial();
  socket.write('one');
  await answer(socket);
  proxy.forget();
  const heard: string[] = [];
  socket.on('data', (chunk: Buffer) => heard.push(chunk.toString()));
  socket.write('two');
  proxy.heal();
  const fresh = await dial();
  fresh.socket.write('three');
  expect(await answer(fresh.socket)).toBe('a:three');
  expect({ heard, closed: socket.destroyed }).toEqual({ heard: [], closed: false });
});

test('refused and hung accepts, and where they lead afterwards', async () => {
  const { dial, proxy } = await setup();
  proxy.set({ accept: 'refused' });
  const refused = await dial().catch((error: NodeJS.ErrnoException) => error);
  if (!(refused instanceof Error)) expect(await refused.closed).toMatch(/ECONNRESET|closed/);
  proxy.set({ accept: 'hung' });
  const hung = await dial();
  hung.socket.write('one');
  proxy.heal();
  expect(await hung.closed).toBe('ECONNRESET');
  const fresh = await dial();
  fresh.socket.write('two');
  expect(await answer(fresh.socket)).toBe('a:two');
});

test('repoint resets what was open and leads new connections elsewhere', async () => {
  const { dial, proxy } = await setup();
  const other = await echo('b');
  const { closed } = await dial();
  proxy.repoint(other.port);
  expect(await closed).toBe('ECONNRESET');
  const { socket } = await dial();
  socket.write('one');
  expect(await answer(socket)).toBe('b:one');
});

test('a throttled and delayed wire loses nothing', async () => {
  const { dial, proxy, server } = await setup();
  proxy.set({ delayMs: 5, bytesPerMs: 20_000 });
  const { socket } = await dial();
  const sent = 'x'.repeat(300_000);
  let got = '';
  socket.on('data', (chunk: Buffer) => {
    got += chunk.toString().replaceAll('a:', '');
  });
  socket.write(sent);
  await expect.poll(() => got.length).toBe(sent.length);
  expect(server.got.join('')).toBe(sent);
});
