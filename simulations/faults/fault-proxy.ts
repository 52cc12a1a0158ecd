import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '#protocol/env.ts';

/** What happens to the bytes of one direction. */
export type Flow =
  /** Passed on. */
  | 'flowing'
  /** Read and thrown away: the sender believes that they arrived. What was dropped never comes. */
  | 'dropped'
  /** Not read any more: the sender's buffers fill, and everything arrives once it flows again. */
  | 'held';

export interface FaultShape {
  /** From the client to the target. */
  up: Flow;
  /** From the target to the client. */
  down: Flow;
  /** Added to each direction, ms. */
  delayMs: number;
  /** Capacity of each direction of each connection, bytes per ms; Infinity = unbounded. */
  bytesPerMs: number;
  /** New connections: carried to the target, refused by a reset, or accepted and left without one. */
  accept: 'carried' | 'refused' | 'hung';
}

export const healthy: FaultShape = {
  up: 'flowing',
  down: 'flowing',
  delayMs: 0,
  bytesPerMs: Number.POSITIVE_INFINITY,
  accept: 'carried',
};

/** Bytes of one direction that may wait before their sender is held back. */
const waitingLimitBytes = 1_048_576;

/**
 * A TCP proxy on loopback that makes faults between two processes: it stands where a network would. A
 * connection that lost bytes cannot be continued (TCP would have repeated them), so when its direction
 * flows again the connection is reset, as a firewall that forgot it would do.
 */
export class FaultProxy {
  readonly name: string;
  readonly #server: Server;
  readonly #clock: Clock;
  readonly #pairs = new Set<Pair>();
  #target: { host: string; port: number };
  #shape: FaultShape = healthy;
  #port = 0;
  #dropped = 0;

  constructor(options: { name: string; clock: Clock; target: { host: string; port: number } }) {
    this.name = options.name;
    this.#clock = options.clock;
    this.#target = options.target;
    // Half-open connections stay open: the other direction may still have bytes under way.
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
      this.#accept(socket),
    );
  }

  /** Starts to listen on a free loopback port, and answers it. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    const address = this.#server.address();
    this.#port = typeof address === 'object' && address !== null ? address.port : 0;
    return this.#port;
  }

  get port(): number {
    return this.#port;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Bytes that were thrown away so far, over all connections. */
  get droppedBytes(): number {
    return this.#dropped;
  }

  get target(): { host: string; port: number } {
    return this.#target;
  }

  /** Applies to present and new connections. What is not named is healthy. */
  set(shape: Partial<FaultShape>): void {
    const before = this.#shape;
    this.#shape = { ...healthy, ...shape };
    for (const pair of this.#pairs) pair.apply(this.#shape);
    if (before.accept === 'hung' && this.#shape.accept !== 'hung') this.#resetWhere((pair) => pair.isHung);
  }

  /** Everything flows; connections that lost bytes, or never had a target, are reset. */
  heal(): void {
    this.set({});
    this.#resetWhere((pair) => pair.lost);
  }

  /** Resets every connection, as a host that died and came back does. */
  reset(): void {
    this.#resetWhere(() => true);
  }

  /**
   * The present connections fall silent in both directions for ever, new ones are carried: what a
   * firewall that forgot them without a word leaves behind.
   */
  forget(): void {
    for (const pair of this.#pairs) pair.forget();
  }

  /** Where new connections go from now on; the present ones are reset. */
  repoint(port: number): void {
    this.#target = { ...this.#target, port };
    this.reset();
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #resetWhere(chosen: (pair: Pair) => boolean): void {
    for (const pair of [...this.#pairs]) if (chosen(pair)) pair.reset();
  }

  #accept(client: Socket): void {
    if (this.#shape.accept === 'refused') {
      client.on('error', () => client.destroy());
      client.resetAndDestroy();
      return;
    }
    const target = this.#shape.accept === 'hung' ? null : connect({ ...this.#target, allowHalfOpen: true });
    const pair = new Pair({
      client,
      target,
      clock: this.#clock,
      ended: () => this.#pairs.delete(pair),
      dropped: (bytes) => {
        this.#dropped += bytes;
      },
    });
    this.#pairs.add(pair);
    pair.apply(this.#shape);
  }
}

/** One connection through the proxy: two sockets, two directions. */
class Pair {
  readonly #client: Socket;
  readonly #target: Socket | null;
  readonly #ways: Way[];
  readonly #ended: () => void;
  #isForgotten = false;

  constructor(options: {
    client: Socket;
    target: Socket | null;
    clock: Clock;
    ended: () => void;
    dropped: (bytes: number) => void;
  }) {
    const { client, target, clock, dropped } = options;
    this.#client = client;
    this.#target = target;
    this.#ended = options.ended;
    const way = (from: Socket, to: Socket) => new Way({ from, to, clock, dropped });
    this.#ways = target === null ? [] : [way(client, target), way(target, client)];
    for (const socket of this.#sockets()) {
      socket.setNoDelay(true);
      // A cut on one side is a cut on the other; the reason is of no interest to a wire.
      socket.on('error', () => this.reset());
      socket.on('close', () => this.#closed(socket));
    }
  }

  get isHung(): boolean {
    return this.#target === null;
  }

  /** Whether bytes of it were thrown away. */
  get lost(): boolean {
    return !this.#isForgotten && this.#ways.some((way) => way.lost);
  }

  forget(): void {
    this.apply({ ...healthy, up: 'dropped', down: 'dropped' });
    this.#isForgotten = true;
  }

  apply(shape: FaultShape): void {
    if (this.#isForgotten) return;
    this.#ways[0]?.apply(shape, shape.up);
    this.#ways[1]?.apply(shape, shape.down);
    if (this.lost && shape.up === 'flowing' && shape.down === 'flowing') this.reset();
  }

  reset(): void {
    for (const socket of this.#sockets()) if (!socket.destroyed) socket.resetAndDestroy();
    this.#ended();
  }

  #sockets(): Socket[] {
    return this.#target === null ? [this.#client] : [this.#client, this.#target];
  }

  #closed(socket: Socket): void {
    // One that ended in good order may still have bytes on their way.
    if (!socket.readableEnded) return this.reset();
    if (this.#sockets().every(({ destroyed }) => destroyed)) this.#ended();
  }
}

/** One direction: reads, drops or holds, delays, and writes in order. */
class Way {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #clock: Clock;
  readonly #dropped: (bytes: number) => void;
  readonly #queue: { chunk: Buffer | null; atMs: number }[] = [];
  #shape: FaultShape = healthy;
  #flow: Flow = 'flowing';
  #waitingBytes = 0;
  #freeAtMs = 0;
  #isArmed = false;
  lost = false;

  constructor(options: { from: Socket; to: Socket; clock: Clock; dropped: (bytes: number) => void }) {
    this.#from = options.from;
    this.#to = options.to;
    this.#clock = options.clock;
    this.#dropped = options.dropped;
    this.#from.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#from.on('end', () => this.#take(null));
    this.#to.on('drain', () => this.#read());
  }

  apply(shape: FaultShape, flow: Flow): void {
    this.#shape = shape;
    this.#flow = flow;
    if (flow === 'dropped' && this.#queue.length > 0) {
      this.#queue.length = 0;
      this.#dropped(this.#waitingBytes);
      this.#waitingBytes = 0;
      this.lost = true;
    }
    this.#read();
    this.#deliver();
  }

  #read(): void {
    const full = this.#waitingBytes >= waitingLimitBytes || this.#to.writableNeedDrain;
    if (this.#flow === 'held' || (this.#flow === 'flowing' && full)) this.#from.pause();
    else this.#from.resume();
  }

  #take(chunk: Buffer | null): void {
    if (this.#flow === 'dropped') {
      this.lost = true;
      this.#dropped(chunk?.byteLength ?? 0);
      return;
    }
    const nowMs = this.#clock.monotonic();
    const bytes = chunk?.byteLength ?? 0;
    this.#freeAtMs = Math.max(nowMs, this.#freeAtMs) + bytes / this.#shape.bytesPerMs;
    this.#waitingBytes += bytes;
    this.#queue.push({ chunk, atMs: this.#freeAtMs + this.#shape.delayMs });
    this.#deliver();
    this.#read();
  }

  #deliver(): void {
    if (this.#flow === 'held') return;
    const nowMs = this.#clock.monotonic();
    for (let head = this.#queue[0]; head !== undefined && head.atMs <= nowMs; head = this.#queue[0]) {
      this.#queue.shift();
      this.#waitingBytes -= head.chunk?.byteLength ?? 0;
      if (this.#to.destroyed) continue;
      if (head.chunk === null) this.#to.end();
      else this.#to.write(head.chunk);
    }
    this.#read();
    const next = this.#queue[0];
    // One timer at a time: two of them may fire in the wrong order, since delays are whole ms.
    if (next === undefined || this.#isArmed) return;
    this.#isArmed = true;
    this.#clock.setTimeout(
      () => {
        this.#isArmed = false;
        this.#deliver();
      },
      Math.max(1, next.atMs - nowMs),
    );
  }
}
