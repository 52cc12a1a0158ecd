import { fromCallback } from 'xstate';
import type { DeadLetterEvent, DeadLetterReason } from '#machines/safe-send.ts';

export interface DeadLetter {
  /** Rises by one per letter of this process. */
  seq: number;
  /** Monotonic ms. */
  atMs: number;
  reason: DeadLetterReason;
  /** Path of the actor it was meant for, or what is known of it. */
  to: string;
  /** Type of the event; its content is not kept, it may be a customer's. */
  event: string;
}

const ringLimit = 200;

/** What nobody could take: counted by reason, the last 200 kept. */
export class DeadLetters {
  readonly #monotonic: () => number;
  readonly #onLetter: (letter: DeadLetter) => void;
  readonly #ring: DeadLetter[] = [];
  readonly #counts: Record<DeadLetterReason, number> = {
    stopped: 0,
    unhandled: 0,
    'unknown-address': 0,
    overflow: 0,
    decode: 0,
  };
  #seq = 0;

  constructor(options: { monotonic: () => number; onLetter?: (letter: DeadLetter) => void }) {
    this.#monotonic = options.monotonic;
    this.#onLetter = options.onLetter ?? (() => {});
  }

  record(letter: Pick<DeadLetter, 'reason' | 'to' | 'event'>): void {
    const kept = { seq: ++this.#seq, atMs: this.#monotonic(), ...letter };
    this.#counts[letter.reason]++;
    this.#ring.push(kept);
    if (this.#ring.length > ringLimit) this.#ring.shift();
    this.#onLetter(kept);
  }

  get total(): number {
    return this.#seq;
  }

  counts(): Record<DeadLetterReason, number> {
    return { ...this.#counts };
  }

  /** Oldest first, at most 200. */
  recent(): DeadLetter[] {
    return [...this.#ring];
  }
}

/** The actor behind the dead letter box. */
export function deadLetterActors(letters: DeadLetters) {
  return {
    deadLetters: fromCallback<DeadLetterEvent, undefined>(({ receive }) => {
      receive((letter) => letters.record({ reason: letter.reason, to: letter.to, event: letter.event.type }));
    }),
  };
}
