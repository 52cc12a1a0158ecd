import { type Checker, type Observation, Violation } from './observation.ts';

const name = 'I9: a customer with one job waits its turn and no longer';

interface Watch {
  jobId: string;
  /** Claims of other jobs since it came. */
  claims: number;
  /** Jobs that were running when it came: each may come back once. */
  inFlight: number;
}

interface Pool {
  group: string;
  priority: number;
  /** Groups or priorities are mixed, or models decide: no bound of this kind holds. */
  mixed: boolean;
  /** Everybody that ever submitted here. */
  customers: Set<string>;
  waiting: Map<string, string>;
  running: Set<string>;
  watches: Map<string, Watch>;
}

/**
 * The first job of a customer waits for at most as many claims as there are customers and jobs in
 * flight, however long the others' lines are. Judged in pools of one group and one priority, which is
 * where the bound is one: elsewhere priorities and resident models move jobs by design (I10 bounds that).
 */
export function fairWait(): Checker {
  const pools = new Map<string, Pool>();
  const poolOf = new Map<string, Pool>();

  const submitted = (seen: Extract<Observation, { kind: 'broker'; method: 'submit' }>) => {
    if (seen.answer.kind !== 'ok') return;
    for (const [index, entry] of seen.args[0].entries.entries()) {
      if (seen.answer.answers[index]?.kind !== 'added') continue;
      const { jobId, group, priority, customer } = entry;
      const pool = pools.get(entry.pool) ?? newPool(group, priority);
      pools.set(entry.pool, pool);
      const special = entry.notBeforeMs !== null || entry.lease !== null || entry.runs > 0;
      if (special || pool.group !== group || pool.priority !== priority) pool.mixed = true;
      if (!pool.customers.has(customer))
        pool.watches.set(jobId, { jobId, claims: 0, inFlight: pool.running.size });
      pool.customers.add(customer);
      pool.waiting.set(jobId, customer);
      poolOf.set(jobId, pool);
    }
  };
  const claimed = (seen: Extract<Observation, { kind: 'broker'; method: 'claim' }>) => {
    if (seen.answer.kind !== 'leased') return;
    const { jobId } = seen.answer.lease;
    const pool = poolOf.get(jobId);
    if (!pool) return;
    if (seen.args[0].warmLanes.length > 0) pool.mixed = true;
    pool.waiting.delete(jobId);
    pool.watches.delete(jobId);
    if (pool.running.has(jobId)) return; // The same answer again.
    pool.running.add(jobId);
    for (const watch of pool.watches.values()) {
      watch.claims++;
      const bound = pool.customers.size + watch.inFlight;
      if (!pool.mixed && watch.claims > bound)
        throw new Violation(name, {
          jobId: watch.jobId,
          detail: `${watch.jobId}, the first of its customer, has seen ${watch.claims} claims go to others; ${bound} may`,
        });
    }
  };
  const ended = (jobId: string) => {
    const pool = poolOf.get(jobId);
    pool?.running.delete(jobId);
    pool?.watches.delete(jobId);
  };

  return {
    name,
    observe(seen) {
      if (seen.kind === 'brokerLost') for (const pool of pools.values()) pool.mixed = true;
      if (seen.kind !== 'broker') return;
      if (seen.method === 'submit') submitted(seen);
      if (seen.method === 'claim') claimed(seen);
      if (seen.method === 'complete' || seen.method === 'exit' || seen.method === 'cancel')
        ended(seen.args[0].jobId);
    },
  };
}

function newPool(group: string, priority: number): Pool {
  return {
    group,
    priority,
    mixed: false,
    customers: new Set(),
    waiting: new Map(),
    running: new Set(),
    watches: new Map(),
  };
}
