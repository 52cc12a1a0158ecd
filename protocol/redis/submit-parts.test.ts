import { describe, expect, test } from 'vitest';
import type { BrokerEntry, SubmitBatchAnswer } from '#protocol/broker.ts';
import { entryOf } from '#protocol/broker-fixture.conformance.ts';
import { submitInParts } from './submit-parts.ts';

const entries = (count: number) => Array.from({ length: count }, (_, index) => entryOf(`job-${index}`));

/** Wakes a machine of the name of each job, so that answers can be told apart. */
const accepted = (part: BrokerEntry[]): SubmitBatchAnswer => ({
  kind: 'ok',
  answers: part.map(({ jobId }) => ({ kind: 'added', wake: { machineId: jobId, incarnation: 1 } })),
});

describe('a batch of entries', () => {
  test.each([0, 1, 100])('of %i is one step', async (count) => {
    const sizes: number[] = [];
    await submitInParts(entries(count), async (part) => {
      sizes.push(part.length);
      return accepted(part);
    });
    expect(sizes).toEqual([count]);
  });

  test('of more is sent in parts at once, and answered in the order of its entries', async () => {
    const sent: { part: BrokerEntry[]; answer(): void }[] = [];
    const whole = submitInParts(entries(250), (part) => {
      const { promise, resolve } = Promise.withResolvers<SubmitBatchAnswer>();
      sent.push({ part, answer: () => resolve(accepted(part)) });
      return promise;
    });
    expect(sent.map(({ part }) => part.length)).toEqual([100, 100, 50]);
    for (const { answer } of sent.toReversed()) answer();
    expect(await whole).toEqual(accepted(entries(250)));
  });

  test('is refused as a whole when a part is', async () => {
    const refusal: SubmitBatchAnswer = { kind: 'identityChanged', identity: 'another' };
    const answer = await submitInParts(entries(250), async (part) =>
      part[0]?.jobId === 'job-100' ? refusal : accepted(part),
    );
    expect(answer).toEqual(refusal);
  });

  test('rejects when a part does', async () => {
    const whole = submitInParts(entries(250), async (part) => {
      if (part.length < 100) throw new Error('full');
      return accepted(part);
    });
    await expect(whole).rejects.toThrow('full');
  });
});
