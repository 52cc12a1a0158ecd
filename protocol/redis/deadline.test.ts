import { once } from 'node:events';
import net from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { openRedisBroker } from './redis-broker.ts';
import { libraryRevision, libraryText } from './scripts.ts';

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
const info = bulk('# Server\r\nredis_version:7.0.15\r\nloading:0\r\nmaxmemory_policy:noeviction\r\n');

/** What a server of ours says to a command of words in lower case. */
function replyTo([name = '', second = '']: string[]): string {
  if (name === 'hello') return `*2\r\n${bulk('server')}${bulk('redis')}`;
  if (name === 'info') return info;
  if (name === 'ping') return '+PONG\r\n';
  if (name === 'fcall' && second.endsWith('_revision')) return `:${libraryRevision}\r\n`;
  if (name === 'fcall') return `*4\r\n:1\r\n${bulk('ok')}${bulk('server-1')}:1\r\n`;
  if (name === 'function') return `*1\r\n*2\r\n${bulk('library_code')}${bulk(libraryText())}`;
  return '+OK\r\n';
}

/** The words of one whole command at the beginning of `text`, and its length; null while it is not all here. */
function commandIn(text: string): { words: string[]; length: number } | null {
  const head = /^\*(\d+)\r\n/.exec(text);
  if (head === null) return null;
  const words: string[] = [];
  let at = head[0].length;
  for (let word = 0; word < Number(head[1]); word++) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(at));
    if (size === null) return null;
    const from = at + size[0].length;
    const to = from + Number(size[1]);
    if (text.length < to + 2) return null;
    words.push(text.slice(from, to).toLowerCase());
    at = to + 2;
  }
  return { words, length: at };
}

/** A server that speaks enough of the protocol for our client, and keeps silent to what it is told to hold. */
class HeldServer {
  readonly seen: string[] = [];
  readonly held: (() => void)[] = [];
  hold = '';
  /** Every connection is closed as soon as it is made. */
  isAway = false;
  #forgotten = new WeakSet<net.Socket>();
  readonly #server = net.createServer((socket) => this.#serve(socket));
  readonly #sockets = new Set<net.Socket>();
  #heard: () => void = () => undefined;

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `redis://127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`;
  }

  #serve(socket: net.Socket): void {
    if (this.isAway) return void socket.destroy();
    let text = '';
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      if (this.#forgotten.has(socket)) return;
      text += chunk.toString('latin1');
      for (let command = commandIn(text); command !== null; command = commandIn(text)) {
        text = text.slice(command.length);
        const { words } = command;
        this.seen.push(words.slice(0, 2).join(' '));
        const answer = () => void socket.write(replyTo(words));
        if (words[0] === this.hold) this.held.push(answer);
        else answer();
      }
      this.#heard();
    });
  }

  /** Resolves when a command is being held. */
  async holds(): Promise<void> {
    while (this.held.length === 0) await new Promise<void>((resolve) => (this.#heard = resolve));
  }

  /** The present connections stay open and carry nothing any more. */
  forget(): void {
    for (const socket of this.#sockets) this.#forgotten.add(socket);
  }

  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  async close(): Promise<void> {
    this.drop();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

test('one deadline holds for all that a call has to do first, and its step is not sent afterwards', async () => {
  const server = new HeldServer();
  const url = await server.listen();
  const clock = new VirtualClock();
  const settings = { leaseTtlMs: 30_000, priorityBoostMs: 1 };
  const broker = await openRedisBroker({ url, protocol: 2, settings, clock, deadlineMs: 60_000 });
  closing.push(
    () => broker.close(),
    () => server.close(),
  );
  const attempt = (): Promise<unknown> => broker.identity().catch((error: unknown) => error);
  expect(await attempt()).toMatchObject({ identity: 'server-1' });
  // The connection breaks, and the server that comes back takes its time to list its functions.
  server.hold = 'function';
  server.drop();
  server.seen.length = 0;
  let call = attempt();
  while (!(await Promise.race([server.holds().then(() => true), call.then(() => false)]))) call = attempt();
  await clock.advanceBy(60_000);
  const refusal = await call;
  expect(refusal).toMatchObject({ code: 'BROKER_UNAVAILABLE' });
  expect(String(refusal)).toContain('60000 ms');
  server.hold = '';
  for (const answer of server.held.splice(0)) answer();
  expect(await broker.identity()).toMatchObject({ identity: 'server-1' });
  expect(server.seen.filter((command) => command === 'fcall emp1_identity')).toHaveLength(1);
});

test('a connection that was forgotten without a word is made anew', async () => {
  const server = new HeldServer();
  const url = await server.listen();
  const settings = { leaseTtlMs: 30_000, priorityBoostMs: 1 };
  const clock = new VirtualClock();
  const broker = await openRedisBroker({ url, protocol: 2, settings, clock, deadlineMs: 100 });
  closing.push(
    () => broker.close(),
    () => server.close(),
  );
  expect(await broker.identity()).toMatchObject({ identity: 'server-1' });
  server.forget();
  const attempt = (): Promise<unknown> => broker.identity().catch((error: unknown) => error);
  expect(await attempt()).toMatchObject({ code: 'BROKER_UNAVAILABLE' });
  await expect.poll(attempt).toMatchObject({ identity: 'server-1' });
});

/** Nothing from outside can have happened meanwhile. */
async function afterMicrotasks(): Promise<void> {
  for (let turns = 0; turns < 100; turns++) await Promise.resolve();
}

test('calls wait for a connection that broke a moment ago, and are refused at once while the server stays away', async () => {
  const server = new HeldServer();
  const url = await server.listen();
  const settings = { leaseTtlMs: 30_000, priorityBoostMs: 1 };
  const clock = new VirtualClock();
  const broker = await openRedisBroker({ url, protocol: 2, settings, clock, deadlineMs: 60_000 });
  closing.push(
    () => broker.close(),
    () => server.close(),
  );
  /** The answer, and whether it came before anything else could happen. */
  const attempt = async () => {
    const asked: Promise<unknown> = broker.identity().catch((error: unknown) => error);
    const isAtOnce = await Promise.race([asked.then(() => true), afterMicrotasks().then(() => false)]);
    return { answer: await asked, isAtOnce };
  };
  server.drop();
  await expect.poll(async () => (await attempt()).answer).toMatchObject({ identity: 'server-1' });
  server.isAway = true;
  server.drop();
  const refused = { answer: { code: 'BROKER_UNAVAILABLE' }, isAtOnce: true };
  await expect.poll(attempt, { timeout: 8_000 }).toMatchObject(refused);
  expect(await attempt()).toMatchObject(refused);
  server.isAway = false;
  await expect
    .poll(async () => (await attempt()).answer, { timeout: 8_000 })
    .toMatchObject({
      identity: 'server-1',
    });
});
