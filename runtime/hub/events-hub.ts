import type { Env } from '#protocol/env.ts';
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
  readonly #jobWaiters = new Map<JobId, Set<() => void>>();

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

  /**
   * Reads what was numbered since and tells everybody who waits; while nobody does, only how far the
   * numbers have come. Calls do not overlap. Whoever gave the numbers tells how far they have come.
   */
  async publish(numbered?: number): Promise<void> {
    while (this.#reading !== null) await this.#reading;
    this.#reading = this.#read(numbered);
    try {
      await this.#reading;
    } finally {
      this.#reading = null;
    }
  }

  async #read(numbered: number | undefined): Promise<void> {
    if (this.#waiters.size === 0 && this.#jobWaiters.size === 0) {
      // Nobody listens: whoever comes later reads Records from its own cursor.
      const highest = numbered ?? (await this.#records.highestSeq());
      if (highest <= this.#highest) return;
      this.#highest = highest;
      this.#ring = [];
      // Who came while the number was read waits for what was passed over just now.
      this.release();
      return;
    }
    for (;;) {
      const events = await this.#records.listEvents({ after: this.#highest, limit: pageLimit });
      const last = events.at(-1);
      if (last === undefined) return;
      this.#ring.push(...events);
      if (this.#ring.length > ringLimit) this.#ring = this.#ring.slice(-ringLimit);
      this.#highest = last.seq;
      this.#wakeAll();
      for (const event of events) this.#wakeJob(event.jobId);
      if (events.length < pageLimit) return;
    }
  }

  #wakeAll(): void {
    for (const wake of [...this.#waiters]) wake();
  }

  #wakeJob(jobId: JobId | null): void {
    const waiters = jobId === null ? undefined : this.#jobWaiters.get(jobId);
    for (const wake of [...(waiters ?? [])]) wake();
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

  /** True when something newer than `after` is published; false when the time is up or `signal` aborts. */
  async newer(options: { after: number; waitMs: number; signal: AbortSignal }): Promise<boolean> {
    if (this.#highest > options.after) return true;
    return await this.#wait(this.#waiters, options);
  }

  /** The same for an event of one job. */
  async ofJob(options: {
    jobId: JobId;
    after: number;
    waitMs: number;
    signal: AbortSignal;
  }): Promise<boolean> {
    const { jobId, after } = options;
    const [first] = this.#ring;
    // Events since then were passed over while nobody listened: one may be of this job.
    if (this.#highest > after && (first === undefined || first.seq > after + 1)) return true;
    for (let index = this.#ring.length - 1; index >= 0; index--) {
      const event = this.#ring[index];
      if (event === undefined || event.seq <= after) break;
      if (event.jobId === jobId) return true;
    }
    const waiters = this.#jobWaiters.get(jobId) ?? new Set();
    this.#jobWaiters.set(jobId, waiters);
    try {
      return await this.#wait(waiters, options);
    } finally {
      if (waiters.size === 0 && this.#jobWaiters.get(jobId) === waiters) this.#jobWaiters.delete(jobId);
    }
  }

  async #wait(waiters: Set<() => void>, options: { waitMs: number; signal: AbortSignal }): Promise<boolean> {
    const { waitMs, signal } = options;
    if (signal.aborted) return false;
    const { clock } = this.#env;
    return await new Promise<boolean>((resolve) => {
      const end = (isNew: boolean) => {
        waiters.delete(wake);
        signal.removeEventListener('abort', abort);
        clock.clearTimeout(timer);
        resolve(isNew);
      };
      const wake = () => end(true);
      const abort = () => end(false);
      const timer = clock.setTimeout(abort, waitMs);
      waiters.add(wake);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  /** Whoever waits looks again: a stop must not wait for events that no longer come. */
  release(): void {
    this.#wakeAll();
    for (const waiters of [...this.#jobWaiters.values()]) for (const wake of [...waiters]) wake();
  }
}
