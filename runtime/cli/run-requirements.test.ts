import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { submissionOf } from './run.ts';
import { requirementsOf } from './run-requirements.ts';

describe('what emp run asks of machines', () => {
  test('is nothing without an option', () => {
    expect(requirementsOf({})).toBeUndefined();
  });

  test('are tags, a name, and whatever else there is', () => {
    expect(
      requirementsOf({
        tag: ['a', 'b'],
        withoutTag: ['spot'],
        machine: 'm-1',
        require: ['vramMb=24000', 'gpu=["RTX 4090"]', 'region=eu', 'hardware.ram_gb=64'],
      }),
    ).toEqual({
      tags: ['a', 'b'],
      withoutTags: ['spot'],
      machineId: 'm-1',
      vramMb: 24_000,
      gpu: ['RTX 4090'],
      region: 'eu',
      hardware: { ram_gb: 64 },
    });
  });
});

test('a submission has times as the API wants them', async () => {
  const options = { ttl: 300_000, maxRun: 3_600_000, notBefore: '2030-01-01T00:00:00Z', tag: ['a'] };
  expect(await submissionOf('image', options, Readable.from([]))).toEqual({
    service: 'image',
    payload: {},
    ttlMs: 300_000,
    maxRunMs: 3_600_000,
    notBefore: '2030-01-01T00:00:00Z',
    requirements: { tags: ['a'] },
  });
});
