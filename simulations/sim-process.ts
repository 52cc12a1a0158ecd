import type { Clock, Env, TimerId } from '#protocol/env.ts';
import type { Buggify } from './buggify.ts';

/** The system rounds timers to a millisecond, and an event loop with other work is late by so much, ms. */
const earlyMs = 1;
const lateLimitMs = 50;

type Entry = { kind: 'timer' | 'io'; fn: () => void };

/** What a process needs of its world: the clock that its own runs on, and an Env of its name. */
export interface WorldOfProcesses {
  clock: Clock;
  process(name: string): Env;
}

/**
 * One operating system process of a virtual world: whatever reaches it (timers, replies of stores,
 * frames of links) passes through `enter`. A frozen process (SIGSTOP, a suspended VM, a long GC
 * pause) keeps what arrives and meets it on thaw; a dead one drops it for ever, so that the
 * continuation of a crashed hub never runs, wherever its code was waiting.
 */
export class SimProcess {
  readonly name: string;
  readonly env: Env;
  readonly #world: Clock;
  readonly #buggify: Buggify | null;
  #state: 'running' | 'frozen' | 'dead' = 'running';
  #wallSkewMs = 0;
  #inbox: Entry[] = [];
  #pumping = false;

  constructor(options: { name: string; world: WorldOfProcesses; buggify?: Buggify }) {
    this.name = options.name;
    this.#world = options.world.clock;
    this.#buggify = options.buggify ?? null;
    this.env = { ...options.world.process(options.name), clock: this.#clock() };
  }

  get state(): 'running' | 'frozen' | 'dead' {
    return this.#state;
  }

  /** Hands `fn` to the process: at once if it runs, on thaw if it is frozen, never if it is dead. */
  enter(fn: () => void, kind: 'timer' | 'io' = 'io'): void {
    if (this.#state === 'dead') return;
    if (this.#state === 'frozen' || this.#inbox.length > 0) {
      this.#inbox.push({ kind, fn });
      return;
    }
    fn();
  }

  freeze(): void {
    if (this.#state === 'running') this.#state = 'frozen';
  }

  /**
   * Goes on. What arrived meanwhile is met one at a time; an event loop that wakes may see its sockets
   * before its overdue timers, or after: `first` decides, null keeps the order of arrival.
   */
  thaw(first: 'timer' | 'io' | null = null): void {
    if (this.#state !== 'frozen') return;
    this.#state = 'running';
    if (first !== null) {
      const early = this.#inbox.filter((entry) => entry.kind === first);
      this.#inbox = [...early, ...this.#inbox.filter((entry) => entry.kind !== first)];
    }
    this.#pump();
  }

  /** Ends the process without a word: no timer, reply or frame reaches it any more. */
  kill(): void {
    this.#state = 'dead';
    this.#inbox = [];
  }

  /** Sets this process's wall clock apart from the world's, ms. Monotonic time is not touched. */
  skewWall(byMs: number): void {
    this.#wallSkewMs = byMs;
  }

  /** A promise of the outside as this process sees it: its end arrives through `enter`. */
  receive<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      promise.then(
        (value) => this.enter(() => resolve(value)),
        (error: unknown) => this.enter(() => reject(error)),
      );
    });
  }

  /** One entry a turn, so that the microtasks of each end before the next, as in a real event loop. */
  #pump(): void {
    if (this.#pumping || this.#state !== 'running' || this.#inbox.length === 0) return;
    this.#pumping = true;
    this.#world.setTimeout(() => {
      this.#pumping = false;
      if (this.#state !== 'running') return;
      const entry = this.#inbox.shift();
      this.#pump();
      entry?.fn();
    }, 0);
  }

  /** When a timer really fires. One of delay 0 is a turn of the loop, not a time. */
  #actualMs(delayMs: number): number {
    const buggify = this.#buggify;
    if (buggify === null || !(delayMs > earlyMs)) return delayMs;
    if (buggify.fires('timer.early')) return delayMs - buggify.amount('timer.early', 0, earlyMs);
    return buggify.fires('timer.late') ? delayMs + buggify.amount('timer.late', 0, lateLimitMs) : delayMs;
  }

  #clock(): Clock {
    const world = this.#world;
    return {
      now: () => world.now() + this.#wallSkewMs,
      monotonic: () => world.monotonic(),
      setTimeout: (fn, delayMs): TimerId => {
        const timer: { inner: TimerId; cleared: boolean } = { inner: null, cleared: false };
        const run = () => {
          if (!timer.cleared) fn();
        };
        timer.inner = world.setTimeout(() => this.enter(run, 'timer'), this.#actualMs(delayMs));
        return timer;
      },
      clearTimeout: (id) => {
        const timer = id as { inner: TimerId; cleared: boolean } | null | undefined;
        if (!timer) return;
        timer.cleared = true;
        world.clearTimeout(timer.inner);
      },
    };
  }
}
