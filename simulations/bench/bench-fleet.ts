import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { Fleet, type FleetOptions } from '#runtime/dev.ts';

/** What every report says of the computer it was measured on. */
export function benchEnv(): BenchReport['env'] {
  return { node: process.version, redis: null, cores: availableParallelism() };
}

/**
 * A real hub with records on disk and real machines for one bench; everything is ended and removed
 * afterwards, also when the bench fails.
 */
export async function withFleet<T>(
  host: BenchHost,
  options: Partial<Pick<FleetOptions, 'hub' | 'machines'>>,
  work: (fleet: Fleet, dir: string) => Promise<T>,
): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'emp-bench-'));
  let fleet: Fleet | null = null;
  try {
    fleet = await Fleet.start({
      hub: { port: 0, dataDir: join(dir, 'hub'), ...options.hub },
      machines: options.machines ?? [],
      machinesDir: join(dir, 'machines'),
      signal: host.signal,
    });
    return await work(fleet, dir);
  } finally {
    await fleet?.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

/** A figure that should not exceed, or should reach, its target. */
export function figure(
  value: number,
  unit: string,
  goal: { atMost: number } | { atLeast: number },
): BenchReport['figures'][string] {
  const [sign, limit, ok] =
    'atMost' in goal
      ? ['<=', goal.atMost, value <= goal.atMost]
      : ['>=', goal.atLeast, value >= goal.atLeast];
  return {
    value: Math.round(value * 1_000) / 1_000,
    unit,
    target: `${sign} ${limit} ${unit}`.trim(),
    ok: Boolean(ok),
  };
}
