import type { Rng } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { DayPlan, PlannedIncident, PlannedMachine } from '#simulations/day/plan.ts';
import { drawDiskRate } from '#simulations/reality/disks.ts';
import { drawGpuClass, type PoolName, poolNames } from '#simulations/reality/gpu-classes.ts';
import { drawLink } from '#simulations/reality/links.ts';
import { drawLifetimeMs, drawZombieMs, noticeMs, zombieStayMs } from '#simulations/reality/losses.ts';
import { orderDeadlineMs, startDelayMs } from '#simulations/reality/start-up.ts';
import { hourMs, wantedAt } from './arrivals.ts';
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
    const place = { scenario, supply, chance, pool, number, spanMs, rentals: 0 };
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
interface Place {
  scenario: Scenario;
  supply: Supply | null;
  chance: Rng;
  pool: PoolName;
  number: number;
  spanMs: number;
  rentals: number;
}

/** Rentals of one place, one after the other, from `fromMs` until it is scaled in or the day ends. */
function fillPlace(place: Place, machines: PlannedMachine[], [fromMs, untilMs]: [number, number]): void {
  // What is wanted as the day begins has been running; everything else is ordered ahead.
  let running = fromMs === 0;
  let askedMs = Math.max(0, fromMs - Math.round(place.scenario.fleet.leadMinutes * minute));
  while (askedMs < untilMs) {
    if (machines.length >= planLimits.rentals) throw tooManyRentals();
    const rental = drawRental(place, { askedMs, untilMs, running });
    if (rental === null) return;
    machines.push(rental);
    if (rental.startMs !== null && rental.ending !== 'lost') return;
    askedMs = (rental.away?.fromMs ?? rental.endMs) + noticeMs;
    running = false;
  }
}

interface Order {
  askedMs: number;
  /** The place is given up then. */
  untilMs: number;
  /** It was ordered before the day and runs as it begins. */
  running: boolean;
}

/** One rental, drawn whole whatever comes of it; null where the place is given up before it starts. */
function drawRental(place: Place, order: Order): PlannedMachine | null {
  const { scenario, pool } = place;
  const { fleet } = scenario;
  const chance = place.chance.fork('rental');
  const { gpu, vramMb, ramMb, diskBytes, speed, usdPerHour } = drawGpuClass(chance.fork('class'), pool);
  const link = drawLink(chance.fork('link'), fleet.linkFactor);
  const life = drawLife(place, order, { chance, downBytesPerMs: link.downBytesPerMs });
  if (life === null) return null;
  place.rentals++;
  return {
    id: `${pool}-${place.number + 1}-${place.rentals}`,
    askedMs: order.askedMs,
    ...withZombie(life, { place, chance: chance.fork('zombie') }),
    drainMs: Math.round(fleet.drainMinutes * minute),
    gpu,
    pool,
    vramMb,
    ramMb,
    diskBytes,
    speed,
    ...link,
    diskBytesPerMs: drawDiskRate(chance.fork('disk')),
    usdPerHour,
  };
}

type Life = Pick<PlannedMachine, 'startMs' | 'endMs' | 'ending'>;

/** When a rental starts and how it goes. A supply from a trace says when machines are to be had, and takes them. */
function drawLife(
  place: Place,
  { askedMs, untilMs, running }: Order,
  from: { chance: Rng; downBytesPerMs: number },
): Life | null {
  const { scenario, supply, spanMs } = place;
  const { imageGb, lostPerHour, earlyLossShare, undeliveredShare } = scenario.fleet;
  const start = from.chance.fork('start');
  const delivered = start.next() >= undeliveredShare || running;
  const { downBytesPerMs } = from;
  const delayMs = startDelayMs({ share: start.next(), imageBytes: imageGb * 1e9, downBytesPerMs });
  const hazard = { lostPerHour, earlyShare: running ? 0 : earlyLossShare };
  const lifetimeMs = drawLifetimeMs(from.chance.fork('life'), hazard);
  const readyMs = running ? 0 : Math.round(askedMs + delayMs);
  const window = supply?.window(place.number, readyMs) ?? { fromMs: readyMs, untilMs: readyMs + lifetimeMs };
  const startMs = Math.max(readyMs, Math.ceil(window.fromMs));
  if (!delivered || startMs - readyMs > orderDeadlineMs) {
    const endMs = askedMs + orderDeadlineMs;
    return endMs < untilMs ? { startMs: null, endMs, ending: 'scale-in' } : null;
  }
  if (startMs >= untilMs) return null;
  const lostMs = Math.max(startMs + 1, Math.round(window.untilMs));
  if (lostMs < untilMs) return { startMs, endMs: lostMs, ending: 'lost' };
  return { startMs, endMs: untilMs, ending: untilMs === spanMs ? 'stays' : 'scale-in' };
}

/** A lost machine that comes back within the day lives on, unheard, until then. */
function withZombie(
  life: Life,
  { place: { scenario, spanMs }, chance }: { place: Place; chance: Rng },
): Life & Pick<PlannedMachine, 'away'> {
  const { zombieShare, zombieAwayMinutes } = scenario.fleet;
  const awayMs = drawZombieMs(chance, { share: zombieShare, meanAwayMs: zombieAwayMinutes * minute });
  const { endMs: fromMs } = life;
  if (life.ending !== 'lost' || awayMs === null || fromMs + awayMs >= spanMs) return { ...life, away: null };
  const untilMs = fromMs + awayMs;
  return { ...life, endMs: untilMs + zombieStayMs, away: { fromMs, untilMs } };
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
