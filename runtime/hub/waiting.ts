import { refusalInWords } from '#machines/policy/admission.ts';
import type { Clock, Env } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import {
  type CountedWork,
  countedWith,
  covers,
  type Limit,
  refusesBeyond,
  type WaitingLimit,
} from '#protocol/limit.ts';
import type { Records, SubmitRowAnswer } from '#protocol/records.ts';
import { workOf } from './held-back.ts';
import type { Hub } from './hub.ts';
import type { PreparedJob } from './prepare-job.ts';

/**
 * Limits on how many jobs may be accepted and not begun. The store is asked how many there are at most once
 * a second, for what is submitted only; what this hub accepts meanwhile it counts itself, so that it never
 * accepts more than the limit, whoever sends at once. Other hubs do the same with numbers of their own.
 */

/** Age at which a count is read again, ms. */
const refreshMs = 1_000;
/** Counts that are kept; beyond, those that are old are forgotten, once a second. */
const countsLimit = 10_000;

/** What a limit counts together, and which rows of a submission come to it. */
interface Room {
  key: string;
  limit: WaitingLimit;
  counted: CountedWork;
  customer: string;
  rows: Set<PreparedJob>;
}

/** One submission under way; settled when it is known which of its rows are new. */
interface Seat {
  settled: boolean;
}

/** How many wait: what was read, and what this hub has accepted that the read may not have seen. */
interface Count {
  readMs: number;
  read: number;
  seats: Map<Seat, number>;
  own: number;
  reading: Promise<void> | null;
}

export class WaitingCounts {
  readonly #records: Pick<Records, 'countWaiting'>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #counts = new Map<string, Count>();
  #sweptMs = 0;

  constructor({ records, env }: { records: Pick<Records, 'countWaiting'>; env: Pick<Env, 'clock'> }) {
    this.#records = records;
    this.#clock = env.clock;
  }

  /** How many wait; at most one more than the limit of the room. */
  of({ key, limit: { waiting } }: Room): number {
    const count = this.#counts.get(key);
    return count === undefined ? 0 : Math.min(waiting + 1, count.read + count.own);
  }

  /** Reads what is old, all of it with one question. Rejects when Records fail. */
  async refreshIfOld(rooms: readonly Room[]): Promise<void> {
    const nowMs = this.#clock.monotonic();
    if (this.#counts.size > countsLimit && nowMs - this.#sweptMs >= refreshMs) this.#forgetOld(nowMs);
    const old: { room: Room; count: Count }[] = [];
    for (const room of rooms) {
      const count = this.#counts.get(room.key) ?? newCount();
      this.#counts.set(room.key, count);
      if (count.reading === null && nowMs - count.readMs >= refreshMs) old.push({ room, count });
    }
    if (old.length > 0) this.#begin(old, nowMs);
    await Promise.all(rooms.map(({ key }) => this.#counts.get(key)?.reading));
  }

  #begin(old: readonly { room: Room; count: Count }[], nowMs: number): void {
    // Only what was committed before the question is in its answer for certain.
    const seen = old.map(({ count }) => [...count.seats.keys()].filter(({ settled }) => settled));
    const ask = async () => {
      try {
        const asked = old.map(({ room }) => ({ ...room.counted, limit: room.limit.waiting + 1 }));
        const answers = await this.#records.countWaiting(asked);
        for (const [index, { count }] of old.entries()) {
          for (const seat of seen[index] ?? []) setSeat(count, seat, 0);
          Object.assign(count, { read: answers[index] ?? 0, readMs: nowMs });
        }
      } finally {
        for (const { count } of old) count.reading = null;
      }
    };
    const reading = ask();
    for (const { count } of old) count.reading = reading;
  }

  /** Counts these rows from now on: nobody else gets their room. */
  take(rooms: readonly Room[]): Seat {
    const seat = { settled: false };
    for (const { key, rows } of rooms) {
      const count = this.#counts.get(key);
      if (count !== undefined) setSeat(count, seat, rows.size);
    }
    return seat;
  }

  /** Gives back the room of what came to nothing; what may have been committed stays until the next read. */
  settle(seat: Seat, rooms: readonly Room[], isNew: (row: PreparedJob) => boolean): void {
    seat.settled = true;
    for (const { key, rows } of rooms) {
      const count = this.#counts.get(key);
      if (count?.seats.has(seat)) setSeat(count, seat, [...rows].filter(isNew).length);
    }
  }

  #forgetOld(nowMs: number): void {
    this.#sweptMs = nowMs;
    for (const [key, { readMs, reading, seats }] of this.#counts) {
      const isOpen = reading !== null || [...seats.keys()].some(({ settled }) => !settled);
      if (!isOpen && nowMs - readMs >= refreshMs) this.#counts.delete(key);
    }
  }
}

const newCount = (): Count => ({
  readMs: Number.NEGATIVE_INFINITY,
  read: 0,
  seats: new Map(),
  own: 0,
  reading: null,
});

function setSeat(count: Count, seat: Seat, jobs: number): void {
  count.own += jobs - (count.seats.get(seat) ?? 0);
  if (jobs === 0) count.seats.delete(seat);
  else count.seats.set(seat, jobs);
}

/** What limits count of these rows. A limit that is changed counts anew. */
function roomsOf(hub: Hub, prepared: readonly PreparedJob[]): Room[] {
  const limits = hub.limits.refusing();
  const rooms = new Map<string, Room>();
  if (limits.length === 0) return [];
  for (const each of prepared) {
    const work = workOf(each.row);
    for (const limit of limits) {
      if (!covers(limit, work)) continue;
      const counted = countedWith(limit, work);
      const key = JSON.stringify([limit.name, limit.waiting, counted.customer, counted.pool, counted.model]);
      const room = rooms.get(key) ?? { key, limit, counted, customer: work.customer, rows: new Set() };
      room.rows.add(each);
      rooms.set(key, room);
    }
  }
  return [...rooms.values()];
}

function refusal(hub: Hub, rooms: readonly Room[]): EmpError | null {
  for (const room of rooms) {
    const { limit, customer, rows } = room;
    const count = hub.waiting.of(room);
    if (count + rows.size <= limit.waiting) continue;
    return new EmpError('QUEUE_FULL', {
      detail: refusalInWords(limit, { customer, jobs: rows.size, count }),
      fields: { name: limit.name, waiting: count, limit: limit.waiting },
    });
  }
  return null;
}

/** The rows that repeat no submission: Records know no job of their id. */
export async function freshOf(hub: Hub, prepared: PreparedJob[]): Promise<PreparedJob[]> {
  const named = prepared.filter((each) => each.named);
  if (named.length === 0) return prepared;
  const ended = await hub.records.endedAmong(named.map(({ row }) => row.id));
  const unknown = new Set(ended.flatMap(({ jobId, known }) => (known ? [] : [jobId])));
  return prepared.filter(({ row, named }) => !named || unknown.has(row.id));
}

/**
 * What limits say of these rows now: `use` is called with the rooms that they need and why they are refused,
 * and between the two nobody else takes any. What repeats a submission needs no room; whether it does is
 * asked only where that decides.
 */
async function judge<T>(
  hub: Hub,
  prepared: PreparedJob[],
  use: (rooms: readonly Room[], refused: EmpError | null) => T,
): Promise<T> {
  await hub.limits.refreshIfOld();
  const rooms = roomsOf(hub, prepared);
  if (rooms.length === 0) return use(rooms, null);
  await hub.waiting.refreshIfOld(rooms);
  if (refusal(hub, rooms) === null) return use(rooms, null);
  const needed = roomsOf(hub, await freshOf(hub, prepared));
  await hub.waiting.refreshIfOld(needed);
  return use(needed, refusal(hub, needed));
}

/** Room that a submission has taken; to be settled whatever comes of it, with null where nobody knows. */
export interface TakenRoom {
  settle(answers: readonly SubmitRowAnswer[] | null): void;
}

/** Takes the room that these rows need under every limit that counts them, or throws QUEUE_FULL with none taken. */
export function takeRoom(hub: Hub, prepared: PreparedJob[]): Promise<TakenRoom> {
  return judge(hub, prepared, (rooms, refused) => {
    if (refused !== null) throw refused;
    const seat = hub.waiting.take(rooms);
    return {
      settle(answers) {
        const created = new Set(prepared.filter((_, index) => answers?.[index]?.kind === 'created'));
        hub.waiting.settle(seat, rooms, (row) => answers === null || created.has(row));
      },
    };
  });
}

/** Why a submission of this row would be refused now; null where it would not. */
export function refusedNow(hub: Hub, prepared: PreparedJob): Promise<string | null> {
  return judge(hub, [prepared], (_, refused) => refused?.message ?? null);
}

/** To which the counts that people are shown go. */
const shownLimit = 100_000;

/** How many wait of what each limit counts, up to 100 000 or one more than it allows; null where it says nothing of them. */
export async function countsShown(
  hub: Hub,
  limits: readonly Limit[],
  countedBy: (limit: Limit) => CountedWork,
): Promise<(number | null)[]> {
  const asked = limits.filter(refusesBeyond);
  if (asked.length === 0) return limits.map(() => null);
  const counts = await hub.records.countWaiting(
    asked.map((limit) => ({ ...countedBy(limit), limit: Math.max(shownLimit, limit.waiting + 1) })),
  );
  return limits.map((limit) => (refusesBeyond(limit) ? (counts[asked.indexOf(limit)] ?? null) : null));
}
