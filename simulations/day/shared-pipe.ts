import type { Clock, TimerId } from '#protocol/env.ts';

interface Flow {
  group: Group;
  leftBytes: number;
  done: () => void;
}

interface Group {
  bytesPerMs: number;
  flows: number;
}

/** One machine's way to the store. */
export interface PipeLink {
  /** While nobody shares it. */
  readonly bytesPerMs: number;
  /** Resolves when the bytes have arrived; rejects with the signal's reason as soon as it aborts. */
  transfer(bytes: number, signal: AbortSignal): Promise<void>;
}

/**
 * Transfers that share two bottlenecks: the link of their machine, in equal parts, and what the store
 * delivers to all machines together, in equal parts too. Rates change whenever a transfer begins or
 * ends; one timer stands on the next end. Rates in bytes per ms.
 */
export class SharedPipe {
  readonly #clock: Clock;
  readonly #totalBytesPerMs: number;
  readonly #flows = new Set<Flow>();
  #sinceMs = 0;
  #timer: TimerId = null;

  /** `totalBytesPerMs` null: the store has no bound. */
  constructor(options: { clock: Clock; totalBytesPerMs: number | null }) {
    this.#clock = options.clock;
    this.#totalBytesPerMs = options.totalBytesPerMs ?? Number.POSITIVE_INFINITY;
  }

  /** One machine's link to it. */
  link(bytesPerMs: number): PipeLink {
    if (!(bytesPerMs > 0)) throw new RangeError(`a link carries more than 0 bytes per ms, got ${bytesPerMs}`);
    const group: Group = { bytesPerMs, flows: 0 };
    return { bytesPerMs, transfer: (bytes, signal) => this.#transfer(group, { bytes, signal }) };
  }

  #transfer(group: Group, options: { bytes: number; signal: AbortSignal }): Promise<void> {
    const { bytes, signal } = options;
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    return new Promise((resolve, reject) => {
      const flow: Flow = { group, leftBytes: bytes, done: () => {} };
      const leave = () => {
        signal.removeEventListener('abort', aborted);
        this.#flows.delete(flow);
        group.flows--;
      };
      const aborted = () => {
        this.#progress();
        leave();
        this.#rearm();
        reject(signal.reason as Error);
      };
      flow.done = () => {
        leave();
        resolve();
      };
      this.#progress();
      this.#flows.add(flow);
      group.flows++;
      signal.addEventListener('abort', aborted, { once: true });
      this.#rearm();
    });
  }

  #rateOf(flow: Flow): number {
    return Math.min(flow.group.bytesPerMs / flow.group.flows, this.#totalBytesPerMs / this.#flows.size);
  }

  /** Books what has flowed since the last change, at the rates that held. */
  #progress(): void {
    const passedMs = this.#clock.monotonic() - this.#sinceMs;
    this.#sinceMs += passedMs;
    if (passedMs <= 0) return;
    for (const flow of this.#flows) flow.leftBytes -= passedMs * this.#rateOf(flow);
  }

  #rearm(): void {
    this.#clock.clearTimeout(this.#timer);
    let nextMs = Number.POSITIVE_INFINITY;
    for (const flow of this.#flows) nextMs = Math.min(nextMs, flow.leftBytes / this.#rateOf(flow));
    this.#timer =
      nextMs === Number.POSITIVE_INFINITY
        ? null
        : this.#clock.setTimeout(() => this.#arrive(), Math.max(0, nextMs));
  }

  /** Rounding may leave a millionth of a byte behind: it has arrived. */
  #arrive(): void {
    this.#progress();
    for (const flow of [...this.#flows]) if (flow.leftBytes < 1e-6) flow.done();
    this.#rearm();
  }
}
