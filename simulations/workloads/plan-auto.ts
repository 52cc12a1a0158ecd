import assert from 'node:assert/strict';
import { withinBounds } from '#machines/policy/autoscale.ts';
import { EmpError } from '#protocol/errors.ts';
import type { AutoPlan, DayPlan, PlannedMachine, RentalRecipe } from '#simulations/day/plan.ts';
import { gpuClasses, type PoolName, poolNames } from '#simulations/reality/gpu-classes.ts';
import { startDelayMs } from '#simulations/reality/start-up.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { hourMs, wantedAt } from './arrivals.ts';
import { poolOfPlaces } from './plan-fleet.ts';
import { drawRental } from './plan-rental.ts';
import { planLimits, type Scenario } from './scenario.ts';
import { supplyOf } from './supply.ts';

type Auto = NonNullable<Scenario['fleet']['auto']>;

/** A day is played on for some hours where jobs are left; machines live longer than that. */
const beyondDayMs = 24 * hourMs;

/** Shares of the published start-up curve that the autoscaler assumes until it has seen some. */
const priorShares = [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95];
/** Mean rate of a link, bytes per ms: the image that is larger than the tested one is pulled over it. */
const priorBytesPerMs = 49_000;

/**
 * A fleet that is not scripted: the machines that the script wants at hour 0 run as the day begins, within
 * the bounds, and how everything else is rented.
 */
export function autoFleet(options: {
  scenario: Scenario;
  auto: Auto;
  seed: number;
  lanes: RentalRecipe['lanes'];
}): Pick<DayPlan, 'machines' | 'wanted' | 'incidents'> & { auto: AutoPlan } {
  const { scenario, auto, seed, lanes } = options;
  const { fleet } = scenario;
  const horizonMs = Math.round(scenario.spanHours * hourMs) + beyondDayMs;
  const { imageGb, lostPerHour, earlyLossShare, zombieShare, zombieAwayMinutes } = fleet;
  const { undeliveredShare, drainMinutes, linkFactor } = fleet;
  const rentals: RentalRecipe = {
    seed,
    horizonMs,
    traits: {
      imageGb,
      lostPerHour,
      earlyLossShare,
      zombieShare,
      zombieAwayMinutes,
      undeliveredShare,
      drainMinutes,
      linkFactor,
    },
    lanes,
  };
  const places = poolOfPlaces(fleet.pools, Math.round(wantedAt(fleet.wanted, 0)));
  const first = poolNames.map((pool) => ({
    pool,
    machines: places.filter((one) => one === pool).length,
    present: 0,
  }));
  const bounded = withinBounds(first, auto);
  const machines = poolNames.flatMap((pool) =>
    Array.from({ length: bounded.get(pool) ?? 0 }, (_, index) =>
      nthRental(rentals, { pool, nth: index + 1, askedMs: 0, running: true }),
    ),
  );
  return {
    machines,
    wanted: [{ atMs: 0, machines: machines.length }],
    incidents: [],
    auto: {
      rules: rulesOf(auto, imageGb),
      everyMs: Math.round(auto.everyS * 1_000),
      arrivalsMs: Math.round(auto.arrivalsS * 1_000),
      kinds: poolNames.flatMap((pool) => gpuClasses[pool].map((card) => ({ pool, ...card }))),
      rentals,
    },
  };
}

function rulesOf(auto: Auto, imageGb: number): AutoPlan['rules'] {
  const { min, max, pools, spareShare } = auto;
  return {
    min,
    max,
    pools,
    spareShare,
    targetDrainMs: Math.round(auto.targetDrainS * 1_000),
    coolDownMs: Math.round(auto.coolDownS * 1_000),
    startPriorMs: priorShares.map((share) =>
      Math.round(startDelayMs({ share, imageBytes: imageGb * 1e9, downBytesPerMs: priorBytesPerMs })),
    ),
  };
}

/**
 * The n-th machine (1-based) that is rented of a pool: its card, link, disk, start and end follow from the
 * recipe, the pool and the number alone, so that equal decisions give equal fleets, and a policy that asks
 * for fewer meets the same ones first. Throws `VALIDATION_FAILED` beyond the rentals that a day may have.
 */
export function nthRental(
  recipe: RentalRecipe,
  order: { pool: PoolName; nth: number; askedMs: number; running: boolean },
): PlannedMachine {
  const { seed, traits, lanes, horizonMs } = recipe;
  const { pool, nth, askedMs, running } = order;
  if (nth > planLimits.rentals)
    throw new EmpError('VALIDATION_FAILED', {
      detail: `more than ${planLimits.rentals} machines of ${pool} were rented: lower fleet.lostPerHour, fleet.earlyLossShare or fleet.auto.max, or shorten the span`,
      fields: { field: 'fleet.auto' },
    });
  const drawn = drawRental(
    {
      traits,
      supply: lanes === null ? null : supplyOf(lanes.lanes, lanes.offsetMs),
      chance: seededRng(seed).fork(`rental ${pool} ${nth}`),
      pool,
      number: nth - 1,
      horizonMs,
    },
    { askedMs, untilMs: horizonMs, running },
  );
  assert(drawn !== null, `${pool} was asked for at ${askedMs} ms, beyond the horizon of ${horizonMs} ms`);
  return { id: `${pool}-${nth}`, ...drawn };
}
