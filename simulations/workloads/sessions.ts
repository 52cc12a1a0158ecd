import type { Rng } from '#protocol/env.ts';
import type { JobKind } from '#simulations/day/plan.ts';
import type { ModelSet } from '#simulations/reality/model-set.ts';
import { hourMs } from './arrivals.ts';

interface Request {
  atMs: number;
  customer: string;
}

export interface SessionShares {
  customers: number;
  /** Share of requests from a user seen within the hour. */
  sameHour: number;
  /** By kind: the chance that such a user takes the last set again without drawing. */
  repeat: Record<JobKind, number>;
}

/** Users that are looked at before one that was seen within the hour is taken after all. */
const strangerTries = 32;

/**
 * Who asks, and whether for the same models again. Source: GenTD26: 78 % of requests come from a user seen
 * within the hour, and 68 % of those ask for the very same base model and LoRAs. A user who goes on is the author of one
 * of the last hour's requests, so that who asks much goes on much; one who begins is drawn evenly from
 * all users not seen within the hour.
 */
export class Sessions {
  readonly #rng: Rng;
  readonly #shares: SessionShares;
  /** Requests of the last hour by kind, the oldest at `#from`. */
  readonly #recent = new Map<JobKind, { requests: Request[]; from: number }>();
  readonly #lastAtMs = new Map<string, number>();
  readonly #lastSet = new Map<string, ModelSet>();

  constructor(rng: Rng, shares: SessionShares) {
    this.#rng = rng;
    this.#shares = shares;
  }

  /** The user of the next request, in order of time; `set` is what a draw must fill where it is null. */
  next(atMs: number, kind: JobKind): { customer: string; set: ModelSet | null } {
    const goesOn = this.#rng.next() < this.#shares.sameHour;
    const repeats = this.#rng.next() < this.#shares.repeat[kind];
    const author = goesOn ? this.#recentAuthor(atMs, kind) : null;
    const customer = author ?? this.#stranger(atMs);
    this.#lastAtMs.set(customer, atMs);
    this.#window(kind).requests.push({ atMs, customer });
    const last = this.#lastSet.get(`${kind} ${customer}`) ?? null;
    return { customer, set: author !== null && repeats ? last : null };
  }

  /** What a user got, for the next time. */
  remember(customer: string, kind: JobKind, set: ModelSet): void {
    this.#lastSet.set(`${kind} ${customer}`, set);
  }

  #window(kind: JobKind): { requests: Request[]; from: number } {
    let window = this.#recent.get(kind);
    if (window === undefined) {
      window = { requests: [], from: 0 };
      this.#recent.set(kind, window);
    }
    return window;
  }

  #recentAuthor(atMs: number, kind: JobKind): string | null {
    const window = this.#window(kind);
    const { requests } = window;
    while (window.from < requests.length && (requests[window.from]?.atMs ?? 0) < atMs - hourMs) window.from++;
    if (window.from === requests.length) return null;
    return requests[this.#rng.int(window.from, requests.length - 1)]?.customer ?? null;
  }

  #stranger(atMs: number): string {
    let customer = '';
    for (let tries = 0; tries < strangerTries; tries++) {
      customer = `user-${String(this.#rng.int(1, this.#shares.customers)).padStart(4, '0')}`;
      const lastAtMs = this.#lastAtMs.get(customer);
      if (lastAtMs === undefined || lastAtMs < atMs - hourMs) break;
    }
    return customer;
  }
}
