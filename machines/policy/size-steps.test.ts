import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { MachineClass } from '#protocol/requirements.ts';
import { groupSizes, knownSizes } from './size-steps.ts';

const machine = (sizes: Partial<MachineClass>): MachineClass => ({
  pool: 'standard',
  services: [{ service: 'image', version: '1.0.0', slots: 1 }],
  vramMb: 24_564,
  ramMb: 64_000,
  diskMb: 200_000,
  cpuCores: 8,
  tags: [],
  region: null,
  ...sizes,
});
const cards = (...vramMb: number[]) => knownSizes(vramMb.map((each) => machine({ vramMb: each })));

test('needs that the same machines meet are one group: at the end of their step', () => {
  const known = cards(24_564, 12_282);
  for (const vramMb of [8_419, 8_462, 8_534, 9_216])
    expect(groupSizes({ vramMb }, known)).toEqual({ vramMb: 9_216 });
  expect(groupSizes({ vramMb: 9_217 }, known)).toEqual({ vramMb: 10_240 });
});

test('a machine within the step ends it: it may run what it could before, also when it comes back a little smaller', () => {
  expect(groupSizes({ vramMb: 24_000 }, cards(24_564, 24_000))).toEqual({ vramMb: 24_000 });
  expect(groupSizes({ vramMb: 24_001 }, cards(24_564, 24_000))).toEqual({ vramMb: 24_180 });
  expect(groupSizes({ vramMb: 23_000 }, cards(24_564, 24_000))).toEqual({ vramMb: 23_625 });
});

test('a job that is pinned to a machine keeps its numbers', () => {
  const pinned = { vramMb: 8_419, machineId: 'm1' };
  expect(groupSizes(pinned, cards(24_564))).toEqual(pinned);
});

test('what no known machine has stays as it is', () => {
  expect(groupSizes({ vramMb: 30_001 }, cards(24_564))).toEqual({ vramMb: 30_001 });
  expect(groupSizes({ vramMb: 8_419 }, cards())).toEqual({ vramMb: 8_419 });
});

test('other requirements, and sizes that are not asked for, are left alone', () => {
  const asked = { tags: ['a'], cpuCores: 7, ramMb: 0 };
  expect(groupSizes(asked, cards(24_564))).toEqual(asked);
});

test('every known machine meets the group if, and only if, it meets the job', () => {
  const size = fc.integer({ min: 1, max: 200_000 });
  fc.assert(
    fc.property(fc.array(size, { maxLength: 12 }), size, size, (machines, vramMb, diskMb) => {
      const classes = machines.map((vram, index) =>
        machine({ vramMb: vram, diskMb: machines.at(-1 - index) ?? vram }),
      );
      const group = groupSizes({ vramMb, diskMb }, knownSizes(classes));
      for (const each of classes) {
        expect(each.vramMb >= (group.vramMb ?? 0)).toBe(each.vramMb >= vramMb);
        expect(each.diskMb >= (group.diskMb ?? 0)).toBe(each.diskMb >= diskMb);
      }
      expect(group.vramMb).toBeGreaterThanOrEqual(vramMb);
    }),
  );
});
