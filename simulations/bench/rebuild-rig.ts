import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { sleep } from '#protocol/env.ts';
import { folderObjects } from '#protocol/objects/folder.ts';
import { openPostgresRecords } from '#protocol/postgres/records.ts';
import { openRedisBroker, type RedisBroker } from '#protocol/redis/redis-broker.ts';
import { builtInServices } from '#runtime/built-in-services.ts';
import { composeHub } from '#runtime/compose-hub.ts';
import type { Hub } from '#runtime/hub/hub.ts';
import { HubConfig } from '#runtime/hub-config.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import { startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';

/** A hub on private servers whose Redis can be emptied under it. */
export interface RebuildRig {
  hub: Hub;
  broker: RedisBroker;
  redis: Redis;
  /** Waits for the hub's log line, and answers its time by the monotonic clock, ms. */
  logged(event: string): Promise<number>;
  /** Forgets the log lines so far. */
  forget(): void;
  close(): Promise<void>;
}

/** Starts Redis, a PostgreSQL that flushes every commit, and a hub on both; resolves when its Broker is open. */
export async function openRebuildRig(options: {
  leaseTtlMs: number;
  signal: AbortSignal;
}): Promise<RebuildRig> {
  const { leaseTtlMs, signal } = options;
  const closing: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const each of closing.splice(0).reverse()) await each();
  };
  try {
    const lines = new Map<string, number>();
    const quiet = quietEnv();
    const info = (event: string) => void lines.set(event, quiet.clock.monotonic());
    const env = { ...quiet, log: { ...quiet.log, info } };
    const server = await RedisServer.start();
    closing.push(() => server.close());
    const postgres = await startPostgres({ durable: true });
    closing.push(() => postgres.close());
    const dir = await mkdtemp(join(tmpdir(), 'emp-bench-'));
    closing.push(() => rm(dir, { recursive: true, force: true }));
    const records = await openPostgresRecords({ url: await postgres.database(), ...env });
    closing.push(() => records.close());
    const config = HubConfig.parse({ leaseTtlMs, waitingLimit: 10_000_000 });
    const settings = { leaseTtlMs, priorityBoostMs: config.priorityBoostMs };
    const broker = await openRedisBroker({ url: { path: server.path }, settings, clock: env.clock });
    closing.push(() => broker.close());
    const redis = new Redis({ path: server.path });
    closing.push(async () => redis.disconnect());
    const secret = await records.secret('object-urls');
    const objects = folderObjects({ dir, secret, clock: env.clock });
    const ports = { records, broker, objects };
    const core = await composeHub({ config, env, ports, services: builtInServices });
    await core.start();
    closing.push(() => core.stop());
    const logged = async (event: string) => {
      for (;;) {
        const atMs = lines.get(event);
        if (atMs !== undefined) return atMs;
        await sleep(env.clock, 5, signal);
      }
    };
    await logged('reconcile.opened');
    return { hub: core.hub, broker, redis, logged, forget: () => lines.clear(), close };
  } catch (error) {
    await close();
    throw error;
  }
}
