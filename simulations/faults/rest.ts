import { Redis } from 'ioredis';
import type { Broker } from '#protocol/broker.ts';
import { sleep } from '#protocol/env.ts';
import type { Job } from '#protocol/job.ts';
import { openPostgresRecords } from '#protocol/postgres/records.ts';
import type { Records } from '#protocol/records.ts';
import { indexProblems } from '#protocol/redis/index-audit.conformance.ts';
import { openRedisBroker } from '#protocol/redis/redis-broker.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import { allEntries, allJobs } from '#simulations/checkers.ts';
import { restingCheckers } from '#simulations/invariants.ts';
import { type AuditView, type Timeline, Violation } from '#simulations/observation.ts';
import { type Cluster, reconcileEveryMs } from './cluster.ts';

/**
 * Whether both stores are at rest when every job has ended: the real Broker and the real Records are
 * looked at through their ports, past hubs and proxies, and the resting checkers of the simulation
 * compare them.
 */

/** What was still left at the deadline, in words; empty: the stores were at rest. */
export interface Rest {
  left: string[];
  waitedMs: number;
}

/** Things that are told of one look. */
export const leftLimit = 20;
/** A look is no single step, beats go on meanwhile: at least so many are taken before one is believed. */
const looksLeast = 5;
const everyMs = 250;
/** Timelines that are read at once. */
const readersLimit = 8;

/** What one look sees of the Broker. */
export interface Look {
  broker: Broker;
  /** The audit of the Broker's own structures. */
  indexProblems: () => Promise<string[]>;
  /** Every job of Records, and what the timelines of this run say. Nobody changes them any more. */
  jobs: Job[];
  timelines: ReadonlyMap<string, Timeline>;
  /** Processes of machines that run. */
  machines: number;
}

/**
 * What must not be there while nothing is under way. Names the entries that are left one by one: a
 * checker ends at its first breach. Indexes are audited only where nothing else is left, because the
 * audit reads every tombstone of the last quarter of an hour by itself.
 */
export async function leftBehind(look: Look): Promise<string[]> {
  const { broker, machines } = look;
  const stats = await broker.stats();
  const entries = await allEntries(broker);
  const view: AuditView = {
    jobs: look.jobs,
    broker: entries,
    stats,
    brokerOpen: stats.open,
    atRest: true,
    indexProblems: [],
    timelines: look.timelines,
    events: (await broker.events({ after: 0, limit: 1_000 })).events.length,
  };
  const left = breaches(view);
  for (const { jobId, state, holder } of entries.values())
    left.push(
      `${jobId} is ${state}${holder === null ? '' : ` at ${holder.machineId}/${holder.incarnation}`}`,
    );
  if (stats.incarnations > machines)
    left.push(`the Broker keeps ${stats.incarnations} incarnations of ${machines} machines`);
  if (left.length > 0) return left.slice(0, leftLimit);
  return breaches({ ...view, indexProblems: await look.indexProblems() });
}

const breaches = (view: AuditView) =>
  restingCheckers().flatMap((checker) => breachOf(() => checker.audit?.(view)));

function breachOf(audit: () => void): string[] {
  try {
    audit();
    return [];
  } catch (error) {
    if (error instanceof Violation) return [error.message];
    throw error;
  }
}

/**
 * Looks until nothing is left, or until twice a lease time and a pause of the reconciler have passed: the
 * protocol needs one of each, and two shared cores may need more. `prefix`: of the ids of this run.
 */
export async function untilAtRest(cluster: Cluster, { prefix }: { prefix: string }): Promise<Rest> {
  const { clock, signal } = cluster.host;
  const startMs = clock.monotonic();
  const endMs = startMs + 2 * (cluster.shape.leaseTtlMs + reconcileEveryMs);
  const stores = await openStores(cluster);
  try {
    const jobs = await allJobs(stores.records);
    const ids = jobs.map(({ id }) => id).filter((id) => id.startsWith(prefix));
    const timelines = await timelinesOf(stores.records, ids);
    const look = { ...stores, jobs, timelines, machines: cluster.machines.length };
    for (let looks = 1; ; looks++) {
      const left = await leftBehind(look).catch(unseen);
      const nowMs = clock.monotonic();
      if (left.length === 0 || (nowMs > endMs && looks >= looksLeast))
        return { left, waitedMs: Math.round(nowMs - startMs) };
      await sleep(clock, everyMs, signal);
    }
  } finally {
    await stores.close();
  }
}

const unseen = (error: unknown) => [
  `the Broker could not be looked at: ${error instanceof Error ? error.message : String(error)}`,
];

async function timelinesOf(records: Records, ids: readonly string[]): Promise<Map<string, Timeline>> {
  const timelines = new Map<string, Timeline>();
  for (let at = 0; at < ids.length; at += readersLimit) {
    const some = ids.slice(at, at + readersLimit);
    for (const [index, timeline] of (await Promise.all(some.map((id) => records.timeline(id)))).entries())
      timelines.set(some[index] ?? '', timeline);
  }
  return timelines;
}

/** Connections of their own to both servers, past every proxy. */
async function openStores({ host, redis, postgres, database, shape }: Cluster) {
  const { clock, rng, log } = { ...quietEnv(), clock: host.clock };
  const url = `postgresql://postgres@127.0.0.1:${postgres.port}/${database}`;
  const records = await openPostgresRecords({ url, poolLimit: readersLimit, clock, rng, log });
  try {
    const broker = await openRedisBroker({
      url: `redis://127.0.0.1:${redis.port}`,
      settings: { leaseTtlMs: shape.leaseTtlMs, priorityBoostMs: 600_000 },
      clock,
    });
    const audit = new Redis({ host: '127.0.0.1', port: redis.port, maxRetriesPerRequest: 0 });
    // Without a listener ioredis prints to the console; the calls themselves reject.
    audit.on('error', () => undefined);
    return {
      records,
      broker,
      indexProblems: () => indexProblems(audit),
      async close() {
        audit.disconnect();
        await broker.close();
        await records.close();
      },
    };
  } catch (error) {
    await records.close();
    throw error;
  }
}
