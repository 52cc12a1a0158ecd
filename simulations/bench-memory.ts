import { tombstoneMs } from '#protocol/broker.ts';
import { sleep } from '#protocol/env.ts';
import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { systemClock } from '#runtime/env.ts';
import { benchEnv, figure } from './bench/bench-fleet.ts';
import { RedisBench } from './bench/bench-redis.ts';

const waitingJobs = 200_000;
const drainedJobs = 100_000;
const claimsAtOnce = 20;

/** Memory that Redis takes for one waiting job whose body is kept in Records, and what it keeps of jobs that ended. */
export async function run(host: BenchHost): Promise<BenchReport> {
  const waiting = await measureWaiting(host, Math.max(1_000, Math.round(waitingJobs * host.scale)));
  const drained = await measureDrained(host, Math.max(1_000, Math.round(drainedJobs * host.scale)));
  return {
    bench: 'memory',
    figures: {
      bytesPerWaitingJob: figure(waiting.bytes / waiting.jobs, 'bytes', { atMost: 1_200 }),
      drainedOverEmpty: figure(drained.afterBytes / drained.beforeBytes, 'x', { atMost: 1.2 }),
    },
    rows: [
      { step: 'waiting', jobs: waiting.jobs, bytes: waiting.bytes },
      { step: 'before', jobs: 0, bytes: drained.beforeBytes },
      { step: 'full', jobs: drained.jobs, bytes: drained.fullBytes },
      { step: 'drained', jobs: 0, bytes: drained.afterBytes },
    ],
    env: { ...benchEnv(), redis: waiting.redis },
  };
}

async function measureWaiting(host: BenchHost, jobs: number) {
  const bench = await RedisBench.open();
  try {
    // The first jobs pay for lanes, heads and tables that all later ones share.
    await bench.fill(1_000, host.signal);
    const before = await bench.usedBytes();
    host.note(`${jobs} waiting jobs`);
    await bench.fill(jobs, host.signal);
    return { jobs, bytes: (await bench.usedBytes()) - before, redis: await bench.version() };
  } finally {
    await bench.close();
  }
}

/** Fills, claims and completes all, and lets the time of their tombstones pass on a virtual clock. */
async function measureDrained(host: BenchHost, jobs: number) {
  let nowMs = systemClock.now();
  const bench = await RedisBench.open(() => nowMs);
  try {
    // One job goes the whole way first: what the server loads once is not kept for a job.
    await bench.fill(1, host.signal);
    await bench.claim(true);
    await bench.complete();
    const beforeBytes = await bench.usedBytes();
    await bench.fill(jobs, host.signal);
    const fullBytes = await bench.usedBytes();
    host.note(`${jobs} jobs claimed and completed`);
    for (let left = jobs; left > 0; left -= claimsAtOnce) {
      host.signal.throwIfAborted();
      const some = Array.from({ length: Math.min(left, claimsAtOnce) });
      await Promise.all(some.map(() => bench.claim(true)));
      await Promise.all(some.map(() => bench.complete()));
    }
    nowMs += tombstoneMs + 1;
    await bench.forgetEnded();
    return { jobs, beforeBytes, fullBytes, afterBytes: await settled(bench, host.signal) };
  } finally {
    await bench.close();
  }
}

/** Redis shrinks its tables little by little in its own time: read until it has stopped. */
async function settled(bench: RedisBench, signal: AbortSignal): Promise<number> {
  let least = await bench.usedBytes();
  for (let same = 0; same < 10; ) {
    await sleep(systemClock, 50, signal);
    const now = await bench.usedBytes();
    same = now < least ? 0 : same + 1;
    least = Math.min(least, now);
  }
  return least;
}
