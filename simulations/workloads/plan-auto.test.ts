import { describe, expect, test } from 'vitest';
import { EmpError } from '#protocol/errors.ts';
import type { AutoPlan, DayPlan } from '#simulations/day/plan.ts';
import { poolNames } from '#simulations/reality/gpu-classes.ts';
import { scenarioNamed, scenarios } from './builtin-scenarios.ts';
import { nthRental } from './plan-auto.ts';
import { planDay } from './plan-day.ts';
import { planLimits, Scenario, type ScenarioInput } from './scenario.ts';

const minute = 60_000;
const planOf = (fleet: ScenarioInput['fleet'], traces: Parameters<typeof planDay>[0]['traces'] = []) =>
  planDay({
    scenario: Scenario.parse({ name: 'auto', fleet, jobs: { count: 10 } }),
    seed: 1,
    load: 1,
    traces,
  });
function autoOf({ auto }: DayPlan): AutoPlan {
  if (auto === undefined) throw new Error('the fleet is a script');
  return auto;
}
const recipeOf = (fleet: ScenarioInput['fleet'] = {}) => autoOf(planOf({ ...fleet, auto: {} })).rentals;
const running = { askedMs: 0, running: true };
const count = ({ machines }: DayPlan, pool: string) => machines.filter((one) => one.pool === pool).length;

describe('a plan without a script of machines', () => {
  test('only day-auto has one; every other scenario is a script', () => {
    for (const { name, scenario } of scenarios)
      expect(planDay({ scenario, seed: 1, load: 0.01 }).auto === undefined).toBe(name !== 'day-auto');
  });

  test('it holds the jobs of the day, and the machines that are wanted at hour 0', () => {
    const plan = planDay({ scenario: scenarioNamed('day-auto'), seed: 1, load: 0.1 });
    expect(plan.jobs).toEqual(planDay({ scenario: scenarioNamed('day'), seed: 1, load: 0.1 }).jobs);
    expect(poolNames.map((pool) => count(plan, pool))).toEqual([2, 5, 3]);
    expect(plan.machines.every(({ startMs }) => startMs === 0)).toBe(true);
    expect(plan.wanted).toEqual([{ atMs: 0, machines: 10 }]);
  });

  test('what runs as the day begins is within the bounds', () => {
    expect(planOf({ auto: { min: 15, max: 20 } }).machines).toHaveLength(15);
    expect(planOf({ auto: { min: 3, max: 4 } }).machines).toHaveLength(4);
    const heavy = planOf({ auto: { pools: { heavy: { min: 4 }, standard: { max: 2 } } } });
    expect(count(heavy, 'heavy')).toBe(4);
    expect(count(heavy, 'standard')).toBe(2);
  });

  test('every card that may be rented is known beforehand', () => {
    const { kinds } = autoOf(planOf({ auto: {} }));
    expect(new Set(kinds.map(({ pool }) => pool))).toEqual(new Set(poolNames));
    expect(new Set(kinds.map(({ gpu }) => gpu)).size).toBe(kinds.length);
  });

  test('until start-ups were seen the published curve is assumed', () => {
    const { startPriorMs } = autoOf(planOf({ auto: {} })).rules;
    expect(startPriorMs).toEqual(startPriorMs.toSorted((a, b) => a - b));
    expect(startPriorMs[4]).toBeGreaterThan(8 * minute);
    expect(startPriorMs[4]).toBeLessThan(10 * minute);
    const large = autoOf(planOf({ imageGb: 20, auto: {} })).rules.startPriorMs;
    expect(large[0]).toBeGreaterThan(startPriorMs[0] ?? 0);
  });

  test('seconds of the scenario are the ms of the rules', () => {
    const { rules, everyMs, arrivalsMs } = autoOf(
      planOf({ auto: { targetDrainS: 30, coolDownS: 90, everyS: 5, arrivalsS: 60 } }),
    );
    expect({ everyMs, arrivalsMs }).toEqual({ everyMs: 5_000, arrivalsMs: 60_000 });
    expect(rules).toMatchObject({ targetDrainMs: 30_000, coolDownMs: 90_000 });
  });
});

describe('the n-th rental of a pool', () => {
  const order = { pool: 'standard', nth: 7, askedMs: 0, running: false } as const;

  test('is the same machine whenever it is asked for, and starts as much later', () => {
    const now = nthRental(recipeOf(), order);
    const later = nthRental(recipeOf(), { ...order, askedMs: 3 * 60 * minute });
    const { askedMs, startMs, endMs, ...traits } = now;
    expect(later).toMatchObject({ ...traits, askedMs: 3 * 60 * minute });
    expect((later.startMs ?? 0) - later.askedMs).toBe((startMs ?? 0) - askedMs);
    expect(endMs).toBeGreaterThan(startMs ?? 0);
  });

  test('is another one than its neighbours, and than that of another pool or seed', () => {
    const recipe = recipeOf();
    const links = [
      nthRental(recipe, order),
      nthRental(recipe, { ...order, nth: 8 }),
      nthRental(recipe, { ...order, pool: 'heavy' }),
      nthRental({ ...recipe, seed: 2 }, order),
    ].map(({ downBytesPerMs }) => downBytesPerMs);
    expect(new Set(links).size).toBe(4);
  });

  test('some are never delivered, some are lost within half an hour, as the traits say', () => {
    const many = (fleet: ScenarioInput['fleet']) => {
      const recipe = recipeOf(fleet);
      return Array.from({ length: 400 }, (_, index) => nthRental(recipe, { ...order, nth: index + 1 }));
    };
    const never = many({ undeliveredShare: 0.5 }).filter(({ startMs }) => startMs === null).length;
    expect(never).toBeGreaterThan(150);
    expect(never).toBeLessThan(250);
    expect(many({ undeliveredShare: 0 }).some(({ startMs }) => startMs === null)).toBe(false);
    const early = many({ earlyLossShare: 1, undeliveredShare: 0 });
    expect(early.every(({ startMs, endMs }) => endMs - (startMs ?? 0) <= 30 * minute)).toBe(true);
    const calm = many({ earlyLossShare: 0, lostPerHour: 0, undeliveredShare: 0 });
    expect(calm.every(({ ending }) => ending === 'stays')).toBe(true);
  });

  test('one that runs as the day begins runs at 0', () => {
    expect(nthRental(recipeOf({ undeliveredShare: 0.9 }), { ...order, ...running }).startMs).toBe(0);
  });

  test('follows a spot trace where there is one: lane after lane', () => {
    const lanes = [{ lengthMs: 48 * 60 * minute, alive: [{ fromMs: 0, untilMs: 47 * 60 * minute }] }];
    const recipe = autoOf(planOf({ auto: {} }, [{ kind: 'spot', file: 'spot.csv', lanes }])).rentals;
    const machine = nthRental({ ...recipe, lanes: { lanes, offsetMs: 0 } }, { ...order, ...running });
    expect(machine).toMatchObject({ startMs: 0, endMs: 47 * 60 * minute, ending: 'lost' });
    expect(recipe.lanes?.lanes).toEqual(lanes);
  });

  test('a day has an end of them', () => {
    const beyond = { ...order, nth: planLimits.rentals + 1 };
    expect(() => nthRental(recipeOf(), beyond)).toThrow(EmpError);
    expect(() => nthRental(recipeOf(), beyond)).toThrow('fleet.auto.max');
  });
});
