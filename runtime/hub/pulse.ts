import type { BrokerPulse } from '#protocol/broker.ts';
import type { Clock } from '#protocol/env.ts';

/**
 * How the Broker was when it last answered beats of this hub. Standing work that looks every few
 * seconds whether something has happened that nobody told it of, and health checks, look here first,
 * so that an idle fleet costs the server next to nothing.
 */
export class Pulse {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #maxAgeMs: number;
  #newest: { pulse: BrokerPulse; sentMs: number } | null = null;

  /** `maxAgeMs`: what was asked for earlier says nothing any more. */
  constructor(options: { clock: Pick<Clock, 'monotonic'>; maxAgeMs: number }) {
    this.#clock = options.clock;
    this.#maxAgeMs = options.maxAgeMs;
  }

  /** Takes the pulse of a step that was sent at `sentMs`, monotonic; of two answers the one that was sent later stands. */
  note(pulse: BrokerPulse, sentMs: number): void {
    if (this.#newest === null || this.#newest.sentMs <= sentMs) this.#newest = { pulse, sentMs };
  }

  /** The Broker did not answer. */
  forget(): void {
    this.#newest = null;
  }

  /**
   * The newest pulse, null where it is too old: ask. It knows nothing of what happened since, so it is
   * not for those who were told that something has.
   */
  recent(): BrokerPulse | null {
    if (this.#newest === null) return null;
    const { pulse, sentMs } = this.#newest;
    return this.#clock.monotonic() - sentMs > this.#maxAgeMs ? null : pulse;
  }
}
