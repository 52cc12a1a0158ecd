import { type RetryDelays, retryDelayMs } from '#machines/policy/backoff-restart.ts';
import type { Env, TimerId } from '#protocol/env.ts';
import type { HubId } from '#protocol/names.ts';
import type { HubRow } from '#protocol/records.ts';

/** Waits between dials of one hub. The first is short: hubs restart quickly. */
const redial: RetryDelays = { baseMs: 500, limitMs: 30_000 };
/**
 * Of two hubs the one with the smaller id dials. The other one dials too after this long without a
 * link, ms: perhaps only it can reach the other.
 */
const yieldMs = 3_000;

interface Wanted {
  row: HubRow;
  /** Dials since the hub was last linked. */
  tries: number;
  timer: TimerId | null;
}

/**
 * When to dial whom: every hub that the store lists, that has a URL, and that no link leads to. Full
 * jitter, because hubs that lost one hub together must not come back together.
 */
export class PeerDials {
  readonly #env: Env;
  readonly #selfId: HubId;
  readonly #linked: (hubId: HubId) => boolean;
  readonly #dial: (row: HubRow) => void;
  readonly #wanted = new Map<HubId, Wanted>();

  /** `linked`: a link to that hub is open or being made. `dial` begins one; its failure comes as `failed`. */
  constructor(options: {
    env: Env;
    selfId: HubId;
    linked: (hubId: HubId) => boolean;
    dial: (row: HubRow) => void;
  }) {
    this.#env = options.env;
    this.#selfId = options.selfId;
    this.#linked = options.linked;
    this.#dial = options.dial;
  }

  /** Hubs that the store listed last, this one not among them. */
  get known(): HubRow[] {
    return [...this.#wanted.values()].map((each) => each.row);
  }

  /** The store's present list. A hub that has just started dials all at once, whatever its id. */
  update(rows: readonly HubRow[], options: { started: boolean }): void {
    const listed = new Map(rows.filter((row) => row.hubId !== this.#selfId).map((row) => [row.hubId, row]));
    for (const hubId of [...this.#wanted.keys()]) if (!listed.has(hubId)) this.forget(hubId);
    for (const row of listed.values()) {
      const known = this.#wanted.get(row.hubId);
      if (known === undefined) {
        this.#wanted.set(row.hubId, { row, tries: 0, timer: null });
        this.#plan(row.hubId, options.started ? 0 : this.#yieldMs(row.hubId));
        continue;
      }
      // Another run, or another address: what failed before says nothing of it.
      const moved = known.row.run !== row.run || known.row.url !== row.url;
      known.row = row;
      if (moved) known.tries = 0;
      if (moved && known.timer !== null) {
        this.#env.clock.clearTimeout(known.timer);
        known.timer = null;
      }
      if (known.timer === null && !this.#linked(row.hubId)) this.#plan(row.hubId, this.#yieldMs(row.hubId));
    }
  }

  /** A link to that hub is open. */
  succeeded(hubId: HubId): void {
    const known = this.#wanted.get(hubId);
    if (known === undefined) return;
    this.#env.clock.clearTimeout(known.timer);
    known.timer = null;
  }

  /** It has been open long enough to be called good: the next break is met without the waits of former ones. */
  stable(hubId: HubId): void {
    const known = this.#wanted.get(hubId);
    if (known !== undefined) known.tries = 0;
  }

  /** No link leads to that hub any more, or a dial came to nothing. */
  failed(hubId: HubId): void {
    const known = this.#wanted.get(hubId);
    if (known === undefined || known.timer !== null) return;
    known.tries++;
    this.#plan(hubId, this.#yieldMs(hubId) + retryDelayMs(known.tries, redial, this.#env.rng));
  }

  /** It has ended: not dialled until the store lists it again. */
  forget(hubId: HubId): void {
    const known = this.#wanted.get(hubId);
    if (known === undefined) return;
    this.#env.clock.clearTimeout(known.timer);
    this.#wanted.delete(hubId);
  }

  stop(): void {
    for (const hubId of [...this.#wanted.keys()]) this.forget(hubId);
  }

  #yieldMs(hubId: HubId): number {
    return this.#selfId < hubId ? 0 : yieldMs;
  }

  #plan(hubId: HubId, delayMs: number): void {
    const known = this.#wanted.get(hubId);
    if (known === undefined || known.row.url === null || known.timer !== null) return;
    known.timer = this.#env.clock.setTimeout(() => {
      known.timer = null;
      if (this.#wanted.get(hubId) === known && !this.#linked(hubId)) this.#dial(known.row);
    }, delayMs);
  }
}
