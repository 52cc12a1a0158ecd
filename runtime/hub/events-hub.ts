import type { Env, TimerId } from '#protocol/env.ts';
import type { JobId } from '#protocol/names.ts';
import type { RecordedEvent, Records } from '#protocol/records.ts';

const pageLimit = 500;
/** Events kept in memory for subscribers that are up to date, so that each batch is read once. */
const ringLimit = 2_000;

export interface EventFilter {
  jobId?: JobId;
  types?: string[];
}

function matches(event: RecordedEvent, filter: EventFilter): boolean {
  if (filter.jobId !== undefined && event.jobId !== filter.jobId) return false;
  return filter.types === undefined || filter.types.includes(event.type);
}

/**
 * Hands committed events on, by `seq` and without gaps. Subscribers pull: a slow one holds nothing
 * in memory here but its cursor, and reads from Records what has left the ring.
 */
export class EventsHub {
  readonly #records: Records;
  readonly #env: Env;
  #ring: RecordedEvent[] = [];
  /** Everything up to here was read; `seq` after it is not known yet. */
  #highest = 0;
  #reading: Promise<void> | null = null;
  readonly #waiters = new Set<() => void>();

  constructor(options: { records: Records; env: Env }) {
    this.#records = options.records;
    this.#env = options.env;
  }

  /** `seq` of the newest event that was published here. */
  get highest(): number {
    return this.#highest;
  }

  /** Begins at the newest committed event: older ones are read from Records on demand. */
  async start(): Promise<void> {
    this.#highest = await this.#records.highestSeq();
  }

  /** Reads what was numbered since and tells everybody who waits. Calls do not overlap. */
  async publish(): Promise<void> {
    while (this.#reading !== null) await this.#reading;
    this.#reading = this.#read();
    try {
      await this.#reading;
    } finally {
      this.#reading = null;
    }
  }

  async #read(): Promise<void> {
    for (;;) {
      const events = await this.#records.listEvents({ after: this.#highest, limit: pageLimit });
      const last = events.at(-1);
      if (last === undefined) return;
      this.#ring.push(...events);
      if (this.#ring.length > ringLimit) this.#ring = this.#ring.slice(-ringLimit);
      this.#highest = last.seq;
      this.#wakeAll();
      if (events.length < pageLimit) return;
    }
  }

  #wakeAll(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter();
  }

  /**
   * Matching events after `after`, and the cursor to go on from. An empty list with a cursor means
   * that nothing up to there matches.
   */
  async since(options: {
    after: number;
    filter: EventFilter;
    limit: number;
  }): Promise<{ events: RecordedEvent[]; cursor: number }> {
    const { after, filter, limit } = options;
    const upTo = this.#highest;
    if (after >= upTo) return { events: [], cursor: after };
    const [first] = this.#ring;
    const events =
      first !== undefined && first.seq <= after + 1
        ? this.#ring
            .filter((event) => event.seq > after && event.seq <= upTo && matches(event, filter))
            .slice(0, limit)
        : (await this.#records.listEvents({ after, limit, ...filter })).filter((event) => event.seq <= upTo);
    const last = events.at(-1);
    return { events, cursor: events.length === limit && last !== undefined ? last.seq : upTo };
  }

  /** Resolves when something newer than `after` was published, the time is up, or `signal` aborts. */
  async newer(options: { after: number; waitMs: number | null; signal: AbortSignal }): Promise<void> {
    const { after, waitMs, signal } = options;
    if (this.#highest > after || signal.aborted) return;
    const { clock } = this.#env;
    await new Promise<void>((resolve) => {
      let timer: TimerId | null = null;
      const done = () => {
        this.#waiters.delete(done);
        signal.removeEventListener('abort', done);
        if (timer !== null) clock.clearTimeout(timer);
        resolve();
      };
      this.#waiters.add(done);
      signal.addEventListener('abort', done, { once: true });
      if (waitMs !== null) timer = clock.setTimeout(done, waitMs);
    });
  }
}
