import type { Env, TimerId } from '#protocol/env.ts';
import {
  type AnyHubFrame,
  decodeHubFrame,
  encodeHubFrame,
  type HubFrame,
  type HubFrameType,
  type HubRole,
} from '#protocol/hub-link.ts';
import type { PeerLink } from '#protocol/peer.ts';
import { linkCloseCodes, RateLimit, SilenceLimit } from './link-limits.ts';
import type { HubRun } from './tokens.ts';

/** From the dial, or the accepted socket, to the other side's hello, ms. */
const helloLimitMs = 10_000;
/** Frames that another hub may send per second; twice as many in a burst. Beyond: closed, and dialled again. */
const framesPerSecond = 5_000;
/** Malformed frames per minute before the link is closed. */
const malformedLimit = 20;

export interface PeerSessionOptions {
  env: Env;
  /** Whom the other side must be: the hub that was dialled, or the one that the token speaks for. */
  peer: HubRun;
  dialled: boolean;
  /** Our own first frame. */
  hello: HubFrame<'hello'>;
  /** Something is said at least this often; nothing heard for three times as long ends the link, ms. */
  aliveMs: number;
  /** Bytes that may wait to be sent; beyond: the other side does not read, and the link ends. */
  sendLimitBytes: number;
  /** The other side has said hello: frames may flow. */
  opened: (session: PeerSession) => void;
  frame: (session: PeerSession, frame: AnyHubFrame) => void;
  malformed: () => void;
  /** Called once, by whichever side it ends, also when it never opened. */
  ended: (session: PeerSession, info: { code: number; reason: string }) => void;
}

/**
 * One link to another hub, from the dial or the accepted socket to its end. Checks every frame, keeps
 * the limits, says that it lives; what frames mean is decided by whoever made it.
 */
export class PeerSession {
  readonly peer: HubRun;
  readonly dialled: boolean;
  /** Roles of the other hub, as it said last. */
  roles: ReadonlySet<HubRole> = new Set();
  software = '';
  openedMs: number | null = null;
  readonly #options: PeerSessionOptions;
  readonly #frames: RateLimit;
  readonly #malformed: RateLimit;
  readonly #silence: SilenceLimit;
  #link: PeerLink | null = null;
  #abort: (() => void) | null = null;
  #helloTimer: TimerId | null = null;
  #aliveTimer: TimerId | null = null;
  #said = false;
  #over = false;

  constructor(options: PeerSessionOptions) {
    const { clock } = options.env;
    this.#options = options;
    this.peer = options.peer;
    this.dialled = options.dialled;
    this.#frames = new RateLimit({ clock, perSecond: framesPerSecond, burst: 2 * framesPerSecond });
    this.#malformed = new RateLimit({ clock, perSecond: malformedLimit / 60, burst: malformedLimit });
    const silent = () => this.close(linkCloseCodes.silent, 'nothing was heard for too long');
    this.#silence = new SilenceLimit({ clock, limitMs: 3 * options.aliveMs, silent });
    this.#helloTimer = clock.setTimeout(
      () => this.close(linkCloseCodes.silent, 'the other hub did not say hello in time'),
      helloLimitMs,
    );
  }

  /** Both sides have said hello, and neither has ended it. */
  get open(): boolean {
    return this.openedMs !== null && !this.#over;
  }

  get over(): boolean {
    return this.#over;
  }

  /** How to give a dial up that has not opened yet. */
  dialling(abort: () => void): void {
    if (this.#over) abort();
    else this.#abort = abort;
  }

  /** The socket is there. */
  begin(link: PeerLink): void {
    if (this.#over) return link.close(linkCloseCodes.closing, 'given up');
    this.#link = link;
    this.#silence.heard();
    this.#silence.start();
    this.#sendFrame('hello', this.#options.hello);
  }

  /** One frame as text. Never throws. */
  message(text: string): void {
    if (this.#over) return;
    this.#silence.heard();
    if (!this.#frames.take())
      return this.close(linkCloseCodes.limit, 'more frames per second than a hub may send');
    const decoded = decodeHubFrame(text);
    if (decoded.kind === 'unknown') return;
    if (decoded.kind === 'invalid') return this.#countMalformed(decoded.detail);
    const { frame } = decoded;
    if (frame.type === 'hello') return this.#greeted(frame.body);
    if (this.openedMs === null) return this.#countMalformed(`${frame.type} came before hello`);
    this.#options.frame(this, frame);
  }

  #greeted(hello: HubFrame<'hello'>): void {
    if (this.openedMs !== null) return this.#countMalformed('a second hello');
    const { hubId, run } = this.peer;
    if (hello.hubId !== hubId || hello.run !== run) {
      const found = `hub ${hello.hubId} (run ${hello.run})`;
      return this.close(linkCloseCodes.forbidden, `expected hub ${hubId} (run ${run}), found ${found}`);
    }
    this.#clear('hello');
    this.roles = new Set(hello.roles);
    this.software = hello.software;
    this.openedMs = this.#options.env.clock.monotonic();
    this.#keepAlive();
    this.#options.opened(this);
  }

  /** Queues a frame; false where the link is not open or the other side does not read. */
  send<T extends HubFrameType>(type: T, body: HubFrame<T>): boolean {
    return this.open && this.#sendFrame(type, body);
  }

  #sendFrame<T extends HubFrameType>(type: T, body: HubFrame<T>): boolean {
    const link = this.#link;
    if (link === null || this.#over) return false;
    if (link.bufferedBytes() > this.#options.sendLimitBytes) {
      this.close(linkCloseCodes.tooSlow, 'the other hub does not read fast enough');
      return false;
    }
    this.#said = true;
    return link.send(encodeHubFrame(type, body));
  }

  #keepAlive(): void {
    const { env, aliveMs } = this.#options;
    this.#aliveTimer = env.clock.setTimeout(() => {
      if (!this.#said) this.#sendFrame('alive', {});
      this.#said = false;
      if (!this.#over) this.#keepAlive();
    }, aliveMs);
  }

  #countMalformed(detail: string): void {
    this.#options.malformed();
    const { env } = this.#options;
    env.log.info('peer.frame.malformed', { hub: this.peer.hubId, detail: detail.slice(0, 300) });
    if (!this.#malformed.take()) this.close(linkCloseCodes.limit, 'too many malformed frames');
  }

  /** Ends it from this side; `reason` reaches the other hub. Idempotent. */
  close(code: number, reason: string): void {
    if (this.#over) return;
    const link = this.#link;
    const abort = this.#abort;
    this.closed({ code, reason });
    if (link !== null) link.close(code, reason.slice(0, 120));
    else abort?.();
  }

  /** The link is gone, by whichever side. Idempotent. */
  closed(info: { code: number; reason: string }): void {
    if (this.#over) return;
    this.#over = true;
    this.#silence.stop();
    this.#clear('hello');
    this.#clear('alive');
    this.#options.ended(this, info);
  }

  #clear(which: 'hello' | 'alive'): void {
    const { clock } = this.#options.env;
    if (which === 'hello') {
      if (this.#helloTimer !== null) clock.clearTimeout(this.#helloTimer);
      this.#helloTimer = null;
    } else {
      if (this.#aliveTimer !== null) clock.clearTimeout(this.#aliveTimer);
      this.#aliveTimer = null;
    }
  }
}
