import { covers, everyCustomer, type Limit, type LimitedWork, limitKey } from '#protocol/limit.ts';

/** Held work that may have room, in the order in which it is to be asked for. */
export interface Admissible extends LimitedWork {
  /** How many may be let in at once: all that have room, or one where others share it. */
  atOnce: number;
}

/** Jobs that one step may let in where nobody else waits for the same room. */
const atOnceLimit = 500;

/**
 * Which held work to ask the store for, that has the last word on room (`admitJobs`). Work whose limits
 * are known to be full is left out, so that a thousand customers at their limits cost nothing. Where several
 * kinds of work share a limit, each gets one job in turn, and `turn` (a count, from 0) moves who is first:
 * else the first customer by name would take the room of all others.
 */
export function planAdmissions(options: {
  held: readonly LimitedWork[];
  admitted: readonly (LimitedWork & { count: number })[];
  limits: readonly Limit[];
  /** Of paused customers nothing is let in. */
  isPaused: (customer: string) => boolean;
  turn: number;
}): Admissible[] {
  const { held, admitted, limits, isPaused, turn } = options;
  const used = new Map<string, number>();
  for (const work of admitted)
    for (const limit of limits) if (covers(limit, work)) add(used, limitKey(limit, work), work.count);
  const hasRoom = (limit: Limit, work: LimitedWork) =>
    limit.concurrent === undefined ||
    !covers(limit, work) ||
    (used.get(limitKey(limit, work)) ?? 0) < limit.concurrent;
  const open = held.filter(
    (work) => !isPaused(work.customer) && limits.every((limit) => hasRoom(limit, work)),
  );
  const sharing = new Map<string, number>();
  for (const work of open) for (const key of keysOf(limits, work)) add(sharing, key, 1);
  const planned = open.map((work) => {
    const shares = keysOf(limits, work).some((key) => (sharing.get(key) ?? 0) > 1);
    return { ...work, atOnce: shares ? 1 : atOnceLimit };
  });
  const first = planned.length === 0 ? 0 : turn % planned.length;
  return [...planned.slice(first), ...planned.slice(0, first)];
}

function add(counts: Map<string, number>, key: string, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}

const keysOf = (limits: readonly Limit[], work: LimitedWork) =>
  limits.filter((limit) => covers(limit, work)).map((limit) => limitKey(limit, work));

/** How many the limit has let in of what it counts together with this work. */
export function usedUnder(
  limit: Limit,
  work: LimitedWork,
  admitted: readonly (LimitedWork & { count: number })[],
): number {
  const key = limitKey(limit, work);
  const counted = admitted.filter((each) => covers(limit, each) && limitKey(limit, each) === key);
  return counted.reduce((sum, { count }) => sum + count, 0);
}

/** Limits that nothing gets past, of those that cover the work. */
export function closedBy(limits: readonly Limit[]): Limit[] {
  return limits.filter(({ concurrent }) => concurrent === 0);
}

/** In words: what the limit says of whom. */
export function limitInWords(limit: Limit): string {
  const { name, customer, pool, model, concurrent, perMinute, reason } = limit;
  const whose = [
    customer === undefined ? null : customer === everyCustomer ? 'of each customer' : `of ${customer}`,
    pool === undefined ? null : `of pool ${pool}`,
    model === undefined ? null : `with the model ${model}`,
  ].filter((part) => part !== null);
  const most = [
    concurrent === undefined ? null : concurrent === 0 ? 'none at all' : `${concurrent} at once`,
    perMinute === undefined ? null : `${perMinute} a minute`,
  ].filter((part) => part !== null);
  return `the limit ${name} lets in ${most.join(' and ')} ${whose.join(' ')}${reason === '' ? '' : ` (${reason})`}`;
}
