import type { Clock } from '#protocol/env.ts';

/** What happens to an item that finds the inbox full. `coalesce` replaces a waiting item of the same key first. */
export type InboxPolicy = 'reject' | 'dropOldest' | 'coalesce';

export interface InboxOptions<T> {
  limit: number;
  policy: InboxPolicy;
  /** For `coalesce`: items of one key are one item, the newest. */
  key?: (item: T) => string;
  deliver: (item: T) => void;
  /** An item was refused or thrown away. */
  onOverflow: (item: T) => void;
  clock: Clock;
  /** Items delivered in one turn: actors that answer each other must not block the event loop. */
  batch?: number;
}

/**
 * A queue at an edge where the outside world pushes: sockets, services. XState's own mailboxes are
 * unbounded, but drained at once; without this, a burst is handled in a single turn while nothing else
 * of the process runs.
 */
export class BoundedInbox<T> {
  readonly #options: InboxOptions<T>;
  readonly #items = new Map<string, T>();
  #seq = 0;
  #pumping = false;
  #closed = false;

  constructor(options: InboxOptions<T>) {
    this.#options = options;
  }

  /** Items that wait. */
  get depth(): number {
    return this.#items.size;
  }

  /** False if the item was refused: the inbox is full under `reject` or `coalesce`, or closed. */
  push(item: T): boolean {
    const { limit, policy, key, onOverflow } = this.#options;
    if (this.#closed) return false;
    const name = policy === 'coalesce' && key !== undefined ? `k${key(item)}` : `n${this.#seq++}`;
    if (!this.#items.has(name) && this.#items.size >= limit) {
      const oldest = this.#items.entries().next().value;
      if (policy !== 'dropOldest' || oldest === undefined) {
        onOverflow(item);
        return false;
      }
      this.#items.delete(oldest[0]);
      onOverflow(oldest[1]);
    }
    this.#items.set(name, item);
    if (!this.#pumping) {
      this.#pumping = true;
      queueMicrotask(() => this.#pump());
    }
    return true;
  }

  /** Forgets what waits and takes nothing more. */
  close(): void {
    this.#closed = true;
    this.#items.clear();
  }

  #pump(): void {
    for (let left = this.#options.batch ?? 256; left > 0; left--) {
      const next = this.#items.entries().next().value;
      if (next === undefined) {
        this.#pumping = false;
        return;
      }
      this.#items.delete(next[0]);
      this.#options.deliver(next[1]);
    }
    this.#options.clock.setTimeout(() => this.#pump(), 0);
  }
}
