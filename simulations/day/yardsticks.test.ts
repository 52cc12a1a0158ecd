import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { logOf, planOf, ranOnce, type Told } from './figures-fixture.ts';
import type { PlannedMachine } from './plan.ts';
import { avoidableWaitRemoved, goodDecisions } from './yardsticks.ts';

describe('avoidableWaitRemoved', () => {
  test.each([
    ['as bad as fifo', 10, 0],
    ['as good as clairvoyant', 2, 1],
    ['half the way', 6, 0.5],
    ['worse than fifo', 18, -1],
    ['better than the schedule that counts as best', 1, 1.125],
  ])('%s', (_name, policyMs, expected) => {
    expect(avoidableWaitRemoved({ fifoMs: 10, clairvoyantMs: 2, policyMs })).toBeCloseTo(expected, 12);
  });

  test('nothing avoidable has no share', () => {
    expect(avoidableWaitRemoved({ fifoMs: 2, clairvoyantMs: 2, policyMs: 2 })).toBe(null);
  });
});

const models = [
  { id: 'sdxl', kind: 'checkpoint', bytes: 100_000, vramMb: 8_000 },
  { id: 'flux', kind: 'checkpoint', bytes: 200_000, vramMb: 16_000 },
] as const;

/** `chosen` and `other` with a link of 10 and a disk of 100 bytes per ms: sdxl takes 10 s and 1 s. */
function setup(options: {
  other?: Partial<PlannedMachine>;
  chosen?: Partial<PlannedMachine>;
  runMs?: number;
  vramMb?: number;
  originBytesPerMs?: number | null;
}) {
  const plan = planOf({
    jobs: [
      { id: 'j', models: ['sdxl'], runMs: options.runMs ?? 20_000, vramMb: options.vramMb ?? 8_000 },
      { id: 'before', runMs: 5_000 },
      { id: 'flux', models: ['flux'], runMs: 1_000 },
    ],
    machines: [
      { id: 'chosen', ...options.chosen },
      { id: 'other', ...options.other },
    ],
    models: [...models],
    originBytesPerMs: options.originBytesPerMs ?? null,
  });
  const up: Told[] = [
    { atMs: 0, tell: 'up', machine: 'chosen' },
    { atMs: 0, tell: 'up', machine: 'other' },
  ];
  return { plan, up };
}

const at100 = (endMs: number) =>
  ranOnce('j', 'chosen', { atMs: 100_000, claimedMs: 100_000, readyMs: endMs - 20_000, endMs });

describe('goodDecisions', () => {
  const has = (machine: string, from = 1): Told[] => [
    { atMs: from, tell: 'onDisk', machine, model: 'sdxl' },
    { atMs: from, tell: 'loaded', machine, model: 'sdxl' },
  ];

  test('a cold machine beside an idle warm one is a bad choice', () => {
    const { plan, up } = setup({});
    const log = logOf(plan, [...up, ...has('other'), ...at100(131_000)], 200_000);
    expect(goodDecisions(log)).toEqual({ good: 0, judged: 1 });
  });

  test('a cold machine among cold ones is a good choice', () => {
    const { plan, up } = setup({});
    const log = logOf(
      plan,
      [...up, { atMs: 5, tell: 'onDisk', machine: 'chosen', model: 'flux' }, ...at100(131_000)],
      200_000,
    );
    expect(goodDecisions(log)).toEqual({ good: 1, judged: 1 });
  });

  test('a choice within a second of the best is good, beyond it is not', () => {
    // The other needs 20 s: 1 s is also 5 %.
    const { plan, up } = setup({});
    for (const [endMs, good] of [
      [121_000, 1],
      [121_001, 0],
    ] as const) {
      const log = logOf(plan, [...up, ...has('other'), ...at100(endMs)], 200_000);
      expect(goodDecisions(log).good).toBe(good);
    }
  });

  test('a long run may be 5 % worse than the best', () => {
    const { plan, up } = setup({ runMs: 100_000 });
    for (const [late, good] of [
      [5_000, 1],
      [5_001, 0],
    ] as const) {
      const run = ranOnce('j', 'chosen', {
        atMs: 100_000,
        claimedMs: 100_000,
        readyMs: 100_000 + late,
        endMs: 200_000 + late,
      });
      expect(goodDecisions(logOf(plan, [...up, ...has('other'), ...run], 300_000)).good).toBe(good);
    }
  });

  test('a warm machine that is busy counts from when it was free in fact', () => {
    const { plan, up } = setup({});
    for (const [freeMs, good] of [
      [111_000, 1],
      [105_000, 0],
    ] as const) {
      const busy = ranOnce('before', 'other', { atMs: 90_000, claimedMs: 90_000, endMs: freeMs });
      // Chosen: 10 s of download, 1 s of loading, 20 s of work.
      const log = logOf(plan, [...up, ...has('other'), ...busy, ...at100(131_000)], 200_000);
      expect(goodDecisions(log)).toEqual({ good: 1 + good, judged: 2 });
    }
  });

  test('of two slots one that is free is free now', () => {
    const { plan } = setup({});
    const busy = ranOnce('before', 'other', { atMs: 90_000, claimedMs: 90_000, endMs: 180_000 });
    const up = (slots: number): Told[] => [
      { atMs: 0, tell: 'up', machine: 'chosen' },
      { atMs: 0, tell: 'up', machine: 'other', slots },
    ];
    const good = (slots: number) =>
      goodDecisions(logOf(plan, [...up(slots), ...has('other'), ...busy, ...at100(131_000)], 200_000)).good;
    expect([good(1), good(2)]).toEqual([2, 1]);
  });

  test('a model on disk costs its loading, one that was evicted its download', () => {
    const { plan, up } = setup({});
    const onDisk: Told[] = [{ atMs: 1, tell: 'onDisk', machine: 'other', model: 'sdxl' }];
    const evicted: Told[] = [...onDisk, { atMs: 2, tell: 'evicted', machine: 'other', model: 'sdxl' }];
    // 20 s of work and 1 s of loading, against 5 s more than that; the download would take 10.
    expect(goodDecisions(logOf(plan, [...up, ...onDisk, ...at100(126_000)], 200_000)).good).toBe(0);
    expect(goodDecisions(logOf(plan, [...up, ...evicted, ...at100(126_000)], 200_000)).good).toBe(1);
  });

  test('a download that is under way counts to its arrival, one that ends later than a new one would does not', () => {
    const { plan, up } = setup({});
    const arrives = (atMs: number): Told[] => [{ atMs, tell: 'onDisk', machine: 'other', model: 'sdxl' }];
    const good = (arrivesMs: number) =>
      goodDecisions(logOf(plan, [...up, ...arrives(arrivesMs), ...at100(130_000)], 200_000)).good;
    // The other would end at 131 s with a download of its own, 10 s from the claim.
    expect([good(102_000), good(107_000), good(109_000), good(115_000)]).toEqual([0, 0, 1, 1]);
  });

  test('a copy that arrived and was evicted again must be fetched', () => {
    const { plan, up } = setup({});
    const told: Told[] = [
      { atMs: 1, tell: 'onDisk', machine: 'other', model: 'sdxl' },
      { atMs: 90_000, tell: 'evicted', machine: 'other', model: 'sdxl' },
      { atMs: 104_000, tell: 'onDisk', machine: 'other', model: 'sdxl' },
    ];
    expect(goodDecisions(logOf(plan, [...up, ...told.slice(0, 2), ...at100(130_000)], 200_000)).good).toBe(1);
    expect(goodDecisions(logOf(plan, [...up, ...told, ...at100(130_000)], 200_000)).good).toBe(0);
  });

  test('the store of models bounds what a link could fetch', () => {
    const slowStore = setup({ originBytesPerMs: 5 });
    const log = logOf(
      slowStore.plan,
      [...slowStore.up, { atMs: 5, tell: 'onDisk', machine: 'chosen', model: 'flux' }, ...at100(138_000)],
      200_000,
    );
    // 20 s of download by the store, 1 s of loading: 141 s on the other machine.
    expect(goodDecisions(log).good).toBe(1);
  });

  test.each<[string, Parameters<typeof setup>[0], Told[]]>([
    ['too small a card', { other: { vramMb: 4_000 } }, []],
    ['too small a disk', { other: { diskBytes: 50_000 } }, []],
    ['draining', {}, [{ atMs: 50_000, tell: 'draining', machine: 'other' }]],
    ['gone', {}, [{ atMs: 50_000, tell: 'down', machine: 'other', as: 'lost' }]],
    [
      'lost before it could have ended the run',
      {},
      [{ atMs: 119_000, tell: 'down', machine: 'other', as: 'lost' }],
    ],
  ])('a warm machine is no alternative: %s', (_name, options, told) => {
    const { plan, up } = setup(options);
    const log = logOf(plan, [...up, ...has('other'), ...told, ...at100(131_000)], 200_000);
    expect(goodDecisions(log)).toEqual({ good: 1, judged: 1 });
  });

  test('a machine that starts after the claim is no alternative', () => {
    const { plan } = setup({});
    const told: Told[] = [
      { atMs: 0, tell: 'up', machine: 'chosen' },
      { atMs: 100_001, tell: 'up', machine: 'other' },
      { atMs: 100_001, tell: 'loaded', machine: 'other', model: 'sdxl' },
    ];
    expect(goodDecisions(logOf(plan, [...told, ...at100(131_000)], 200_000)).good).toBe(1);
  });

  test('a claim that was lost is judged by the run that came to an end', () => {
    const { plan, up } = setup({});
    const lost: Told[] = [
      { atMs: 100_000, tell: 'accepted', job: 'j' },
      { atMs: 100_000, tell: 'claimed', job: 'j', machine: 'chosen' },
      { atMs: 130_000, tell: 'runLost', job: 'j', outcome: 'lost' },
      { atMs: 130_000, tell: 'claimed', job: 'j', machine: 'other' },
      { atMs: 130_000, tell: 'started', job: 'j', machine: 'other' },
      { atMs: 150_000, tell: 'ranOut', job: 'j', machine: 'other', outcome: 'succeeded' },
      { atMs: 150_000, tell: 'ended', job: 'j', as: 'succeeded' },
    ];
    expect(goodDecisions(logOf(plan, [...up, ...has('other'), ...lost], 200_000))).toEqual({
      good: 1,
      judged: 2,
    });
  });

  test('what was cancelled or still runs is not judged', () => {
    const { plan, up } = setup({});
    const told: Told[] = [
      { atMs: 1, tell: 'accepted', job: 'j' },
      { atMs: 1, tell: 'claimed', job: 'j', machine: 'chosen' },
      { atMs: 2, tell: 'ended', job: 'j', as: 'cancelled' },
      { atMs: 3, tell: 'accepted', job: 'flux' },
      { atMs: 3, tell: 'claimed', job: 'flux', machine: 'chosen' },
    ];
    expect(goodDecisions(logOf(plan, [...up, ...told], 200_000))).toEqual({ good: 0, judged: 0 });
  });

  test('without a residency in the log, what ran somewhere is taken to be there', () => {
    const { plan, up } = setup({});
    const earlier = ranOnce('flux', 'other', { atMs: 1, claimedMs: 1, readyMs: 21_000, endMs: 22_000 });
    const job: Told[] = ranOnce('j', 'chosen', {
      atMs: 100_000,
      claimedMs: 100_000,
      readyMs: 111_000,
      endMs: 131_000,
    });
    const withFlux = {
      ...plan,
      jobs: plan.jobs.map((each) => (each.id === 'j' ? { ...each, models: ['flux'] } : each)),
    };
    expect(goodDecisions(logOf(plan, [...up, ...earlier, ...job], 200_000)).good).toBe(2);
    expect(goodDecisions(logOf(withFlux, [...up, ...earlier, ...job], 200_000)).good).toBe(1);
  });

  test('a slower end never makes a decision better', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 20_000, max: 60_000 }),
        fc.integer({ min: 0, max: 30_000 }),
        (took, more) => {
          const { plan, up } = setup({});
          const good = (endMs: number) =>
            goodDecisions(logOf(plan, [...up, ...has('other', 50), ...at100(endMs)], 300_000)).good;
          expect(good(100_000 + took + more)).toBeLessThanOrEqual(good(100_000 + took));
        },
      ),
      { numRuns: 60 },
    );
  });
});
