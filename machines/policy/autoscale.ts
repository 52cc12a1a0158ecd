import { giveUpAfterMs, startLeftMs, startQuantile, startSamples } from './autoscale-lead.ts';

/** Work of one class of jobs that waits; times are sums over the jobs, on a machine of the pool, ms. */
export interface WaitingWork {
  kind: string;
  jobs: number;
  runMs: number;
  /** Expected until their models are in memory. */
  loadMs: number;
}

/** A machine that was asked for and has not started. */
export interface StartingOrder {
  id: string;
  askedMs: number;
}

/** One pool as the autoscaler sees it. */
export interface PoolDemand {
  pool: string;
  waiting: readonly WaitingWork[];
  /** Work that came lately, run and load, ms per ms: how many machines it keeps busy. */
  arriving: number;
  /** Machines that take work; those that drain are none. */
  running: number;
  starting: readonly StartingOrder[];
  /** Start-ups of this pool seen lately, ms. */
  startUpsMs: readonly number[];
}

export interface PoolBounds {
  min: number;
  max: number;
}

export interface AutoscaleRules extends PoolBounds {
  /** By pool, within `min` and `max` of all pools together; a pool without an entry has 0 to `max`. */
  pools: Readonly<Record<string, PoolBounds>>;
  /**
   * Within which time work that waits should be done once machines that are asked for now have started, ms.
   * Lower: queues end sooner, at the price of machines that idle afterwards. Higher: the reverse.
   */
  targetDrainMs: number;
  /** Beyond what is needed, 0 to 1. Providers advise 0.05 to 0.1: what they deliver is less than was asked for. */
  spareShare: number;
  /**
   * For how long a pool keeps what it needed last, ms. Lower: idle machines go sooner. Higher: a short lull
   * does not throw away machines that take a quarter of an hour to come back, with what lies on their disks.
   */
  coolDownMs: number;
  /** Start-ups to assume while few were seen, ms. */
  startPriorMs: readonly number[];
}

/** What each pool needed lately, so that it is not given up at once; falling, one entry per number. */
export type AutoscaleMemory = Readonly<Record<string, readonly { atMs: number; machines: number }[]>>;

export interface PoolDecision {
  pool: string;
  /** Machines that the pool should have, those on their way included. */
  wanted: number;
  /** More to ask for (above 0), or as many too many. */
  change: number;
  /** Orders that are not believed any more: to be withdrawn; `wanted` does not count them as on their way. */
  giveUp: string[];
  /** Why as many, in words for people. */
  reason: string;
}

/** What the number of one pool comes from. */
interface Need {
  demand: PoolDemand;
  /** Orders that are still believed. */
  starting: readonly StartingOrder[];
  giveUp: string[];
  /** Machines to end within the target what will be left when new ones have started. */
  forBacklog: number;
  /** Needed now, spare included. */
  least: number;
  /** The same, and those that would be asked for again if they went. */
  machines: number;
  /** The most that was needed within the cool-down. */
  kept: number;
}

/** Rounding must not order a machine: 3.0000000001 of them are 3. */
const hair = 1e-9;

/**
 * How many machines each pool should have now, and why. Pure. Per pool:
 *
 * 1. what arrives keeps `arriving` machines busy;
 * 2. when machines that are asked for now have started (median of the start-ups seen), so much work will
 *    wait: what waits now, and what comes until then, less what machines do until then that run or are on
 *    their way. To end it within `targetDrainMs` takes that ÷ target machines. What runs is left out: as much
 *    will run then, and it is no queue;
 * 3. both, and `spareShare` on top, rounded up. A machine goes only where those that stay would not ask for it
 *    again: they would do less until then, and a load just below a whole number would flap;
 * 4. at least the most that was needed within `coolDownMs`: up at once, down late. A pool without memory
 *    keeps what it has;
 * 5. bounds: of each pool, then of all together. Where places are too few, every pool keeps first what it has
 *    and needs: fleets that swap machines lose a quarter of an hour and what lies on the disks for each. The
 *    other places go by Webster's method.
 *
 * A number is of running machines and orders together: what is on its way is not ordered again. An order
 * older than `giveUpAfterMs` is not believed.
 */
export function autoscale(
  asked: { nowMs: number; pools: readonly PoolDemand[]; memory: AutoscaleMemory },
  rules: AutoscaleRules,
): { pools: PoolDecision[]; memory: AutoscaleMemory } {
  const { nowMs, memory } = asked;
  const remembered: Record<string, AutoscaleMemory[string]> = {};
  const needs = asked.pools.map((demand) => {
    const need = needOf(demand, nowMs, rules);
    const present = demand.running + need.starting.length;
    const before = memory[demand.pool] ?? [{ atMs: nowMs, machines: present }];
    const after = keep(before, { atMs: nowMs, machines: need.machines }, rules.coolDownMs);
    remembered[demand.pool] = after;
    return { ...need, kept: after[0]?.machines ?? need.machines };
  });
  const places = withinBounds(
    needs.map(({ demand, kept, starting }) => ({
      pool: demand.pool,
      machines: kept,
      present: demand.running + starting.length,
    })),
    rules,
  );
  const pools = needs.map((need) => {
    const { demand, starting, giveUp } = need;
    const wanted = places.get(demand.pool) ?? 0;
    const change = wanted - demand.running - starting.length;
    return { pool: demand.pool, wanted, change, giveUp, reason: reasonOf(need, wanted, rules) };
  });
  return { pools, memory: remembered };
}

function needOf(demand: PoolDemand, nowMs: number, rules: AutoscaleRules): Omit<Need, 'kept'> {
  const samples = startSamples({ observedMs: demand.startUpsMs, priorMs: rules.startPriorMs });
  const limitMs = giveUpAfterMs(samples);
  const isOverdue = ({ askedMs }: StartingOrder) => nowMs - askedMs >= limitMs;
  const giveUp = demand.starting.filter(isOverdue).map(({ id }) => id);
  // The oldest first: the youngest would go first if there were too many.
  const starting = demand.starting.filter((order) => !isOverdue(order)).sort((a, b) => a.askedMs - b.askedMs);
  const leadMs = startQuantile(samples, 0.5);
  const startingDoneMs = starting.map(({ askedMs }) =>
    Math.max(0, leadMs - startLeftMs(samples, Math.max(0, nowMs - askedMs))),
  );
  const workMs = backlogMs(demand) + demand.arriving * leadMs;
  /** What is needed if so many of those that are there, or on their way, were there. */
  const neededWith = (present: number) => {
    let doneMs = Math.min(present, demand.running) * leadMs;
    for (const ms of startingDoneMs.slice(0, Math.max(0, present - demand.running))) doneMs += ms;
    const forBacklog = Math.max(0, workMs - doneMs) / rules.targetDrainMs;
    const machines = Math.ceil((demand.arriving + forBacklog) * (1 + rules.spareShare) - hair);
    return { forBacklog, machines: Math.max(0, machines) };
  };
  const present = demand.running + starting.length;
  const { forBacklog, machines: least } = neededWith(present);
  let machines = Math.max(least, present);
  while (machines > least && neededWith(machines - 1).machines < machines) machines--;
  return { demand, starting, giveUp, forBacklog, least, machines };
}

/** Run and load time of what waits, ms. */
function backlogMs({ waiting }: PoolDemand): number {
  return waiting.reduce((sum, { runMs, loadMs }) => sum + runMs + loadMs, 0);
}

/** A sliding maximum: an entry is forgotten when it is old, or when a later one is as high. */
function keep(
  before: AutoscaleMemory[string],
  now: { atMs: number; machines: number },
  coolDownMs: number,
): AutoscaleMemory[string] {
  const kept = before.filter(({ atMs, machines }) => now.atMs - atMs < coolDownMs && machines > now.machines);
  return [...kept, now];
}

/**
 * Machines by pool within all bounds: as many as asked for where they allow it, else first what is `present`
 * of it. The next place always goes to the pool with the most asked for per place it would have.
 */
export function withinBounds(
  asked: readonly { pool: string; machines: number; present: number }[],
  rules: Pick<AutoscaleRules, 'min' | 'max' | 'pools'>,
): Map<string, number> {
  const pools = asked.map(({ pool, machines, present }) => {
    const { min, max } = rules.pools[pool] ?? { min: 0, max: rules.max };
    // Pools that ask for nothing share what the least number gives them.
    const target = Math.min(max, Math.max(min, machines));
    return { pool, weight: machines + hair, kept: Math.min(target, present), target, max, given: min };
  });
  const total = () => pools.reduce((sum, { given }) => sum + given, 0);
  const give = (limitOf: (pool: (typeof pools)[number]) => number, until: number) => {
    for (let count = total(); count < until; count++) {
      let next: (typeof pools)[number] | null = null;
      for (const pool of pools) {
        if (pool.given >= limitOf(pool)) continue;
        if (next === null || pool.weight * (2 * next.given + 1) > next.weight * (2 * pool.given + 1))
          next = pool;
      }
      if (next === null) return;
      next.given++;
    }
  };
  give(({ kept }) => kept, rules.max);
  give(({ target }) => target, rules.max);
  give(({ max }) => max, rules.min);
  return new Map(pools.map(({ pool, given }) => [pool, given]));
}

function reasonOf(need: Need, wanted: number, rules: AutoscaleRules): string {
  const { demand, forBacklog, least, machines, kept, giveUp, starting } = need;
  const parts = [`${tenths(demand.arriving)} for what arrives`];
  const waits = demand.waiting.filter(({ jobs }) => jobs > 0);
  if (forBacklog > 0) {
    const queue = waits.map(({ kind, jobs, runMs, loadMs }) => `${jobs} ${kind} ${spoken(runMs + loadMs)}`);
    const now = queue.length === 0 ? 'nothing yet' : queue.join(', ');
    parts.push(`${tenths(forBacklog)} to end in ${spoken(rules.targetDrainMs)} what will wait (now ${now})`);
  } else if (waits.length > 0) parts.push('what waits is done before a new one could start');
  if (rules.spareShare > 0) parts.push(`${Math.round(rules.spareShare * 100)} % spare`);
  if (machines > least) parts.push(`fewer than ${machines} would have to ask again`);
  if (kept > machines) parts.push(`${kept} were needed within ${spoken(rules.coolDownMs)}`);
  if (wanted < kept) parts.push(`no more than ${wanted} by the bounds`);
  if (wanted > kept) parts.push(`at least ${wanted} by the bounds`);
  if (starting.length > 0) parts.push(`${starting.length} on their way`);
  if (giveUp.length > 0) parts.push(`${giveUp.length} ordered and not believed any more`);
  return parts.join('; ');
}

const tenths = (value: number) => String(Math.round(value * 10) / 10);

function spoken(ms: number): string {
  if (ms < 90_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 90 * 60_000) return `${Math.round(ms / 60_000)} min`;
  return `${tenths(ms / 3_600_000)} h`;
}

/** What of the rules contradicts itself, by field; null where they can be kept. */
export function ruleProblem(
  rules: Pick<AutoscaleRules, 'min' | 'max' | 'pools'>,
): { field: string; problem: string } | null {
  if (rules.min > rules.max) return { field: 'max', problem: `${rules.max} is less than min, ${rules.min}` };
  let least = 0;
  for (const [pool, { min, max }] of Object.entries(rules.pools)) {
    if (min > max) return { field: `pools.${pool}.max`, problem: `${max} is less than min, ${min}` };
    least += min;
  }
  if (least > rules.max)
    return { field: 'max', problem: `${rules.max} is less than the pools have at least, ${least}` };
  return null;
}
