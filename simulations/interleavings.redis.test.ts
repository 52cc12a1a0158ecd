import { describe, test } from 'vitest';
import { describeOnRedis } from '#protocol/redis/setup.conformance.ts';
import { interleavings, play } from './interleavings.ts';
import { stageTtlMs } from './stage.ts';
import { serverStores } from './stores-servers.ts';

/** The named interleavings on the Lua that ships, with each way in which a real server loses everything. */

const named = interleavings.map((each) => [each.name, each] as const);

describeOnRedis('interleavings on redis + sqlite', (redis) => {
  describe.each(['flush', 'restart'] as const)('a loss of everything is a %s', (loss) => {
    test.each(named)('%s', async (_name, interleaving) => {
      const stores = serverStores({ leaseTtlMs: stageTtlMs, redis: redis(), losses: [loss] });
      await play(interleaving, stores);
    });
  });
});
