import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '#runtime/env.ts';
import { type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { policies } from '#simulations/policies/catalogue.ts';
import type { StoreFactory } from '#simulations/stage.ts';
import { serverStores } from '#simulations/stores-servers.ts';
import type { Numbered, PoolAnswer } from '#simulations/worker-pool.ts';
import { planDay } from '#simulations/workloads/plan-day.ts';
import { readTrace } from '#simulations/workloads/read-trace.ts';
import type { Scenario } from '#simulations/workloads/scenario.ts';
import { dayTtlMs } from './day-world.ts';
import { type RunFigures, runFigures } from './figures.ts';
import { playDay } from './play-day.ts';

/** One day under one policy. The worker draws the plan itself: it is smaller as a recipe. */
export interface DayTask {
  scenario: Scenario;
  seed: number;
  load: number;
  /** Files of recorded traces. */
  traces: readonly string[];
  policy: string;
}

/** Where the hub of a day keeps queue and truth: embedded, or real servers that the worker starts. */
export interface DayStores {
  broker: 'memory' | 'redis';
  records: 'sqlite' | 'postgres';
}

export interface DayAnswer {
  figures: RunFigures;
  events: number;
  invariants: { checked: number; violated: string[] };
}

const wanted = workerData as DayStores;
let redis: RedisServer | null = null;
let postgres: PostgresServer | null = null;

async function stores(): Promise<StoreFactory | undefined> {
  if (wanted.broker === 'memory' && wanted.records === 'sqlite') return undefined;
  if (wanted.broker === 'redis') redis ??= await RedisServer.start();
  if (wanted.records === 'postgres') postgres ??= await startPostgres();
  return serverStores({
    leaseTtlMs: dayTtlMs,
    ...(redis === null ? {} : { redis }),
    ...(postgres === null ? {} : { postgres }),
    losses: ['flush'],
  });
}

async function closeServers(): Promise<void> {
  await redis?.close();
  await postgres?.close();
}

async function play({ scenario, seed, load, traces, policy: name }: DayTask): Promise<DayAnswer> {
  const policy = policies.find((each) => each.name === name);
  if (policy === undefined) throw new RangeError(`there is no policy ${name}`);
  const read = await Promise.all(traces.map((path) => readTrace(path)));
  const plan = planDay({ scenario, seed, load, ...(read.length > 0 ? { traces: read } : {}) });
  const startedMs = systemClock.monotonic();
  const { log, traceHash, events, invariants } = await playDay(plan, {
    policy,
    stores: await stores(),
  });
  const wallMs = Math.round(systemClock.monotonic() - startedMs);
  return { figures: runFigures(log, { wallMs, traceHash }), events, invariants };
}

parentPort?.on('message', (task: (DayTask & Numbered) | 'end') => {
  if (task === 'end') {
    void closeServers().finally(() => parentPort?.close());
    return;
  }
  const { number } = task;
  const answer = (value: PoolAnswer<DayAnswer>) => parentPort?.postMessage(value);
  play(task).then(
    (result) => answer({ number, answer: result }),
    (error: unknown) => answer({ number, error: (error as Error).stack ?? String(error) }),
  );
});
