import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { benchEnv, figure } from './bench/bench-fleet.ts';
import { RedisBench } from './bench/bench-redis.ts';

const waitingJobs = 200_000;

/** Memory that Redis takes for one waiting job whose body is kept in Records. */
export async function run(host: BenchHost): Promise<BenchReport> {
  const bench = await RedisBench.open();
  try {
    // The first jobs pay for lanes, heads and tables that all later ones share.
    await bench.fill(1_000, host.signal);
    const count = Math.max(1_000, Math.round(waitingJobs * host.scale));
    const before = await bench.usedBytes();
    host.note(`${count} waiting jobs`);
    await bench.fill(count, host.signal);
    const bytes = (await bench.usedBytes()) - before;
    return {
      bench: 'memory',
      figures: { bytesPerWaitingJob: figure(bytes / count, 'bytes', { atMost: 1_200 }) },
      rows: [{ jobs: count, bytes }],
      env: { ...benchEnv(), redis: await bench.version() },
    };
  } finally {
    await bench.close();
  }
}
