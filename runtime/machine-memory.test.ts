import { describe, expect, test } from 'vitest';
import { memoryMb } from './machine-memory.ts';

const MiB = 1_048_576;

describe('the memory of a machine', () => {
  test('is the limit of its container where that is less than the computer has', () => {
    expect(memoryMb({ totalBytes: 64_000 * MiB, constrainedBytes: 2_048 * MiB + 5 })).toBe(2_048);
  });

  test.each([0, Number.NaN, 2 ** 63, 2 ** 64])(
    'is that of the computer where %s says that nothing limits it',
    (constrainedBytes) => {
      expect(memoryMb({ totalBytes: 8_000 * MiB, constrainedBytes })).toBe(8_000);
    },
  );
});
