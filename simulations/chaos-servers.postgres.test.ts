import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeOnRedis } from '#protocol/redis/setup.conformance.ts';
import { type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { describeProblem, runChaos } from './chaos.ts';
import { chaosTtlMs, type MachineKind } from './chaos-script.ts';
import { serverStores } from './stores-servers.ts';

/**
 * EMP_CHAOS_SERVER_SEEDS: how many seeds play on Redis and PostgreSQL. EMP_CHAOS_SEED repeats one,
 * EMP_CHAOS_MACHINES takes one kind of machines alone.
 */
const { EMP_CHAOS_SEED: one, EMP_CHAOS_MACHINES: kind, CI } = process.env;
const count =
  one === undefined ? Number(process.env['EMP_CHAOS_SERVER_SEEDS'] ?? (CI === 'true' ? 6 : 2)) : 1;
const first = Number(one ?? 2);
const runs = Array.from({ length: count }, (_, index): [number, MachineKind] => [
  first + index,
  (kind as MachineKind | undefined) ?? (index % 2 === 0 ? 'model' : 'production'),
]);
const repeat = (seed: number) =>
  `EMP_CHAOS_SEED=${seed} npm run test:one -- --project postgres simulations/chaos-servers`;
const small = { machines: 3, jobs: 30, chaosMs: 120_000 };

let postgres: PostgresServer;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.close());

describeOnRedis('chaos on redis + postgres', (redis) => {
  test.each(runs)(
    'seed %i with %s machines: every invariant holds, and the history is that of the embedded stores',
    { timeout: 300_000 },
    async (seed, machineKind) => {
      const stores = serverStores({
        leaseTtlMs: chaosTtlMs,
        redis: redis(),
        postgres,
        losses: ['flush', 'restart'],
      });
      const real = await runChaos({ seed, machineKind, ...small, stores });
      if (real.problem !== null) expect.fail(describeProblem(real, repeat(seed)));
      const embedded = await runChaos({ seed, machineKind, ...small });
      expect(embedded.problem).toBeNull();
      expect([real.hash, real.steps, real.ended]).toEqual([embedded.hash, embedded.steps, embedded.ended]);
    },
  );
});
