import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '#protocol/env.ts';

export interface LinkShape {
  /** Added to each round trip, ms. */
  rttMs: number;
  /** Capacity of each direction, shared by all connections; bits per ms (20 000 = 20 Mbit/s). */
  bitsPerMs: number;
}

/** Bytes of one direction that may be under way before its sender is held back, per connection. */
const windowBytes = 1_048_576;

/** One direction of the link: when its wire is free again. */
interface Wire {
  freeAtMs: number;
  bytes: number;
}

/**
 * A TCP proxy that makes loopback as slow and narrow as a wide-area link: every byte waits for its turn
 * on a wire of fixed capacity and then for half the round trip; a new connection waits a whole round
 * trip more, as its handshake would. Loss and slow start are not imitated.
 */
export class TcpProxy {
  readonly #server: Server;
  readonly #clock: Clock;
  readonly #shape: LinkShape;
  readonly #target: { host: string; port: number };
  readonly #sockets = new Set<Socket>();
  readonly #up: Wire = { freeAtMs: 0, bytes: 0 };
  readonly #down: Wire = { freeAtMs: 0, bytes: 0 };

  constructor(options: { clock: Clock; shape: LinkShape; target: { host: string; port: number } }) {
    this.#clock = options.clock;
    this.#shape = options.shape;
    this.#target = options.target;
    // Half-open connections stay open: the other direction may still have bytes under way.
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  /** Starts to listen on a free loopback port, and answers it. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Bytes that went to and from the target so far. */
  get bytes(): { up: number; down: number } {
    return { up: this.#up.bytes, down: this.#down.bytes };
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    const target = connect({ ...this.#target, allowHalfOpen: true });
    for (const socket of [client, target]) {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      // A cut on one side is a cut on the other; the reason is of no interest to a wire.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        // One that ended in good order may still have bytes on the wire.
        if (!socket.readableEnded) (socket === client ? target : client).destroy();
      });
    }
    const readyAtMs = this.#clock.monotonic() + this.#shape.rttMs;
    this.#pump(client, target, this.#up, readyAtMs);
    this.#pump(target, client, this.#down, readyAtMs);
  }

  /** Carries what `from` sends to `to` over the wire, in order; a null stands for the end. */
  #pump(from: Socket, to: Socket, wire: Wire, readyAtMs: number): void {
    const queue: { chunk: Buffer | null; atMs: number }[] = [];
    let underWay = 0;
    // One timer at a time: two of them may fire in the wrong order, since delays are whole ms.
    const deliver = () => {
      const nowMs = this.#clock.monotonic();
      for (let head = queue[0]; head !== undefined && head.atMs <= nowMs; head = queue[0]) {
        queue.shift();
        underWay -= head.chunk?.byteLength ?? 0;
        if (to.destroyed) continue;
        if (head.chunk === null) to.end();
        else to.write(head.chunk);
      }
      if (underWay < windowBytes) from.resume();
      const next = queue[0];
      if (next !== undefined) this.#clock.setTimeout(deliver, Math.max(1, next.atMs - nowMs));
    };
    const send = (chunk: Buffer | null) => {
      const bytes = chunk?.byteLength ?? 0;
      wire.freeAtMs = Math.max(this.#clock.monotonic(), wire.freeAtMs) + (bytes * 8) / this.#shape.bitsPerMs;
      queue.push({ chunk, atMs: Math.max(readyAtMs, wire.freeAtMs + this.#shape.rttMs / 2) });
      if (queue.length === 1) this.#clock.setTimeout(deliver, 1);
    };
    from.on('data', (chunk: Buffer) => {
      wire.bytes += chunk.byteLength;
      underWay += chunk.byteLength;
      if (underWay >= windowBytes) from.pause();
      send(chunk);
    });
    from.on('end', () => send(null));
  }
}
