import { describe, expect, test } from 'vitest';
import { breakHistory, randomHistories } from '#protocol/broker-random.conformance.ts';
import { auditData } from './audit.conformance.ts';
import { type MemoryUnderTest, memorySetup } from './setup.conformance.ts';

const audit = ({ server }: MemoryUnderTest) => auditData(server.mark().data);

describe('memory broker', () => {
  randomHistories(memorySetup, { audit, runs: 30, maxSteps: 120, env: process.env });
});

describe('a history that breaks', () => {
  /** A Broker that forgets to end what has completed. */
  async function forgetful(): Promise<MemoryUnderTest> {
    const under = await memorySetup();
    const broker = { ...under.broker, complete: async () => ({ kind: 'unchanged' as const }) };
    return { ...under, broker, connect: async () => broker };
  }

  test('is made short, and its seed and path play it again', { timeout: 60_000 }, async () => {
    const options = { audit, runs: 30, maxSteps: 60 };
    const failure = await breakHistory(forgetful, { ...options, seed: 7 });
    if (failure === null) expect.fail('nothing broke');
    const steps = failure.message.split('\n').filter((line) => /^[a-zA-Z]+\(/.test(line));
    expect(steps.length).toBeLessThan(4);
    expect(failure.message).toContain("expected { kind: 'unchanged' } to deeply equal { kind: 'removed' }");
    const again = await breakHistory(forgetful, { ...options, runs: 1, repeat: failure });
    expect(again?.message.split('\n')[0]).toBe(failure.message.split('\n')[0]);
    expect(await breakHistory(memorySetup, { ...options, runs: 1, repeat: failure })).toBeNull();
  });
});
