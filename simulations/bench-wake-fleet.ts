import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { availableMemory } from 'node:process';
import type { BenchHost } from '#runtime/cli/bench.ts';
import { Fleet } from '#runtime/dev.ts';
import { startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { inLanes } from './bench-peers-load.ts';
import { type CommitProbe, openCommitProbe } from './bench-wake-commit.ts';

/** Memory that one machine process may take at its start, and what must stay free, MB. */
const machineMb = 130;
const reserveMb = 2_000;
/** Machines that start at once: each start computes for half a second. */
const startsAtOnce = 4;

const probeUrl = new URL('./bench-wake-probe.ts', import.meta.url).href;

/** A hub and machines as processes of their own, whose connectors tell when they are called. */
export interface WakeRig {
  fleet: Fleet;
  commits: CommitProbe;
  /** Null with the embedded stores. */
  redis: RedisServer | null;
  /** Resolves with the wall time at which a connector was called for this job, ms. */
  began(jobId: string): Promise<number>;
  close(): Promise<void>;
}

/** How many machine processes this computer has memory for. */
export function machinesThatFit(wanted: number): number {
  return Math.min(wanted, Math.floor((availableMemory() / 1_000_000 - reserveMb) / machineMb));
}

/** `servers`: Redis and a PostgreSQL that flushes every commit, both private; else the embedded stores on disk. */
export async function openWakeRig(
  host: BenchHost,
  options: { servers: boolean; machines: number },
): Promise<WakeRig> {
  const closing: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const each of closing.splice(0).reverse()) await each();
  };
  try {
    const dir = await mkdtemp(join(tmpdir(), 'emp-bench-'));
    closing.push(() => rm(dir, { recursive: true, force: true }));
    const redis = options.servers ? await RedisServer.start({ tcp: true }) : null;
    if (redis !== null) closing.push(() => redis.close());
    const postgres = options.servers ? await startPostgres({ durable: true }) : null;
    if (postgres !== null) closing.push(() => postgres.close());
    const commits = await openCommitProbe({ dir, databaseUrl: (await postgres?.database()) ?? null });
    closing.push(() => commits.close());
    const settings = {
      ...(redis === null ? {} : { REDIS_URL: `redis://127.0.0.1:${redis.port}` }),
      ...(postgres === null ? {} : { DATABASE_URL: await postgres.database() }),
    };
    const runs = new Runs();
    const fleet = await Fleet.start({
      hub: { port: 0, dataDir: join(dir, 'hub'), settings },
      machines: [],
      machinesDir: join(dir, 'machines'),
      onLog: (_process, line) => runs.hear(line),
      signal: host.signal,
    });
    closing.push(() => fleet.stop());
    await inLanes(options.machines, startsAtOnce, async (index) => {
      await fleet.addMachine({
        id: `wake-${index}`,
        pool: 'fast-lane',
        services: ['simulation:1'],
        settings: { NODE_OPTIONS: `--import=${probeUrl}` },
      });
    });
    return { fleet, commits, redis, began: (jobId) => runs.began(jobId), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What the machines' connectors said. */
class Runs {
  readonly #heard = new Map<string, number>();
  readonly #awaited = new Map<string, (atMs: number) => void>();

  hear(line: string): void {
    const [, jobId, atMs] = /^bench\.run (\S+) ([\d.]+)$/.exec(line) ?? [];
    if (jobId === undefined) return;
    this.#heard.set(jobId, Number(atMs));
    this.#awaited.get(jobId)?.(Number(atMs));
    this.#awaited.delete(jobId);
  }

  began(jobId: string): Promise<number> {
    const atMs = this.#heard.get(jobId);
    if (atMs !== undefined) return Promise.resolve(atMs);
    return new Promise((resolve) => this.#awaited.set(jobId, resolve));
  }
}
