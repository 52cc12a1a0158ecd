import {
  covers,
  everyCustomer,
  type Limit,
  type LimitedWork,
  limitKey,
  type WaitingLimit,
} from '#protocol/limit.ts';

/** Held work that may have room. */
export interface Admissible extends LimitedWork {
  /** How many may be let in at once: all that have room, or one where others share it. */
  atOnce: number;
  /** What it is counted by: names of rooms that others may share. */
  keys: string[];
}

/** Jobs that one step may let in where nobody else waits for the same room. */
const atOnceLimit = 500;

/**
 * Which held work to ask the store for, in order; the store has the last word on room (`admitJobs`). Work
 * whose limits are known to be full is left out, so that a thousand customers at their limits cost nothing.
 * Who was let in longest ago goes first (`lastIn`, any rising number; none = never), and where several kinds
 * of work share a limit each gets one job in its turn: else the first by name would take the room of all.
 */
export function planAdmissions(options: {
  held: readonly LimitedWork[];
  admitted: readonly (LimitedWork & { count: number })[];
  limits: readonly Limit[];
  /** Of paused customers nothing is let in. */
  isPaused: (customer: string) => boolean;
  lastIn: (work: LimitedWork) => number;
}): Admissible[] {
  const { held, admitted, limits, isPaused, lastIn } = options;
  const limitsOf = limitFinder(limits);
  const used = new Map<string, number>();
  for (const work of admitted)
    for (const limit of limitsOf(work)) add(used, limitKey(limit, work), work.count);
  const open: Admissible[] = [];
  const sharing = new Map<string, number>();
  for (const work of held) {
    const counted = limitsOf(work);
    const isFull = ({ concurrent }: Limit, key: string) =>
      concurrent !== undefined && (used.get(key) ?? 0) >= concurrent;
    if (isPaused(work.customer) || counted.some((limit) => isFull(limit, limitKey(limit, work)))) continue;
    const keys = counted.map((limit) => limitKey(limit, work));
    for (const key of keys) add(sharing, key, 1);
    open.push({ ...work, atOnce: atOnceLimit, keys });
  }
  for (const work of open) if (work.keys.some((key) => (sharing.get(key) ?? 0) > 1)) work.atOnce = 1;
  return open.sort((a, b) => lastIn(a) - lastIn(b));
}

/** The limits that cover a kind of work: of a thousand limits most name another customer. */
function limitFinder(limits: readonly Limit[]): (work: LimitedWork) => Limit[] {
  const byCustomer = new Map<string, Limit[]>();
  for (const limit of limits) {
    const name = limit.customer ?? everyCustomer;
    const list = byCustomer.get(name);
    if (list === undefined) byCustomer.set(name, [limit]);
    else list.push(limit);
  }
  const shared = byCustomer.get(everyCustomer) ?? [];
  return (work) =>
    [...shared, ...(byCustomer.get(work.customer) ?? [])].filter((limit) => covers(limit, work));
}

function add(counts: Map<string, number>, key: string, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}

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

function whose({ customer, pool, model }: LimitedNames): string {
  const named = [
    customer === undefined ? null : customer === everyCustomer ? 'of each customer' : `of ${customer}`,
    pool === undefined ? null : `of pool ${pool}`,
    model === undefined ? null : `with the model ${model}`,
  ];
  return named.filter((part) => part !== null).join(' ');
}

type LimitedNames = Pick<Limit, 'customer' | 'pool' | 'model'>;

const because = ({ reason }: Limit) => (reason === '' ? '' : ` (${reason})`);

/** In words: what the limit lets in, and of whom. */
export function limitInWords(limit: Limit): string {
  const { name, concurrent, perMinute, waiting } = limit;
  const most = [
    concurrent === undefined ? null : concurrent === 0 ? 'none at all' : `${concurrent} at once`,
    perMinute === undefined ? null : `${perMinute} a minute`,
  ].filter((part) => part !== null);
  const wait = waiting === undefined ? '' : `, while at most ${waiting} wait`;
  return `the limit ${name} lets in ${most.join(' and ')} ${whose(limit)}${wait}${because(limit)}`;
}

/** Why the limit refuses `jobs` more of this work while so many wait, and what to do. */
export function refusalInWords(
  limit: WaitingLimit,
  { customer, jobs, count }: { customer: string; jobs: number; count: number },
): string {
  const { name, waiting } = limit;
  const of = whose(limit.customer === everyCustomer ? { ...limit, customer } : limit);
  if (waiting === 0)
    return `the limit ${name} accepts no jobs ${of}${because(limit)}: raise its \`waiting\`, or remove it`;
  const now = count > waiting ? `more than ${waiting} wait` : `${count} ${count === 1 ? 'waits' : 'wait'}`;
  const more = jobs === 1 ? '' : ` and ${jobs} more were sent`;
  const then = jobs > waiting ? `send at most ${waiting} at once` : 'try again when some have begun or ended';
  return `the limit ${name} lets ${waiting} jobs ${of} wait at once${because(limit)}, ${now}${more}: ${then}, or raise its \`waiting\``;
}
