import { expect, test } from 'vitest';
import { describeOnRedis } from '#protocol/redis/setup.conformance.ts';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { describeProblem, runChaos } from './chaos.ts';
import { chaosTtlMs } from './chaos-script.ts';
import { serverStores } from './stores-servers.ts';

const seeds = [7, 8];
const size = { machines: 6, jobs: 100 };
const timeout = 300_000;

describeOnRedis('chaos on redis + sqlite', (redis) => {
  const stores = (server: RedisServer) =>
    serverStores({ leaseTtlMs: chaosTtlMs, redis: server, losses: ['restart', 'flush'] });

  test.each(seeds)(
    'seed %i, whole: every invariant holds, and the history is that of the memory broker',
    { timeout },
    async (seed) => {
      const real = await runChaos({ seed, machineKind: 'model', ...size, stores: stores(redis()) });
      if (real.problem !== null) expect.fail(describeProblem(real));
      const embedded = await runChaos({ seed, machineKind: 'model', ...size });
      expect([real.hash, real.steps, real.ended]).toEqual([embedded.hash, embedded.steps, embedded.ended]);
    },
  );

  test('one seed gives one history on two servers, and another seed another', { timeout }, async () => {
    const other = await RedisServer.start();
    try {
      const play = (seed: number, server: RedisServer) =>
        runChaos({ seed, machineKind: 'model', stopMs: 120_000, stores: stores(server) });
      const [first, second] = [await play(3, redis()), await play(3, other)];
      expect(first.problem).toBeNull();
      expect([second.hash, second.steps]).toEqual([first.hash, first.steps]);
      expect((await play(4, other)).hash).not.toBe(first.hash);
    } finally {
      await other.close();
    }
  });

  test('a server that does not come back ends the run with what it said', { timeout }, async () => {
    const server = await RedisServer.start();
    const sound = stores(server);
    try {
      const report = await runChaos({
        seed: 3,
        machineKind: 'model',
        faults: [{ atMs: 10_000, kind: 'broker.rollback', lostMs: 1 }],
        stopMs: 60_000,
        stores: {
          ...sound,
          open: async (options) => ({ ...(await sound.open(options)), mark: async () => '/nowhere.rdb' }),
        },
      });
      expect(report.problem?.message).toMatch(/a rollback failed/);
    } finally {
      await server.close();
    }
  });
});
