import { expect, test } from 'vitest';
import { claim, ready, reconcile, submit } from '#protocol/redis/client.conformance.ts';
import { describeOnRedis } from '#protocol/redis/setup.conformance.ts';
import { incidents } from './incidents.ts';
import { play } from './interleavings.ts';
import { stageTtlMs } from './stage.ts';
import { serverStores } from './stores-servers.ts';

describeOnRedis('incidents on redis + sqlite', (redis) => {
  test.each(incidents.map((each) => [each.name, each] as const))('%s', async (_name, incident) => {
    await play(incident, serverStores({ leaseTtlMs: stageTtlMs, redis: redis() }));
  });

  test('T15: of a Redis that is killed twenty times, claims come back each time', async () => {
    const broker = await ready(redis());
    for (let round = 1; round <= 20; round++) {
      await submit(broker, `job-${round}`);
      await redis().kill();
      await expect(broker.identity()).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE' });
      await redis().run();
      await expect
        .poll(
          () =>
            broker.identity().then(
              () => true,
              () => false,
            ),
          { timeout: 5_000 },
        )
        .toBe(true);
      await reconcile(broker);
      await submit(broker, `job-${round}`);
      await broker.enrol({ machineId: 'm1', incarnation: round + 1 });
      expect(await claim(broker, 1, { incarnation: round + 1 })).toMatchObject({
        kind: 'leased',
        lease: { jobId: `job-${round}` },
      });
    }
  });
});
