import type { Rng } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { DayPlan, PlannedIncident, PlannedMachine } from '#simulations/day/plan.ts';
import { type PoolName, poolNames } from '#simulations/reality/gpu-classes.ts';
import { noticeMs } from '#simulations/reality/losses.ts';
import { hourMs, wantedAt } from './arrivals.ts';
import { drawRental, type RentalSource } from './plan-rental.ts';
import { planLimits, type Scenario } from './scenario.ts';
import type { Supply } from './supply.ts';

const minute = 60_000;

type Fleet = Pick<DayPlan, 'machines' | 'wanted' | 'incidents'>;

/**
 * The rentals of a day. Capacity is scripted: it follows the number wanted and never the queue, so that every
 * policy meets the same machines. The number wanted is a stack of places; a place has one pool for good, is
 * filled while the stack is higher than it, and is filled again when its machine is lost. Each rental draws from
 * a stream of its own: without losses the same machines stand in the places, only longer.
 */
export function drawFleet(rng: Rng, scenario: Scenario, supply: Supply | null): Fleet {
  const steps = wantedSteps(scenario);
  const spanMs = Math.round(scenario.spanHours * hourMs);
  const machines: PlannedMachine[] = [];
  const pools = poolOfPlaces(scenario.fleet.pools, Math.max(...steps.map((step) => step.machines)));
  for (const [number, pool] of pools.entries()) {
    const chance = rng.fork(`place ${number}`);
    const { fleet } = scenario;
    const leadMs = Math.round(fleet.leadMinutes * minute);
    const place = { traits: fleet, supply, chance, pool, number, horizonMs: spanMs, leadMs, rentals: 0 };
    for (const span of filledSpans(steps, number, spanMs)) fillPlace(place, machines, span);
  }
  machines.sort((a, b) => a.askedMs - b.askedMs || (a.id < b.id ? -1 : 1));
  return { machines, wanted: steps, incidents: incidentsOf(machines, steps, spanMs) };
}

/** How many machines are wanted from when on, spares included; only steps that change the number. */
function wantedSteps({ fleet, spanHours }: Scenario): DayPlan['wanted'] {
  const steps: DayPlan['wanted'] = [];
  const spanMs = Math.round(spanHours * hourMs);
  for (let step = 0; ; step++) {
    const atMs = Math.round(step * fleet.stepMinutes * minute);
    if (atMs >= spanMs) return steps;
    const machines = Math.round(wantedAt(fleet.wanted, atMs / hourMs) * (1 + fleet.spareShare));
    if (steps.at(-1)?.machines !== machines) steps.push({ atMs, machines });
  }
}

/**
 * The pool of each place by Webster's method: the next place goes to the pool with the highest share per
 * place it would have. No pool ever loses a place while the fleet grows, which rounding of shares would allow.
 */
export function poolOfPlaces(shares: Record<PoolName, number>, places: number): PoolName[] {
  const filled: Record<PoolName, number> = { 'fast-lane': 0, standard: 0, heavy: 0 };
  const claim = (pool: PoolName) => shares[pool] / (2 * filled[pool] + 1);
  return Array.from({ length: places }, () => {
    const pool = poolNames.reduce((best, one) => (claim(one) > claim(best) ? one : best));
    filled[pool]++;
    return pool;
  });
}

/** Spans in which the stack is higher than `place`. */
function filledSpans(steps: DayPlan['wanted'], place: number, spanMs: number): [number, number][] {
  const spans: [number, number][] = [];
  let fromMs: number | null = null;
  for (const { atMs, machines } of steps) {
    if (machines > place) fromMs ??= atMs;
    else if (fromMs !== null) {
      spans.push([fromMs, atMs]);
      fromMs = null;
    }
  }
  if (fromMs !== null) spans.push([fromMs, spanMs]);
  return spans;
}

/** A place of the stack, and what fills it. */
interface Place extends RentalSource {
  leadMs: number;
  rentals: number;
}

/** Rentals of one place, one after the other, from `fromMs` until it is scaled in or the day ends. */
function fillPlace(place: Place, machines: PlannedMachine[], [fromMs, untilMs]: [number, number]): void {
  // What is wanted as the day begins has been running; everything else is ordered ahead.
  let running = fromMs === 0;
  let askedMs = Math.max(0, fromMs - place.leadMs);
  while (askedMs < untilMs) {
    if (machines.length >= planLimits.rentals) throw tooManyRentals();
    const drawn = drawRental(place, { askedMs, untilMs, running });
    if (drawn === null) return;
    const rental = { id: `${place.pool}-${place.number + 1}-${++place.rentals}`, ...drawn };
    machines.push(rental);
    if (rental.startMs !== null && rental.ending !== 'lost') return;
    askedMs = (rental.away?.fromMs ?? rental.endMs) + noticeMs;
    running = false;
  }
}

function tooManyRentals(): EmpError {
  return new EmpError('VALIDATION_FAILED', {
    detail: `the fleet needs more than ${planLimits.rentals} rentals: lower fleet.lostPerHour, fleet.earlyLossShare or the machines wanted, or shorten the span`,
  });
}

function incidentsOf(
  machines: PlannedMachine[],
  steps: DayPlan['wanted'],
  spanMs: number,
): PlannedIncident[] {
  const incidents: PlannedIncident[] = steps.map(({ atMs, machines: wanted }) => ({
    atMs,
    kind: 'wanted',
    what: String(wanted),
  }));
  for (const { id, startMs, endMs, ending, away } of machines) {
    if (startMs === null) incidents.push({ atMs: endMs, kind: 'not delivered', what: id });
    else if (away !== null) {
      incidents.push({ atMs: away.fromMs, kind: 'lost', what: id });
      incidents.push({ atMs: away.untilMs, kind: 'back', what: id });
    } else if (ending !== 'stays') incidents.push({ atMs: endMs, kind: ending, what: id });
  }
  return incidents.filter(({ atMs }) => atMs < spanMs).sort((a, b) => a.atMs - b.atMs);
}
