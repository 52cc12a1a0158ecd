import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { benchEnv, figure } from './bench/bench-fleet.ts';
import { RedisBench, type StepTimes } from './bench/bench-redis.ts';

const smallBacklog = 1_000;
const largeBacklog = 1_000_000;
const rounds = 9;
const stepsPerRound = 300;

/**
 * Time of one claim in Redis, with 1 000 and with a million waiting jobs, and of one that finds nothing. The
 * rows have beside it what a completion, a release and a submit of one job take with a million waiting.
 */
export async function run(host: BenchHost): Promise<BenchReport> {
  const [small, large] = [await RedisBench.open(), await RedisBench.open()];
  try {
    const backlog = Math.max(5_000, Math.round(largeBacklog * host.scale));
    host.note(`${smallBacklog} and ${backlog} waiting jobs`);
    await small.fill(smallBacklog, host.signal);
    await large.fill(backlog, host.signal);
    const rows: Round[] = [];
    // The first round warms both servers and is not counted.
    for (let round = 0; round <= rounds; round++) {
      host.signal.throwIfAborted();
      const few = await small.scriptUs(() => each(() => small.claim(true)));
      const many = await large.scriptUs(() => each(() => large.claim(true)));
      const miss = await large.scriptUs(() => each(() => large.claim(false)));
      const complete = await large.scriptUs(() => each(() => large.complete(), stepsPerRound / 2));
      const exit = await large.scriptUs(() => each(() => large.release(), stepsPerRound / 2));
      const submit = await large.scriptUs(() => each(() => large.fill(1, host.signal), stepsPerRound / 2));
      await each(() => small.release());
      if (round > 0) rows.push({ round, ...usOf({ us1k: few, us1m: many, miss, complete, exit, submit }) });
    }
    return {
      bench: 'claim',
      figures: {
        scriptUs1k: figure(median(rows.map((row) => row.us1k)), 'us', { atMost: 60 }),
        scriptUs1m: figure(median(rows.map((row) => row.us1m)), 'us', { atMost: 60 }),
        flatness: figure(median(rows.map((row) => row.us1m / row.us1k)), 'x', { atMost: 1.3 }),
        missOverHit: figure(median(rows.map((row) => row.miss / row.us1m)), 'x', { atMost: 1.1 }),
      },
      rows,
      env: { ...benchEnv(), redis: await small.version() },
    };
  } finally {
    await small.close();
    await large.close();
  }
}

type Step = 'us1k' | 'us1m' | 'miss' | 'complete' | 'exit' | 'submit';
type Round = Record<'round' | Step | `${Step}Cpu`, number>;

/** Of each kind of step the median of its time in the server, and its share of the server's computing. */
function usOf(steps: Record<Step, StepTimes>): Omit<Round, 'round'> {
  const pairs = Object.entries(steps).flatMap(([step, { medianUs, cpuUs }]) => [
    [step, medianUs],
    [`${step}Cpu`, Math.round(cpuUs)],
  ]);
  return Object.fromEntries(pairs);
}

/** Ten at a time, as hubs send them. */
async function each(step: () => Promise<void>, count: number = stepsPerRound): Promise<void> {
  for (let left = count; left > 0; left -= 10)
    await Promise.all(Array.from({ length: Math.min(10, left) }, step));
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
