import { describe } from 'vitest';
import { randomHistories } from '#protocol/broker-random.conformance.ts';
import { auditData } from './audit.conformance.ts';
import { memorySetup } from './setup.conformance.ts';

describe('memory broker', () => {
  randomHistories(memorySetup, {
    audit: ({ server }) => auditData(server.mark().data),
    runs: 30,
    maxSteps: 120,
  });
});
