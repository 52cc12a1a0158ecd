import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRng } from '#simulations/seeded-rng.ts';
import { drawDiskRate } from './disks.ts';
import { drawGpuClass, gpuClasses, poolNames, smallestPool, vramReserveMb } from './gpu-classes.ts';
import { drawLink } from './links.ts';
import { drawLifetimeMs, saladHazard } from './losses.ts';
import { startDelayMs, testedImageBytes } from './start-up.ts';

const minute = 60_000;
const hour = 60 * minute;
const quantileOf = (values: number[], share: number) =>
  values.sort((a, b) => a - b)[Math.floor(share * (values.length - 1))]!;

describe('start of containers', () => {
  const start = (share: number, more = {}) =>
    startDelayMs({ share, imageBytes: testedImageBytes, downBytesPerMs: 49_000, ...more });

  test('the tested image starts as in the test: 3, 10, 20, 40, 80 minutes', () => {
    const minutes = [0.01, 0.5, 0.8, 0.9, 1].map((share) => start(share) / minute);
    expect(minutes).toEqual([3, 10, 20, 40, 80]);
  });

  test('what an image has beyond the tested one takes its time over the own link of the machine', () => {
    const imageBytes = testedImageBytes + 10e9;
    expect(start(0.5, { imageBytes, downBytesPerMs: 50_000 }) - start(0.5)).toBeCloseTo(200_000, 6);
    expect(start(0.5, { imageBytes, downBytesPerMs: 10_000 }) - start(0.5)).toBeCloseTo(1_000_000, 6);
  });

  test('no image starts in less than half a minute', () => {
    expect(start(0, { imageBytes: 1, downBytesPerMs: 1_000 })).toBe(30_000);
  });
});

describe('links and disks', () => {
  test('the rates of many links have the published quantiles', () => {
    const rng = seededRng('links');
    const links = Array.from({ length: 5_000 }, () => drawLink(rng, 1));
    const mbps = (rates: number[], share: number) => quantileOf(rates, share) / 125;
    const down = links.map((link) => link.downBytesPerMs);
    const up = links.map((link) => link.upBytesPerMs);
    for (const [share, value] of [
      [0.1, 97],
      [0.5, 392],
      [0.9, 803],
    ] as const) {
      expect(mbps(down, share) / value).toBeCloseTo(1, 0.8);
    }
    expect(mbps(up, 0.5) / 281).toBeCloseTo(1, 0.8);
  });

  test('a factor makes the same link slower', () => {
    const { downBytesPerMs, upBytesPerMs } = drawLink(seededRng(1), 1);
    const slow = drawLink(seededRng(1), 0.4);
    expect(slow.downBytesPerMs).toBeCloseTo(downBytesPerMs * 0.4, 9);
    expect(slow.upBytesPerMs).toBeCloseTo(upBytesPerMs * 0.4, 9);
  });

  test('a model of 8.7 GB loads in about 7 s from most disks and in about 18 s from the others', () => {
    const rng = seededRng('disks');
    const seconds = Array.from({ length: 2_000 }, () => 8.7e9 / drawDiskRate(rng) / 1000);
    const quick = seconds.filter((value) => value < 10);
    expect(quick.length / seconds.length).toBeCloseTo(0.7, 1);
    expect(quantileOf(quick, 0.5)).toBeCloseTo(7, 0);
    const slow = seconds.filter((value) => value >= 10);
    expect(Math.min(...slow)).toBeGreaterThan(14);
    expect(Math.max(...slow)).toBeLessThan(23);
  });
});

describe('cards', () => {
  test('pools have 8, 12 and 24 GB at a mean speed of 0.7, 1 and 1.8', () => {
    const pools = poolNames.map((pool) => {
      const classes = gpuClasses[pool];
      expect(classes.reduce((sum, one) => sum + one.share, 0)).toBeCloseTo(1, 9);
      const vramGb = new Set(classes.map((one) => one.vramMb / 1024));
      return { vramGb: [...vramGb], speed: classes.reduce((sum, one) => sum + one.share * one.speed, 0) };
    });
    expect(pools.map((pool) => pool.vramGb)).toEqual([[8], [12], [24]]);
    expect(pools[0]!.speed).toBeCloseTo(0.7, 2);
    expect(pools[1]!.speed).toBeCloseTo(1, 9);
    expect(pools[2]!.speed).toBeCloseTo(1.8, 9);
  });

  test('draws of a pool give its cards in their shares and no others', () => {
    const rng = seededRng('cards');
    const drawn = Array.from({ length: 3_000 }, () => drawGpuClass(rng, 'heavy').gpu);
    expect(drawn.filter((gpu) => gpu.endsWith('4090')).length / drawn.length).toBeCloseTo(0.4, 1);
    expect(new Set(drawn)).toEqual(new Set(gpuClasses.heavy.map((one) => one.gpu)));
  });

  test('the smallest pool that holds a need leaves the reserve free; more than a card has fits nowhere', () => {
    const most = (pool: (typeof poolNames)[number]) => gpuClasses[pool][0]!.vramMb - vramReserveMb;
    expect(smallestPool(0)).toBe('fast-lane');
    expect(smallestPool(most('fast-lane'))).toBe('fast-lane');
    expect(smallestPool(most('fast-lane') + 1)).toBe('standard');
    expect(smallestPool(most('standard') + 1)).toBe('heavy');
    expect(smallestPool(most('heavy') + 1)).toBeNull();
  });
});

describe('losses', () => {
  const lifetimes = (hazard: { lostPerHour: number; earlyShare: number }) => {
    const rng = seededRng('losses');
    return Array.from({ length: 20_000 }, () => drawLifetimeMs(rng, hazard));
  };

  test('8 % are gone within half an hour, the others live 91 hours on average', () => {
    const all = lifetimes(saladHazard);
    const early = all.filter((ms) => ms <= hour / 2).length / all.length;
    // Of the others a few leave early too: 0.011 an hour.
    expect(early).toBeCloseTo(0.08 + 0.92 * 0.0055, 2);
    const mean =
      lifetimes({ ...saladHazard, earlyShare: 0 }).reduce((sum, ms) => sum + ms / hour, 0) / 20_000;
    expect(mean).toBeGreaterThan(88);
    expect(mean).toBeLessThan(94);
  });

  test('without hazards nothing is ever lost, and a life is never empty', () => {
    expect(lifetimes({ lostPerHour: 0, earlyShare: 0 }).every((ms) => ms === Infinity)).toBe(true);
    expect(lifetimes({ lostPerHour: 60, earlyShare: 1 }).every((ms) => ms >= 1)).toBe(true);
  });

  test('another hazard takes as many draws: what is drawn after it stays', () => {
    fc.assert(
      fc.property(fc.nat(), fc.double({ min: 0, max: 10, noNaN: true }), (seed, lostPerHour) => {
        const nextOf = (hazard: typeof saladHazard) => {
          const rng = seededRng(seed);
          drawLifetimeMs(rng, hazard);
          return rng.next();
        };
        expect(nextOf({ lostPerHour, earlyShare: 0.5 })).toBe(nextOf({ lostPerHour: 0, earlyShare: 0 }));
      }),
      { numRuns: 50 },
    );
  });
});
