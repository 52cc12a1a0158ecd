import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatAddress, parseAddress } from './address.ts';

describe('addresses', () => {
  test('have the form machine/incarnation/path', () => {
    expect(formatAddress({ machineId: 'm1', incarnation: 7, path: ['tree', 'gpu/cpu-0'] })).toBe(
      'm1/7/tree/gpu%2Fcpu-0',
    );
  });

  test('are read back as they were written', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1 }), { maxLength: 5 }),
        fc.integer({ min: 1, max: 1e9 }),
        (path, incarnation) => {
          const address = { machineId: 'm1', incarnation, path };
          expect(parseAddress(formatAddress(address))).toEqual(address);
        },
      ),
      { seed: 1 },
    );
  });

  test.each(['', 'm1', '/7', 'm1/0', 'm1/x', 'm1/7/', 'm1/7//a', 'm1/7/%'])('%j is none', (text) => {
    expect(parseAddress(text)).toBeNull();
  });
});
