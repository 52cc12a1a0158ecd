import { brokerConformance } from '#protocol/broker.conformance.ts';
import { randomHistories } from '#protocol/broker-random.conformance.ts';
import { describeOnRedis, redisSetup } from './setup.conformance.ts';

for (const loader of ['function', 'evalsha'] as const) {
  describeOnRedis(`redis by ${loader}`, (server) => {
    brokerConformance(loader, () => redisSetup(server(), loader));
    // The structures are compared by differential.redis.test.ts; here losses are real ends of the process.
    randomHistories(() => redisSetup(server(), loader), {
      audit: () => [],
      runs: 5,
      maxSteps: 100,
      env: process.env,
    });
  });
}
