import { brokerConformance } from '#protocol/broker.conformance.ts';
import { describeOnRedis, redisSetup } from './setup.conformance.ts';

for (const loader of ['function', 'evalsha'] as const) {
  describeOnRedis(`redis by ${loader}`, (server) => {
    brokerConformance(loader, () => redisSetup(server(), loader));
  });
}
