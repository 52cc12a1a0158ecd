import type { Clock, TimerId } from '#protocol/env.ts';
import { HubRole } from '#protocol/hub-link.ts';

/** What happens together within this time is told together, ms. */
const batchMs = 2;

interface Pending {
  timer: TimerId | null;
  dueMs: number;
  /** What the sweeper's holder is to be told: the earliest of what came together, null = now. */
  atMs: number | null;
  /** It was told to look then, ms since 1970; not before anything is told. */
  toldMs: number;
}

/**
 * Says to the hub that holds a role that there is work for it: many times a second from the verbs,
 * seldom over the link. A date for the sweeper is told once, however often it is named.
 */
export class PeerPokes {
  readonly #clock: Clock;
  readonly #send: (role: HubRole, atMs: number | null) => void;
  readonly #pending: Record<HubRole, Pending>;

  constructor(options: { clock: Clock; send: (role: HubRole, atMs: number | null) => void }) {
    this.#clock = options.clock;
    this.#send = options.send;
    const none = (): Pending => ({ timer: null, dueMs: 0, atMs: null, toldMs: Number.POSITIVE_INFINITY });
    this.#pending = { sweeper: none(), recorder: none(), reconciler: none() };
  }

  /** `delayMs`: at the latest then. `atMs`: the holder is to look at that wall time; null = at once. */
  poke(role: HubRole, options: { delayMs?: number; atMs?: number | null } = {}): void {
    const pending = this.#pending[role];
    const { delayMs = 0, atMs = null } = options;
    const nowMs = this.#clock.now();
    if (atMs !== null && atMs >= pending.toldMs && pending.toldMs > nowMs) return;
    const waitMs = Math.max(batchMs, delayMs);
    const dueMs = this.#clock.monotonic() + waitMs;
    if (pending.timer !== null) {
      pending.atMs = atMs === null || pending.atMs === null ? null : Math.min(pending.atMs, atMs);
      if (dueMs >= pending.dueMs) return;
      this.#clock.clearTimeout(pending.timer);
    } else pending.atMs = atMs;
    pending.dueMs = dueMs;
    pending.timer = this.#clock.setTimeout(() => this.#tell(role), waitMs);
  }

  #tell(role: HubRole): void {
    const pending = this.#pending[role];
    pending.timer = null;
    if (pending.atMs !== null) pending.toldMs = pending.atMs;
    this.#send(role, pending.atMs);
  }

  /** Another hub holds the roles now, and has been told nothing. */
  forget(): void {
    for (const role of HubRole.options) this.#pending[role].toldMs = Number.POSITIVE_INFINITY;
  }

  stop(): void {
    for (const role of HubRole.options) {
      this.#clock.clearTimeout(this.#pending[role].timer);
      this.#pending[role].timer = null;
    }
  }
}
