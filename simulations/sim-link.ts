import type { Rng } from '#protocol/env.ts';
import type { PeerDialer, PeerHandlers, PeerLink } from '#protocol/peer.ts';
import type { Buggify } from './buggify.ts';
import type { Malformation } from './fault-script.ts';
import { mayRepeat, spoil } from './malformed.ts';
import type { SimProcess } from './sim-process.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** WebSocket's code for an end without a close frame. */
export const abnormalClosure = 1006;
const sendBufferLimitBytes = 4 * 1024 * 1024;
/** A slow frame waits up to so long, and those behind it with it. */
const slowFrameMs = 2_000;

/** What happens to frames of one direction: they arrive, wait, or vanish as behind a dead router. */
export type Flow = 'flowing' | 'held' | 'vanishing';

export interface SimNetworkOptions {
  clock: VirtualClock;
  rng: Rng;
  /** One-way delay is drawn from this range per frame, ms; frames of one direction keep their order. */
  latencyMs: { min: number; max: number };
  /** Chance that a frame meets a reset, which closes the whole link: streams do not lose single frames. Asked each time. */
  resetChance?: number;
  /** Asked whether a frame is slow, or arrives twice. */
  buggify?: Buggify;
  /** Told of every frame as it leaves its process; `machine` is the dialling one. */
  onFrame?: (frame: { machine: string; direction: 'up' | 'down'; text: string; twice: boolean }) => void;
  /** Told when one side closes a link. */
  onClose?: (info: { code: number; reason: string }) => void;
}

/** Takes a link, or refuses it with a close code. Called inside the listening process. */
export type Accept = (connection: {
  link: PeerLink;
  token: string;
}) => PeerHandlers | { refused: { code: number; reason: string } };

interface Listener {
  process: SimProcess;
  accept: Accept;
}

/** One way of a connection: keeps order, counts the bytes that have not arrived. */
class Direction {
  readonly #network: SimNetworkOptions;
  #flow: Flow = 'flowing';
  #waiting: (() => void)[] = [];
  #lastMs = 0;
  bytes = 0;

  constructor(network: SimNetworkOptions) {
    this.#network = network;
  }

  carry(arrive: () => void): void {
    if (this.#flow === 'vanishing') return;
    if (this.#flow === 'held') {
      this.#waiting.push(arrive);
      return;
    }
    const { clock, rng, latencyMs, buggify } = this.#network;
    const slowMs = buggify?.fires('frame.slow') ? buggify.amount('frame.slow', 0, slowFrameMs) : 0;
    const dueMs = clock.monotonic() + latencyMs.min + rng.next() * (latencyMs.max - latencyMs.min) + slowMs;
    this.#lastMs = Math.max(this.#lastMs, dueMs);
    clock.setTimeout(arrive, this.#lastMs - clock.monotonic());
  }

  set(flow: Flow): void {
    this.#flow = flow;
    if (flow === 'held') return;
    for (const arrive of this.#waiting.splice(0)) this.carry(arrive);
  }
}

/** One side of a connection: what its process holds as a PeerLink. */
class End implements PeerLink {
  readonly process: SimProcess;
  readonly out: Direction;
  readonly #connection: SimConnection;
  #handlers: PeerHandlers | null = null;
  #state: 'opening' | 'open' | 'closed' = 'opening';

  constructor(options: { process: SimProcess; out: Direction; connection: SimConnection }) {
    this.process = options.process;
    this.out = options.out;
    this.#connection = options.connection;
  }

  get state(): 'opening' | 'open' | 'closed' {
    return this.#state;
  }

  open(handlers: PeerHandlers): void {
    if (this.#state !== 'opening') return;
    this.#state = 'open';
    this.#handlers = handlers;
    handlers.open(this);
  }

  /** For an end that closes before it opened: whom to tell. */
  expect(handlers: PeerHandlers): void {
    this.#handlers = handlers;
  }

  send(text: string): boolean {
    const bytes = Buffer.byteLength(text);
    if (this.#state !== 'open' || this.out.bytes + bytes > sendBufferLimitBytes) return false;
    this.out.bytes += bytes;
    this.#connection.transmit(this, text, bytes);
    return true;
  }

  bufferedBytes(): number {
    return this.out.bytes;
  }

  close(code: number, reason: string): void {
    if (this.#state === 'closed') return;
    this.#connection.farewell(this, { code, reason });
    this.#state = 'closed';
    const handlers = this.#handlers;
    // Never from inside the caller's own call: the caller may be in the middle of a change.
    this.#connection.later(() => this.process.enter(() => handlers?.closed({ code, reason })));
  }

  receive(text: string): void {
    this.process.enter(() => {
      if (this.#state === 'open') this.#handlers?.message(text);
    });
  }

  /** The link is over: its process learns of it once, after the frames that arrived before. */
  ended(info: { code: number; reason: string }): void {
    this.process.enter(() => {
      if (this.#state === 'closed') return;
      this.#state = 'closed';
      this.#handlers?.closed(info);
    });
  }
}

/** The next frames of one direction arrive spoilt, or after a spoilt one. */
export interface Spoiling {
  how: Malformation;
  replaces: boolean;
  frames: number;
}

/** One dialled link with both its ends: what a fault script acts on. */
export class SimConnection {
  readonly url: string;
  readonly dialer: End;
  readonly listener: End;
  readonly #network: SimNetworkOptions;
  #lossy = false;
  readonly #spoiling: { up: Spoiling | null; down: Spoiling | null } = { up: null, down: null };
  frames = 0;

  constructor(options: { url: string; from: SimProcess; to: SimProcess; network: SimNetworkOptions }) {
    this.url = options.url;
    this.#network = options.network;
    this.dialer = new End({ process: options.from, out: new Direction(options.network), connection: this });
    this.listener = new End({ process: options.to, out: new Direction(options.network), connection: this });
  }

  /** Open on at least one side. */
  get alive(): boolean {
    return [this.dialer, this.listener].some((end) => end.state !== 'closed' && end.process.state !== 'dead');
  }

  /** Frames have vanished on it: what is missing never comes. */
  get lossy(): boolean {
    return this.#lossy;
  }

  /** Sets what becomes of frames: `up` from the dialer, `down` to it. */
  set(flow: { up?: Flow; down?: Flow }): void {
    if (flow.up === 'vanishing' || flow.down === 'vanishing') this.#lossy = true;
    if (flow.up) this.dialer.out.set(flow.up);
    if (flow.down) this.listener.out.set(flow.down);
  }

  /** Both sides learn of an end without a close frame, each after a delay of its own. */
  cut(reason = 'cut'): void {
    for (const end of [this.dialer, this.listener]) {
      new Direction(this.#network).carry(() => end.ended({ code: abnormalClosure, reason }));
    }
  }

  /** What the next frames of this direction suffer; nothing with 0 frames. */
  spoil(direction: 'up' | 'down', spoiling: Spoiling): void {
    this.#spoiling[direction] = { ...spoiling };
  }

  transmit(from: End, text: string, bytes: number): void {
    this.frames++;
    const direction = from === this.dialer ? 'up' : 'down';
    const { rng, resetChance = 0, onFrame } = this.#network;
    const arriving = this.#arriving(direction, text);
    const twice = arriving.length > 1 && arriving[0] === text;
    onFrame?.({ machine: this.dialer.process.name, direction, text, twice });
    if (resetChance > 0 && rng.next() < resetChance) return this.cut('reset');
    from.out.carry(() => {
      from.out.bytes -= bytes;
      for (const each of arriving) this.#other(from).receive(each);
    });
  }

  /** What reaches the other side for one frame: usually the frame. */
  #arriving(direction: 'up' | 'down', text: string): string[] {
    const spoiling = this.#spoiling[direction];
    if (spoiling !== null && spoiling.frames > 0) {
      spoiling.frames--;
      const spoilt = spoil(text, spoiling);
      return spoiling.replaces ? [spoilt] : [spoilt, text];
    }
    const repeats = mayRepeat(text, direction) && this.#network.buggify?.fires('frame.twice');
    return repeats ? [text, text] : [text];
  }

  farewell(from: End, info: { code: number; reason: string }): void {
    this.#network.onClose?.(info);
    from.out.carry(() => this.#other(from).ended(info));
  }

  later(fn: () => void): void {
    this.#network.clock.setTimeout(fn, 0);
  }

  #other(end: End): End {
    return end === this.dialer ? this.listener : this.dialer;
  }
}

/**
 * The network of a virtual world: listeners by URL, dialers by process, and every connection between
 * them. Messages are text, as on a socket: both sides encode and decode what they say.
 */
export class SimNetwork {
  readonly #options: SimNetworkOptions;
  readonly #listeners = new Map<string, Listener>();
  /** Dials of stalled processes, until they may go on. */
  readonly #stalls = new Map<string, (() => void)[]>();
  readonly #partitions = new Set<(dialer: string, url: string) => boolean>();
  #connections: SimConnection[] = [];

  constructor(options: SimNetworkOptions) {
    this.#options = options;
  }

  listen(url: string, listener: Listener): void {
    this.#listeners.set(url, listener);
  }

  unlisten(url: string): void {
    this.#listeners.delete(url);
  }

  /** Connections that are open on at least one side, oldest first. */
  connections(process?: string): SimConnection[] {
    this.#connections = this.#connections.filter((connection) => connection.alive);
    return this.#connections.filter(
      ({ dialer, listener }) =>
        process === undefined || dialer.process.name === process || listener.process.name === process,
    );
  }

  /**
   * Cuts whoever `apart` names (a dialling process and the URL that it dials) off from each other: what
   * their links carry vanishes, and dials get no answer at all, until the returned function is called.
   */
  partition(apart: (dialer: string, url: string) => boolean): () => void {
    this.#partitions.add(apart);
    for (const connection of this.connections())
      if (apart(connection.dialer.process.name, connection.url))
        connection.set({ up: 'vanishing', down: 'vanishing' });
    return () => void this.#partitions.delete(apart);
  }

  /** Dials of this process get nowhere until the returned function is called; then they go on. */
  stall(process: string): () => void {
    const waiting: (() => void)[] = [];
    this.#stalls.set(process, waiting);
    return () => {
      if (this.#stalls.get(process) === waiting) this.#stalls.delete(process);
      for (const dial of waiting.splice(0)) dial();
    };
  }

  /**
   * A process ended. `clean`: its kernel closes the sockets and peers learn of it; otherwise the whole
   * box went away and peers hear nothing more.
   */
  processEnded(process: string, how: 'clean' | 'silent'): void {
    for (const connection of this.connections(process)) {
      if (how === 'clean') connection.cut('process ended');
      else connection.set({ up: 'vanishing', down: 'vanishing' });
    }
    for (const [url, listener] of this.#listeners)
      if (listener.process.name === process) this.#listeners.delete(url);
  }

  dialer(process: SimProcess): PeerDialer {
    const dialer = this.#directDialer(process);
    return {
      dial: (options) => {
        const stalled = this.#stalls.get(process.name);
        if (stalled === undefined) return dialer.dial(options);
        const own: { abort: () => void; given: boolean } = { abort: () => {}, given: false };
        stalled.push(() => {
          if (!own.given && process.state !== 'dead') own.abort = dialer.dial(options).abort;
        });
        return {
          abort: () => {
            own.given = true;
            own.abort();
          },
        };
      },
    };
  }

  #directDialer(process: SimProcess): PeerDialer {
    return {
      dial: ({ url, token, handlers }) => {
        for (const apart of this.#partitions) if (apart(process.name, url)) return { abort: () => {} };
        const listener = this.#listeners.get(url);
        const connection = new SimConnection({
          url,
          from: process,
          to: listener?.process ?? process,
          network: this.#options,
        });
        connection.dialer.expect(handlers);
        this.#connections.push(connection);
        const knock = () => {
          if (!listener || listener.process.state === 'dead' || this.#listeners.get(url) !== listener) {
            return connection.dialer.ended({ code: abnormalClosure, reason: `nothing listens on ${url}` });
          }
          listener.process.enter(() => this.#accept(connection, { listener, token, handlers }));
        };
        connection.dialer.out.carry(knock);
        return { abort: () => connection.dialer.close(abnormalClosure, 'given up') };
      },
    };
  }

  #accept(
    connection: SimConnection,
    options: { listener: Listener; token: string; handlers: PeerHandlers },
  ): void {
    if (connection.dialer.state === 'closed') return;
    const answer = options.listener.accept({ link: connection.listener, token: options.token });
    if ('refused' in answer) {
      connection.listener.out.carry(() => connection.dialer.ended(answer.refused));
      connection.listener.ended(answer.refused);
      return;
    }
    const { dialer, listener } = connection;
    // The handshake's answer travels before any frame that the listener sends when it opens.
    listener.out.carry(() => dialer.process.enter(() => dialer.open(options.handlers)));
    listener.open(answer);
  }
}
