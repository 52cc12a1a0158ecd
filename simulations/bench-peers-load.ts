import { Redis } from 'ioredis';
import type { JsonObject } from '#protocol/json.ts';
import { systemClock } from '#runtime/env.ts';
import { cpuMs } from './bench/cpu-time.ts';

/** What every queue of `bench-peers.ts` is asked to do, and what that costs. */

/** Machines, or BullMQ's concurrency: runs that are under way at once. */
export const workersAtOnce = 50;
/** Single submissions under way at once. */
export const submitsAtOnce = 50;
export const jobsPerBatch = 500;
/** Base models of each group: lanes in our index, and a field of the payload for the others. */
const modelsPerGroup = 4;

/** A job as its customer gives it: the payload has about 1 000 bytes as JSON. */
export interface PeerJob {
  group: string;
  model: string;
  customer: string;
  payload: JsonObject;
}

export const groupName = (index: number): string => `g${String(index).padStart(16, '0')}`;
export const modelName = (index: number): string => `model-${index % modelsPerGroup}`;

const prompt = 'a lighthouse at dusk, wide angle, volumetric light, '.repeat(17);

/** Job number `at`, of one of `groups` groups. */
export function peerJob(at: number, groups: number): PeerJob {
  const model = modelName(Math.floor(at / groups));
  return {
    group: groupName(at % groups),
    model,
    customer: `customer-${at % 20}`,
    payload: { service: 'simulation', model, seed: at, width: 1_024, height: 1_024, prompt },
  };
}

/** A queue in Redis under the same load as its peers. All jobs are gone after each `process`. */
export interface Peer {
  readonly name: 'bullmq' | 'ours' | 'scan';
  /** Accepts jobs in batches of 500, the next when the one before was answered. */
  enqueueBatches(jobs: PeerJob[]): Promise<void>;
  /** Accepts jobs one by one, 50 under way at once. */
  enqueueSingles(jobs: PeerJob[]): Promise<void>;
  /** What of a `process` need not be timed: connections, and the registration of machines. */
  prepare(): Promise<void>;
  rest(): Promise<void>;
  /** Hands out and ends `count` waiting jobs of `groups` groups, 50 at once; rejects if others come. */
  process(count: number, groups: number): Promise<void>;
  close(): Promise<void>;
}

/** Cost of one phase of one peer. */
export interface Cost {
  perSecond: number;
  /** Computed for each job by the server, and by this process, µs. */
  redisUs: number;
  nodeUs: number;
}

/** Measures what happens to one server, by the server's own account of its computing. */
export class Meter {
  readonly #redis: Redis;

  constructor(path: string) {
    this.#redis = new Redis({ path });
  }

  async version(): Promise<string> {
    return /^redis_version:(\S+)/m.exec(await this.#redis.info('server'))?.[1] ?? '?';
  }

  async cost(jobs: number, work: () => Promise<void>): Promise<Cost> {
    const before = { redis: await this.serverMs(), node: await cpuMs(process.pid) };
    const startMs = systemClock.monotonic();
    await work();
    const elapsedMs = systemClock.monotonic() - startMs;
    const after = { redis: await this.serverMs(), node: await cpuMs(process.pid) };
    return {
      perSecond: (jobs * 1_000) / elapsedMs,
      redisUs: ((after.redis - before.redis) * 1_000) / jobs,
      nodeUs: ((after.node - before.node) * 1_000) / jobs,
    };
  }

  /** Time that the server's main thread has computed, ms: writing and rewriting the AOF in the background is not in it. */
  async serverMs(): Promise<number> {
    const text = await this.#redis.info('cpu');
    const seconds = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(text)?.[1]);
    return (seconds('used_cpu_user_main_thread') + seconds('used_cpu_sys_main_thread')) * 1_000;
  }

  close(): void {
    this.#redis.disconnect();
  }
}

/** `count` calls of `work`, `atOnce` at a time. */
export async function inLanes(
  count: number,
  atOnce: number,
  work: (index: number, lane: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async (number: number) => {
    while (next < count) await work(next++, number);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, (_, number) => lane(number)));
}

export function* batchesOf<T>(items: readonly T[], size: number): Generator<T[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
