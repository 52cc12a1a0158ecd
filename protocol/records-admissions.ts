import { EmpError } from './errors.ts';
import { type Entries, newEntries, recordFact } from './ledger.ts';
import {
  type CountedWork,
  countedWith,
  covers,
  everyCustomer,
  holdsBack,
  type Limit,
  type LimitDefinition,
  type LimitedWork,
  limitKey,
  limitsLimit,
} from './limit.ts';
import { checkLimit } from './page-cursor.ts';
import type { Records } from './records.ts';

/** What limits come to in every store: the room that they leave, the facts that are told, their number. */

export type SavedLimit = Parameters<Records['putLimit']>[0];
export type Admission = Parameters<Records['admitJobs']>[0];

/** The limit that a row tells of, its definition as JSON. */
export function limitOf(row: Record<string, unknown>): Limit {
  return {
    ...JSON.parse(String(row.document)),
    name: String(row.name),
    actor: String(row.actor),
    createdAtMs: Number(row.created_at_ms),
    updatedAtMs: Number(row.updated_at_ms),
  };
}

export function keptLimit(before: Limit | null, saved: SavedLimit): Limit {
  const { name, definition, actor, nowMs } = saved;
  return { ...definition, name, actor, createdAtMs: before?.createdAtMs ?? nowMs, updatedAtMs: nowMs };
}

/** Whether what was let in before may be more than the limit allows now. */
export function isTighter(before: Limit | null, limit: Limit): boolean {
  if (!holdsBack(limit)) return false;
  if (before === null || !holdsBack(before)) return true;
  const isOther = (['customer', 'pool', 'model'] as const).some((key) => before[key] !== limit[key]);
  const none = Number.POSITIVE_INFINITY;
  return isOther || (limit.concurrent ?? none) < (before.concurrent ?? none);
}

export function checkLimits(count: number): void {
  if (count < limitsLimit) return;
  const detail = `${limitsLimit} limits are kept already: remove some first`;
  throw new EmpError('CONFLICT', { detail });
}

export function limitSavedFact({ name, actor, updatedAtMs }: Limit): Entries {
  const entries = newEntries();
  const data = { name, actor };
  recordFact(entries, { type: 'limit.saved', jobId: null, machineId: null, data, atMs: updatedAtMs });
  return entries;
}

export function limitRemovedFact({ name, actor, nowMs }: Parameters<Records['removeLimit']>[0]): Entries {
  const entries = newEntries();
  const data = { name, actor };
  recordFact(entries, { type: 'limit.removed', jobId: null, machineId: null, data, atMs: nowMs });
  return entries;
}

/** What of jobs the limit names. */
export function namedBy(limit: LimitDefinition): CountedWork {
  const { customer, pool = null, model = null } = limit;
  return { customer: customer === undefined || customer === everyCustomer ? null : customer, pool, model };
}

/** A limit that counts this work and may hold it back, with what has to be looked up for it. */
export interface Counted {
  limit: Limit;
  key: string;
  with: CountedWork;
}

export function countedBy(limits: readonly Limit[], work: LimitedWork): Counted[] {
  return limits
    .filter((limit) => holdsBack(limit) && covers(limit, work))
    .map((limit) => ({ limit, key: limitKey(limit, work), with: countedWith(limit, work) }));
}

const atOnce = (perMinute: number) => Math.max(1, Math.floor(perMinute / 10));

/**
 * When the next one would be due, not before now. No honest arrival is later than what may come at once
 * reaches: a later one was written under a lower rate, or by a hub whose clock was ahead.
 */
function believed({
  perMinute,
  arrivalMs,
  nowMs,
}: {
  perMinute: number;
  arrivalMs: number | null;
  nowMs: number;
}): number {
  const latestMs = nowMs + (atOnce(perMinute) * 60_000) / perMinute;
  return Math.min(Math.max(arrivalMs ?? nowMs, nowMs), latestMs);
}

/**
 * Room under a rate, by the generic cell rate algorithm: `arrivalMs` is when the next one would be due if
 * all came evenly, null before the first. A tenth of a minute's share, at least one, may come at once.
 */
export function rateRoom(options: { perMinute: number; arrivalMs: number | null; nowMs: number }): {
  room: number;
  /** When there is room for one more. */
  nextAtMs: number;
} {
  const { perMinute, nowMs } = options;
  const everyMs = 60_000 / perMinute;
  const atOnceMs = (atOnce(perMinute) - 1) * everyMs;
  const dueMs = believed(options);
  const leftMs = nowMs + atOnceMs - dueMs;
  // A share that comes out a hair too small by the rounding of doubles is a whole one.
  const room = leftMs < -1e-6 ? 0 : Math.floor(leftMs / everyMs + 1e-6) + 1;
  return { room, nextAtMs: dueMs - atOnceMs };
}

/** `arrivalMs` after `count` more have come. */
export function arrivalAfter(options: {
  perMinute: number;
  arrivalMs: number | null;
  count: number;
  nowMs: number;
}): number {
  const { perMinute, arrivalMs, count, nowMs } = options;
  return believed({ perMinute, arrivalMs, nowMs }) + (count * 60_000) / perMinute;
}

/** A limit that counts the work, with what was found for it. */
export type Found = Counted & {
  /** Jobs that it counts: let in, and not ended. */
  used: number;
  /** As in `rateRoom`; null without a rate. */
  arrivalMs: number | null;
};

/** How many may be let in, at most `limit`. */
export function admissionRoom(found: readonly Found[], options: { limit: number; nowMs: number }): number {
  const { limit: most, nowMs } = options;
  const rooms = found.flatMap(({ limit: { concurrent, perMinute }, used, arrivalMs }) => [
    ...(concurrent === undefined ? [] : [concurrent - used]),
    ...(perMinute === undefined ? [] : [rateRoom({ perMinute, arrivalMs, nowMs }).room]),
  ]);
  return Math.max(0, Math.min(most, ...rooms));
}

/**
 * What the rates come to when `count` have been let in: the arrivals to keep, by key, and when the last of
 * those that are used up has room again, null where none is.
 */
export function ratesAfter(
  found: readonly Found[],
  { count, nowMs }: { count: number; nowMs: number },
): { arrivals: { key: string; arrivalMs: number }[]; nextAtMs: number | null } {
  const arrivals: { key: string; arrivalMs: number }[] = [];
  let nextAtMs: number | null = null;
  for (const { limit, key, arrivalMs: before } of found) {
    const { perMinute } = limit;
    if (perMinute === undefined) continue;
    const arrivalMs =
      count > 0 || before !== null ? arrivalAfter({ perMinute, arrivalMs: before, count, nowMs }) : null;
    // One that is not believed is kept as what it is taken for: else it would be as far away next time.
    if (arrivalMs !== null && (count > 0 || (before ?? 0) > arrivalMs)) arrivals.push({ key, arrivalMs });
    const rate = rateRoom({ perMinute, arrivalMs, nowMs });
    if (rate.room === 0) nextAtMs = Math.max(nextAtMs ?? 0, rate.nextAtMs);
  }
  return { arrivals, nextAtMs };
}

/** Age at which what is known of a rate says nothing any more, ms. */
export const rateAgeMs = 3_600_000;
/** Jobs that one admission may let in. */
export const admissionLimit = 500;

/** Jobs to which `countWaiting` counts: one more than any limit allows. */
const waitingCountLimit = 1_000_001;
/** Questions of one `countWaiting`. */
const waitingAskedLimit = 10_000;

/** Throws VALIDATION_FAILED where more is asked of `countWaiting` than it answers. */
export function checkAsked(asked: readonly { limit: number }[]): void {
  if (asked.length > 0) checkLimit(asked.length, waitingAskedLimit);
  for (const { limit } of asked) checkLimit(limit, waitingCountLimit);
}
