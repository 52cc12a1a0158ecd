import { openPostgresRecords } from '#protocol/postgres/records.ts';
import type { NewJob } from '#protocol/records.ts';
import { newTraceparent } from '#protocol/trace.ts';
import type { BenchHost } from '#runtime/cli/bench.ts';
import { systemClock } from '#runtime/env.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import { startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { cpuMs } from './cpu-time.ts';

export interface PostgresSubmits {
  count: number;
  seconds: number;
  latenciesMs: number[];
  /** What this process, callers and store's client, has computed, ms. */
  cpuMs: number;
  /** Jobs that were answered and are not in the store afterwards. */
  lost: number;
}

/**
 * Single submits through the Records port into a PostgreSQL of its own that flushes every commit to
 * disk (fsync and synchronous_commit on), `callers` at a time: what the store can take, without HTTP.
 */
export async function measurePostgresSubmits(
  host: BenchHost,
  options: { count: number; callers: number },
): Promise<PostgresSubmits> {
  const server = await startPostgres({ durable: true });
  try {
    const env = quietEnv();
    const records = await openPostgresRecords({ url: await server.database(), ...env });
    try {
      const submit = async () => {
        const id = env.newId('job');
        await records.submitJobs([newJob(id, newTraceparent(env.rng))], env.clock.now());
      };
      const warm = Math.ceil(options.count / 5);
      await repeat(host, { ...options, count: warm }, submit);
      const measured = await repeat(host, options, submit);
      const { waiting } = await records.countJobs({});
      return { ...measured, lost: warm + options.count - waiting };
    } finally {
      await records.close();
    }
  } finally {
    await server.close();
  }
}

async function repeat(
  host: BenchHost,
  { count, callers }: { count: number; callers: number },
  call: () => Promise<void>,
): Promise<Omit<PostgresSubmits, 'lost'>> {
  const latenciesMs: number[] = [];
  let left = count;
  const cpuBeforeMs = await cpuMs(process.pid);
  const startMs = systemClock.monotonic();
  const lane = async () => {
    while (left > 0) {
      host.signal.throwIfAborted();
      left -= 1;
      const sentMs = systemClock.monotonic();
      await call();
      latenciesMs.push(systemClock.monotonic() - sentMs);
    }
  };
  await Promise.all(Array.from({ length: callers }, lane));
  const seconds = (systemClock.monotonic() - startMs) / 1_000;
  return { count, seconds, latenciesMs, cpuMs: (await cpuMs(process.pid)) - cpuBeforeMs };
}

/** What the submit verb makes of the submission that the HTTP part of such a bench sends. */
export function newJob(id: string, traceparent: string, over: Partial<NewJob> = {}): NewJob {
  return {
    id,
    service: 'simulation',
    pool: 'fast-lane',
    group: 'g0123456789abcdef',
    affinity: '-',
    models: [],
    priority: 50,
    customer: 'default',
    expectedMs: 1_000,
    maxRunMs: 21_600_000,
    maxAttempts: 3,
    payload: { durationMs: 1_000, progressSteps: 4 },
    inputs: [],
    requirements: {},
    labels: { bench: 'submit' },
    traceparent,
    notBeforeMs: null,
    expiresAtMs: null,
    limited: false,
    preemptible: false,
    state: 'waiting',
    fingerprint: id,
    ...over,
  };
}
