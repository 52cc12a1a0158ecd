import { refusalInWords } from '#machines/policy/admission.ts';
import { EmpError } from '#protocol/errors.ts';
import { type CountedWork, countedWith, covers, type Limit, refusesBeyond } from '#protocol/limit.ts';
import type { SubmitRowAnswer } from '#protocol/records.ts';
import { workOf } from './held-back.ts';
import type { Hub } from './hub.ts';
import type { PreparedJob } from './prepare-job.ts';
import type { Room } from './waiting-counts.ts';

/** Which submissions are refused because too many jobs wait already: of all, or of what a limit counts. */

/** What limits count of these rows. The rooms are to be left. */
function roomsOf(hub: Hub, prepared: readonly PreparedJob[]): Room[] {
  const limits = hub.limits.refusing();
  const rooms = new Map<string, Room>();
  if (limits.length === 0) return [];
  for (const each of prepared) {
    const work = workOf(each.row);
    for (const limit of limits) {
      if (!covers(limit, work)) continue;
      const counted = countedWith(limit, work);
      const key = JSON.stringify([limit.name, counted.customer, counted.pool, counted.model]);
      const { customer } = work;
      const room = rooms.get(key);
      if (room !== undefined) room.rows.add(each);
      else rooms.set(key, { limit, counted, customer, rows: new Set([each]), count: hub.waiting.enter(key) });
    }
  }
  return [...rooms.values()];
}

/** Where rows can never fit under a limit, that is said: to try again would be in vain. */
function refusal(hub: Hub, rooms: readonly Room[]): EmpError | null {
  const full = rooms.filter((room) => hub.waiting.of(room) + room.rows.size > room.limit.waiting);
  const room = full.find(({ limit, rows }) => rows.size > limit.waiting) ?? full[0];
  if (room === undefined) return null;
  const { limit, customer, rows } = room;
  const count = hub.waiting.of(room);
  return new EmpError('QUEUE_FULL', {
    detail: refusalInWords(limit, { customer, jobs: rows.size, count }),
    retryable: rows.size <= limit.waiting,
    fields: { name: limit.name, waiting: count, limit: limit.waiting },
  });
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
 * Why the queue of all refuses these rows; null where it does not. A Broker that does not answer refuses
 * nobody: Records are the truth. Nor is refused what was accepted before: its client asks for the answer
 * that it never got.
 */
export async function refusedByAll(hub: Hub, prepared: PreparedJob[]): Promise<EmpError | null> {
  const waiting = await hub.backlog.accepted();
  const limit = hub.config.waitingLimit;
  if (waiting + prepared.length <= limit) return null;
  const fresh = (await freshOf(hub, prepared)).length;
  if (fresh === 0 || waiting + fresh <= limit) return null;
  const isFit = fresh <= limit;
  const then = isFit ? 'try again when some have ended' : `send at most ${limit} at once`;
  return new EmpError('QUEUE_FULL', {
    detail: `${waiting} jobs wait, the limit is ${limit}: ${then}, or raise EMP_WAITING_LIMIT`,
    retryable: isFit,
    fields: { waiting, limit },
  });
}

/**
 * What limits say of these rows now: `use` is called with the rooms that they need and why they are refused,
 * and between the two nobody else takes any. What repeats a submission needs no room, not even until it is
 * answered: else something new would be refused although there is room.
 */
async function judge<T>(
  hub: Hub,
  prepared: PreparedJob[],
  use: (rooms: readonly Room[], refused: EmpError | null) => T,
): Promise<T> {
  await hub.limits.refreshIfOld();
  const limits = hub.limits.refusing();
  const isCounted = prepared.some(({ row }) => limits.some((limit) => covers(limit, workOf(row))));
  const rooms = isCounted ? roomsOf(hub, await freshOf(hub, prepared)) : [];
  try {
    await hub.waiting.refreshIfOld(rooms);
    return use(rooms, refusal(hub, rooms));
  } finally {
    hub.waiting.leave(rooms);
  }
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
export async function refusedNow(hub: Hub, prepared: PreparedJob): Promise<string | null> {
  const byAll = await refusedByAll(hub, [prepared]);
  return byAll?.message ?? (await judge(hub, [prepared], (_, refused) => refused?.message ?? null));
}

/** How many wait of what each limit counts, as `ShownCounts` has it; null where the limit says nothing of them, too. */
export async function countsShown(
  hub: Hub,
  limits: readonly Limit[],
  countedBy: (limit: Limit) => CountedWork,
): Promise<(number | null)[]> {
  const asked = limits.filter(refusesBeyond);
  const counts = await hub.waitingShown.of(asked.map(countedBy));
  return limits.map((limit) => (refusesBeyond(limit) ? (counts[asked.indexOf(limit)] ?? null) : null));
}
