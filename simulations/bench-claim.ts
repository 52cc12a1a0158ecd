import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { benchEnv, figure } from './bench/bench-fleet.ts';
import { RedisBench } from './bench/bench-redis.ts';

const smallBacklog = 1_000;
const largeBacklog = 1_000_000;
const rounds = 9;
const claimsPerRound = 300;

/** Time of one claim in Redis, with 1 000 and with a million waiting jobs, and of one that finds nothing. */
export async function run(host: BenchHost): Promise<BenchReport> {
  const [small, large] = [await RedisBench.open(), await RedisBench.open()];
  try {
    const backlog = Math.max(5_000, Math.round(largeBacklog * host.scale));
    host.note(`${smallBacklog} and ${backlog} waiting jobs`);
    await small.fill(smallBacklog, host.signal);
    await large.fill(backlog, host.signal);
    const rows: Record<'round' | 'us1k' | 'us1m' | 'missUs' | 'mean1k' | 'mean1m', number>[] = [];
    // The first round warms both servers and is not counted.
    for (let round = 0; round <= rounds; round++) {
      host.signal.throwIfAborted();
      const few = await small.scriptUs(() => claims(small, true));
      const many = await large.scriptUs(() => claims(large, true));
      const miss = await large.scriptUs(() => claims(large, false));
      await small.fill(claimsPerRound, host.signal);
      await large.fill(claimsPerRound, host.signal);
      if (round > 0)
        rows.push({
          round,
          us1k: few.medianUs,
          us1m: many.medianUs,
          missUs: miss.medianUs,
          mean1k: few.meanUs,
          mean1m: many.meanUs,
        });
    }
    return {
      bench: 'claim',
      figures: {
        scriptUs1k: figure(median(rows.map((row) => row.us1k)), 'us', { atMost: 60 }),
        scriptUs1m: figure(median(rows.map((row) => row.us1m)), 'us', { atMost: 60 }),
        flatness: figure(median(rows.map((row) => row.us1m / row.us1k)), 'x', { atMost: 1.3 }),
        missOverHit: figure(median(rows.map((row) => row.missUs / row.us1m)), 'x', { atMost: 1.1 }),
      },
      rows,
      env: { ...benchEnv(), redis: await small.version() },
    };
  } finally {
    await small.close();
    await large.close();
  }
}

async function claims(bench: RedisBench, hit: boolean): Promise<void> {
  for (let left = claimsPerRound; left > 0; left -= 10)
    await Promise.all(Array.from({ length: Math.min(10, left) }, () => bench.claim(hit)));
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
