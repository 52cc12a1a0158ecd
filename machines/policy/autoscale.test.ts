import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type AutoscaleMemory,
  type AutoscaleRules,
  autoscale,
  type PoolDemand,
  ruleProblem,
  withinBounds,
} from './autoscale.ts';

const minute = 60_000;
const rules: AutoscaleRules = {
  min: 0,
  max: 100,
  pools: {},
  targetDrainMs: 10 * minute,
  spareShare: 0,
  coolDownMs: 15 * minute,
  startPriorMs: [3, 6, 10, 16, 40].map((minutes) => minutes * minute),
};
const idle: PoolDemand = {
  pool: 'standard',
  waiting: [],
  arriving: 0,
  running: 0,
  starting: [],
  startUpsMs: [],
};
/** The first decision for one pool that was needed empty before. */
function decide(demand: Partial<PoolDemand>, rest: Partial<AutoscaleRules> = {}, nowMs = 0) {
  const memory = { [demand.pool ?? idle.pool]: [] };
  const { pools } = autoscale({ nowMs, pools: [{ ...idle, ...demand }], memory }, { ...rules, ...rest });
  const [decision] = pools;
  if (decision === undefined) throw new Error('no decision');
  return decision;
}
const waiting = (ms: number) => [{ kind: 'image', jobs: 10, runMs: ms / 2, loadMs: ms / 2 }];
const orders = (count: number, askedMs = 0) =>
  Array.from({ length: count }, (_, index) => ({ id: `order-${index}`, askedMs }));

describe('what a pool needs', () => {
  test('nothing where nothing comes and nothing waits', () => {
    expect(decide({})).toMatchObject({ wanted: 0, change: 0 });
  });

  test('what arrives keeps as many machines busy, rounded up', () => {
    expect(decide({ arriving: 4 }).wanted).toBeGreaterThanOrEqual(4);
    expect(decide({ arriving: 4, running: 4 }).wanted).toBe(4);
    expect(decide({ arriving: 4.01, running: 6 }).wanted).toBe(5);
  });

  test('work that waits is to end within the target, run and load time together', () => {
    expect(decide({ waiting: waiting(60 * minute) }).wanted).toBe(6);
    expect(decide({ waiting: waiting(60 * minute) }, { targetDrainMs: 20 * minute }).wanted).toBe(3);
  });

  test('what machines do until new ones have started is not ordered for', () => {
    // The median start takes 10 min: six machines have done an hour of work by then.
    expect(decide({ waiting: waiting(60 * minute), running: 6 }).change).toBeLessThanOrEqual(0);
    expect(decide({ waiting: waiting(60 * minute), running: 3 })).toMatchObject({ wanted: 3, change: 0 });
    expect(decide({ waiting: waiting(60 * minute), running: 2 })).toMatchObject({ wanted: 4, change: 2 });
  });

  test('a machine stays where those that stay would ask for it again', () => {
    // Six end an hour of work before new ones start. Three would end the rest within the target, two would not.
    const decision = decide({ waiting: waiting(60 * minute), running: 6 });
    expect(decision).toMatchObject({ wanted: 3, change: -3 });
    expect(decision.reason).toContain('fewer than 3 would have to ask again');
  });

  test('what comes until new ones have started is ordered for', () => {
    // 10 min of lead bring 20 min of work, of which one machine does half.
    expect(decide({ arriving: 2, running: 1 }).wanted).toBe(3);
  });

  test('the slower machines start, the earlier they are asked for', () => {
    const slow = Array.from({ length: 20 }, () => 40 * minute);
    const quick = Array.from({ length: 20 }, () => minute);
    const demand = { arriving: 3, running: 2 };
    expect(decide({ ...demand, startUpsMs: slow }).wanted).toBe(7);
    expect(decide({ ...demand, startUpsMs: quick }).wanted).toBe(4);
  });

  test('the spare share comes on top, rounded up', () => {
    expect(decide({ arriving: 10, running: 10 }, { spareShare: 0.1 }).wanted).toBe(11);
    expect(decide({ arriving: 11, running: 12 }, { spareShare: 0.1 }).wanted).toBe(13);
  });
});

describe('machines on their way', () => {
  test('count as wanted: nothing is ordered twice', () => {
    const first = decide({ waiting: waiting(60 * minute) });
    expect(first.change).toBe(6);
    const second = decide({ waiting: waiting(60 * minute), starting: orders(6) });
    expect(second).toMatchObject({ wanted: 6, change: 0 });
  });

  test('that are nearly here have done some of the work when new ones would start', () => {
    const young = decide({ waiting: waiting(60 * minute), starting: orders(6, 9 * minute) }, {}, 9 * minute);
    const old = decide({ waiting: waiting(60 * minute), starting: orders(6) }, {}, 9 * minute);
    expect(old.wanted).toBeLessThan(young.wanted);
  });

  test('are given up after twice what nine of ten take, and ordered again', () => {
    // Of the assumed curve nine of ten take 40 min.
    const at = (ageMs: number) => decide({ arriving: 1, running: 0, starting: orders(1) }, {}, ageMs);
    expect(at(79 * minute).giveUp).toEqual([]);
    expect(at(80 * minute)).toMatchObject({ giveUp: ['order-0'], wanted: 2, change: 2 });
    const quick = Array.from({ length: 10 }, () => 6 * minute);
    const seen = decide({ arriving: 1, starting: orders(1), startUpsMs: quick }, {}, 12 * minute);
    expect(seen.giveUp).toEqual(['order-0']);
  });
});

describe('up at once, down late', () => {
  const step = (nowMs: number, arriving: number, running: number, memory: AutoscaleMemory) =>
    autoscale({ nowMs, pools: [{ ...idle, arriving, running }], memory }, rules);

  test('a lull keeps machines for the cool-down, counted from when they were needed last', () => {
    let { memory } = step(0, 5, 5, {});
    for (const atMs of [5, 10, 14].map((at) => at * minute)) {
      const lull = step(atMs, 2, 5, memory);
      expect(lull.pools[0]).toMatchObject({ wanted: 5, change: 0 });
      expect(lull.pools[0]?.reason).toContain('5 were needed within 15 min');
      memory = lull.memory;
    }
    expect(step(15 * minute, 2, 5, memory).pools[0]).toMatchObject({ wanted: 2, change: -3 });
  });

  test('more is wanted at once', () => {
    const { memory } = step(0, 2, 2, {});
    expect(step(minute, 6, 6, memory).pools[0]?.wanted).toBe(6);
  });

  test('without memory, as after a restart, a pool keeps what it has', () => {
    const first = step(0, 0, 7, {});
    expect(first.pools[0]).toMatchObject({ wanted: 7, change: 0 });
    expect(step(15 * minute, 0, 7, first.memory).pools[0]?.wanted).toBe(0);
  });

  test('what is remembered stays small: one entry per number, falling', () => {
    let memory: AutoscaleMemory = {};
    for (let at = 0; at < 500; at++) {
      ({ memory } = step(at * 1_000, (at * 7) % 11, 0, memory));
      const kept = (memory.standard ?? []).map(({ machines }) => machines);
      expect(kept).toEqual([...new Set(kept)].sort((a, b) => b - a));
    }
  });
});

describe('bounds', () => {
  const pools = (...needs: [string, number, number?][]) =>
    needs.map(([pool, machines, present = 0]) => ({ pool, machines, present }));
  const places = (asked: [string, number, number?][], bounds: Parameters<typeof withinBounds>[1]) =>
    Object.fromEntries(withinBounds(pools(...asked), bounds));

  test('of a pool come first, then those of all', () => {
    const each = { heavy: { min: 2, max: 4 }, standard: { min: 0, max: 100 } };
    expect(
      places(
        [
          ['heavy', 9],
          ['standard', 3],
        ],
        { min: 0, max: 100, pools: each },
      ),
    ).toEqual({
      heavy: 4,
      standard: 3,
    });
    expect(
      places(
        [
          ['heavy', 0],
          ['standard', 3],
        ],
        { min: 0, max: 100, pools: each },
      ),
    ).toEqual({
      heavy: 2,
      standard: 3,
    });
  });

  test('too few places are shared by need', () => {
    const shared = places(
      [
        ['fast-lane', 10],
        ['standard', 30],
      ],
      { min: 0, max: 20, pools: {} },
    );
    expect(shared).toEqual({ 'fast-lane': 5, standard: 15 });
  });

  test('where places are too few, every pool keeps first what it has and needs', () => {
    const limits = { min: 0, max: 20, pools: {} };
    expect(
      places(
        [
          ['heavy', 14, 12],
          ['standard', 60, 6],
        ],
        limits,
      ),
    ).toEqual({ heavy: 12, standard: 8 });
    expect(
      places(
        [
          ['heavy', 4, 12],
          ['standard', 60, 6],
        ],
        limits,
      ),
    ).toEqual({ heavy: 4, standard: 16 });
    // More are there than are allowed: the fewer are shared by need.
    expect(
      places(
        [
          ['heavy', 15, 15],
          ['standard', 15, 15],
        ],
        limits,
      ),
    ).toEqual({ heavy: 10, standard: 10 });
  });

  test('the least number of all is shared by need, and evenly where nothing is needed', () => {
    expect(
      places(
        [
          ['a', 0],
          ['b', 0],
          ['c', 0],
        ],
        { min: 6, max: 9, pools: {} },
      ),
    ).toEqual({
      a: 2,
      b: 2,
      c: 2,
    });
    expect(
      places(
        [
          ['a', 3],
          ['b', 0],
        ],
        { min: 6, max: 9, pools: { b: { min: 1, max: 9 } } },
      ),
    ).toEqual({
      a: 5,
      b: 1,
    });
  });

  test('rules that contradict themselves are named by field', () => {
    expect(ruleProblem(rules)).toBeNull();
    expect(ruleProblem({ min: 5, max: 4, pools: {} })?.field).toBe('max');
    expect(ruleProblem({ min: 0, max: 9, pools: { heavy: { min: 3, max: 2 } } })?.field).toBe(
      'pools.heavy.max',
    );
    const most = { min: 0, max: 5, pools: { a: { min: 3, max: 9 }, b: { min: 3, max: 9 } } };
    expect(ruleProblem(most)?.field).toBe('max');
  });
});

describe('anyone can see why', () => {
  test('the reason tells what arrives, what waits by class, the target, the spare and what is on its way', () => {
    const { reason } = decide(
      {
        arriving: 1.25,
        waiting: [
          { kind: 'image', jobs: 12, runMs: 8 * minute, loadMs: 4 * minute },
          { kind: 'llm', jobs: 3, runMs: 6_000, loadMs: 0 },
        ],
        starting: orders(1),
      },
      { spareShare: 0.1 },
    );
    expect(reason).toBe(
      '1.3 for what arrives; 2.5 to end in 10 min what will wait (now 12 image 12 min, 3 llm 6 s); 10 % spare; 1 on their way',
    );
  });

  test('it says when bounds and not needs decided', () => {
    expect(decide({ arriving: 9, running: 9 }, { max: 4 }).reason).toContain('no more than 4 by the bounds');
    expect(decide({}, { min: 3 }).reason).toContain('at least 3 by the bounds');
  });

  test('it says when a queue needs no machine', () => {
    const { reason } = decide({ waiting: waiting(minute), running: 3, arriving: 0.5 });
    expect(reason).toBe('0.5 for what arrives; what waits is done before a new one could start');
  });
});

const amount = fc.integer({ min: 0, max: 200 });
const demands = fc.record({
  waiting: fc.array(
    fc.record({
      kind: fc.constantFrom('llm', 'image', 'video'),
      jobs: amount,
      runMs: fc.integer({ min: 0, max: 600 * minute }),
      loadMs: fc.integer({ min: 0, max: 60 * minute }),
    }),
    { maxLength: 3 },
  ),
  arriving: fc.double({ min: 0, max: 120, noNaN: true }),
  running: fc.nat(60),
  starting: fc.array(fc.integer({ min: 0, max: 100 * minute }), { maxLength: 20 }),
  startUpsMs: fc.array(fc.integer({ min: 30_000, max: 80 * minute }), { maxLength: 30 }),
});
const names = ['fast-lane', 'standard', 'heavy'];
const fleets = fc.tuple(demands, demands, demands).map((three) =>
  three.map(
    (demand, index): PoolDemand => ({
      ...demand,
      pool: names[index] ?? '',
      starting: demand.starting.map((askedMs, order) => ({ id: `${order}`, askedMs })),
    }),
  ),
);
const bounds = fc
  .tuple(fc.nat(10), fc.nat(80), fc.array(fc.tuple(fc.nat(5), fc.nat(40)), { minLength: 3, maxLength: 3 }))
  .map(([min, more, each]) => {
    const pools = Object.fromEntries(
      each.map(([least, rest], index) => [names[index] ?? '', { min: least, max: least + rest }]),
    );
    const least = each.reduce((sum, [one]) => sum + one, 0);
    return { min, max: Math.max(min, least) + more, pools };
  });
const nowMs = 100 * minute;
const freshly = Object.fromEntries(names.map((name) => [name, []]));
const wantedOf = (pools: readonly PoolDemand[], given: AutoscaleRules) =>
  autoscale({ nowMs, pools, memory: freshly }, given).pools.map(({ wanted }) => wanted);
const sum = (list: readonly number[]) => list.reduce((total, one) => total + one, 0);

describe('whatever is asked', () => {
  test('the answer lies within the bounds', () => {
    fc.assert(
      fc.property(fleets, bounds, (pools, limits) => {
        const wanted = wantedOf(pools, { ...rules, ...limits });
        names.forEach((name, index) => {
          const { min, max } = limits.pools[name] ?? { min: 0, max: 0 };
          expect(wanted[index]).toBeGreaterThanOrEqual(min);
          expect(wanted[index]).toBeLessThanOrEqual(max);
        });
        expect(sum(wanted)).toBeLessThanOrEqual(limits.max);
        const reachable = sum(Object.values(limits.pools).map(({ max }) => max));
        expect(sum(wanted)).toBeGreaterThanOrEqual(Math.min(limits.min, reachable));
      }),
    );
  });

  test('more work in a pool never takes a machine from it, nor from the fleet', () => {
    fc.assert(
      fc.property(
        fleets,
        bounds,
        fc.integer({ min: 1, max: 300 * minute }),
        fc.nat(2),
        (pools, limits, more, at) => {
          const given = { ...rules, ...limits };
          const before = wantedOf(pools, given);
          const busier = pools.map((demand, index) =>
            index === at
              ? { ...demand, waiting: [...demand.waiting, { kind: 'more', jobs: 1, runMs: more, loadMs: 0 }] }
              : demand,
          );
          const after = wantedOf(busier, given);
          expect(after[at]).toBeGreaterThanOrEqual(before[at] ?? 0);
          expect(sum(after)).toBeGreaterThanOrEqual(sum(before));
        },
      ),
    );
  });

  test('wanted and change agree with what is there, and every reason is told', () => {
    fc.assert(
      fc.property(fleets, (pools) => {
        const { pools: decisions } = autoscale({ nowMs, pools, memory: freshly }, rules);
        decisions.forEach(({ wanted, change, giveUp, reason }, index) => {
          const { running = 0, starting = [] } = pools[index] ?? {};
          expect(wanted - change).toBe(running + starting.length - giveUp.length);
          expect(reason).not.toBe('');
        });
      }),
    );
  });
});
