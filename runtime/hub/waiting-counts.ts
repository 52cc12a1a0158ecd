import type { Clock, Env } from '#protocol/env.ts';
import type { CountedWork, WaitingLimit } from '#protocol/limit.ts';
import type { Records } from '#protocol/records.ts';
import type { PreparedJob } from './prepare-job.ts';

/** Least age at which a count is read again, ms. */
const refreshMs = 1_000;
/** Age at which it is read again whatever counting costs, ms. */
const refreshLimitMs = 60_000;
/** All counts together are read again after so many times what they took: a twentieth of the hub's time. */
const costFactor = 20;
/** Questions of one step; the store may answer a step without a turn of the event loop. */
const stepQuestions = 64;
/** Jobs that a step may come to, where its first question alone does not come to more. */
const stepJobs = 100_000;
/** What a question comes to that looks through all that waits of a customer. */
const throughJobs = 20_000;

/** What a limit counts together, and which rows of a submission come to it. */
export interface Room {
  limit: WaitingLimit;
  counted: CountedWork;
  customer: string;
  rows: Set<PreparedJob>;
  count: Count;
}

/** One submission under way; settled when it is known which of its rows are new. */
export interface Seat {
  settled: boolean;
}

/** How many wait: what was read, and what this hub has accepted that the read may not have seen. */
export interface Count {
  key: string;
  readMs: number;
  read: number;
  /** To which it was read: there may be more where it came to so many. */
  readTo: number;
  /** How long the read kept the hub, ms. */
  tookMs: number;
  seats: Map<Seat, number>;
  own: number;
  reading: Promise<void> | null;
  /** Submissions that look at it: it is not forgotten meanwhile. */
  users: number;
}

/**
 * How many jobs wait of what limits count. The store is asked once a second at most, less often where that
 * takes long, and for what is submitted only; what this hub accepts meanwhile it counts itself, so that it
 * never accepts more than the limit, whoever sends at once. Other hubs do the same with numbers of their own.
 */
export class WaitingCounts {
  readonly #records: Pick<Records, 'countWaiting'>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #nextTurn: (fn: () => void) => void;
  readonly #counts = new Map<string, Count>();
  /** What the reads of all that is kept took, ms. */
  #tookMs = 0;
  #sweptMs = Number.NEGATIVE_INFINITY;

  constructor(options: {
    records: Pick<Records, 'countWaiting'>;
    env: { clock: Pick<Env['clock'], 'monotonic'> };
    nextTurn: (fn: () => void) => void;
  }) {
    this.#records = options.records;
    this.#clock = options.env.clock;
    this.#nextTurn = options.nextTurn;
  }

  /**
   * The count of that name; to be left when it has been looked at. A limit whose number is changed keeps
   * it: what is being committed counts on.
   */
  enter(key: string): Count {
    const count = this.#counts.get(key) ?? newCount(key);
    this.#counts.set(key, count);
    count.users++;
    return count;
  }

  leave(rooms: readonly Room[]): void {
    for (const { count } of rooms) count.users--;
  }

  /** How many wait; at most one more than the limit of the room. */
  of({ count, limit: { waiting } }: Pick<Room, 'count' | 'limit'>): number {
    return Math.min(waiting + 1, count.read + count.own);
  }

  /** Reads what is old, or was read to less than the limit asks for now. Rejects when Records fail. */
  async refreshIfOld(rooms: readonly Room[]): Promise<void> {
    const nowMs = this.#clock.monotonic();
    const everyMs = this.#everyMs();
    if (nowMs - this.#sweptMs >= everyMs) this.#forgetOld(nowMs, everyMs);
    // A read that had begun may be older than this, or have gone to a lower number.
    const isOld = (room: Room) => nowMs - room.count.readMs >= everyMs || isShort(room);
    for (let old = rooms.filter(isOld); old.length > 0; old = rooms.filter(isOld)) {
      const idle = old.filter(({ count }) => count.reading === null);
      if (idle.length > 0) this.#begin(idle);
      await Promise.all(rooms.map(({ count }) => count.reading));
    }
  }

  #everyMs(): number {
    return Math.min(refreshLimitMs, Math.max(refreshMs, costFactor * this.#tookMs));
  }

  #begin(rooms: readonly Room[]): void {
    const ask = async () => {
      try {
        for (const [index, step] of stepsOf(rooms, questionOf).entries()) {
          if (index > 0) await new Promise<void>(this.#nextTurn);
          await this.#read(step);
        }
      } finally {
        for (const { count } of rooms) count.reading = null;
      }
    };
    const reading = ask();
    for (const { count } of rooms) count.reading = reading;
  }

  async #read(rooms: readonly Room[]): Promise<void> {
    // Only what was committed before the question is in its answer for certain.
    const seen = rooms.map(({ count }) => [...count.seats.keys()].filter(({ settled }) => settled));
    const asked = rooms.map(questionOf);
    const readMs = this.#clock.monotonic();
    const answering = this.#records.countWaiting(asked);
    // SQLite has answered by now, and nothing else ran meanwhile; PostgreSQL has kept nobody.
    const tookMs = (this.#clock.monotonic() - readMs) / rooms.length;
    const answers = await answering;
    for (const [index, { count, limit }] of rooms.entries()) {
      for (const seat of seen[index] ?? []) setSeat(count, seat, 0);
      this.#tookMs += tookMs - count.tookMs;
      Object.assign(count, { read: answers[index] ?? 0, readTo: limit.waiting + 1, readMs, tookMs });
    }
  }

  /** Counts these rows from now on: nobody else gets their room. */
  take(rooms: readonly Room[]): Seat {
    const seat = { settled: false };
    for (const { count, rows } of rooms) setSeat(count, seat, rows.size);
    return seat;
  }

  /** Gives back the room of what came to nothing; what may have been committed stays until the next read. */
  settle(seat: Seat, rooms: readonly Room[], isNew: (row: PreparedJob) => boolean): void {
    seat.settled = true;
    for (const { count, rows } of rooms)
      if (count.seats.has(seat)) setSeat(count, seat, [...rows].filter(isNew).length);
  }

  /** What would be read again before it is looked at need not be kept. */
  #forgetOld(nowMs: number, everyMs: number): void {
    this.#sweptMs = nowMs;
    for (const { key, readMs, reading, seats, users, tookMs } of this.#counts.values()) {
      const isOpen = users > 0 || reading !== null || [...seats.keys()].some(({ settled }) => !settled);
      if (isOpen || nowMs - readMs < everyMs) continue;
      this.#counts.delete(key);
      this.#tookMs -= tookMs;
    }
  }
}

const newCount = (key: string): Count => ({
  key,
  readMs: Number.NEGATIVE_INFINITY,
  read: 0,
  readTo: 0,
  tookMs: 0,
  seats: new Map(),
  own: 0,
  reading: null,
  users: 0,
});

const questionOf = ({ counted, limit }: Room) => ({ ...counted, limit: limit.waiting + 1 });

const isShort = ({ count, limit }: Room) => count.read >= count.readTo && count.readTo <= limit.waiting;

/** Puts questions together that are asked at once: few enough that nothing waits long for its turn. */
export function stepsOf<T>(asked: readonly T[], of: (each: T) => CountedWork & { limit: number }): T[][] {
  const steps: T[][] = [];
  let jobs = stepJobs;
  for (const each of asked) {
    const { customer, pool, model, limit } = of(each);
    const isThrough = customer !== null && (pool ?? model) !== null;
    const weight = Math.max(limit, isThrough ? throughJobs : 0);
    const step = steps.at(-1);
    if (step === undefined || step.length >= stepQuestions || jobs + weight > stepJobs) {
      steps.push([each]);
      jobs = weight;
    } else {
      step.push(each);
      jobs += weight;
    }
  }
  return steps;
}

function setSeat(count: Count, seat: Seat, jobs: number): void {
  count.own += jobs - (count.seats.get(seat) ?? 0);
  if (jobs === 0) count.seats.delete(seat);
  else count.seats.set(seat, jobs);
}
