import type { Rng } from '#protocol/env.ts';
import type { PlannedMachine, RentalTraits } from '#simulations/day/plan.ts';
import { drawDiskRate } from '#simulations/reality/disks.ts';
import { drawGpuClass, type PoolName } from '#simulations/reality/gpu-classes.ts';
import { drawLink } from '#simulations/reality/links.ts';
import { drawLifetimeMs, drawZombieMs, zombieStayMs } from '#simulations/reality/losses.ts';
import { orderDeadlineMs, startDelayMs } from '#simulations/reality/start-up.ts';
import type { Supply } from './supply.ts';

const minute = 60_000;

/** From where rentals are drawn one after the other; each takes a stream of its own, so that none moves the next. */
export interface RentalSource {
  traits: RentalTraits;
  supply: Supply | null;
  chance: Rng;
  pool: PoolName;
  /** Which lane of a supply it follows. */
  number: number;
  /** Who is wanted until then outlives the day, ms. */
  horizonMs: number;
}

/** When a machine is asked for, and until when it is wanted. */
interface Order {
  askedMs: number;
  /** The place is given up then. */
  untilMs: number;
  /** It was ordered before the day and runs as it begins. */
  running: boolean;
}

/** One rental, drawn whole whatever comes of it; null where the place is given up before it starts. */
export function drawRental(source: RentalSource, order: Order): Omit<PlannedMachine, 'id'> | null {
  const { traits, pool } = source;
  const chance = source.chance.fork('rental');
  const { gpu, vramMb, ramMb, diskBytes, speed, usdPerHour } = drawGpuClass(chance.fork('class'), pool);
  const link = drawLink(chance.fork('link'), traits.linkFactor);
  const life = drawLife(source, order, { chance, downBytesPerMs: link.downBytesPerMs });
  if (life === null) return null;
  return {
    askedMs: order.askedMs,
    ...withZombie(life, source, chance.fork('zombie')),
    drainMs: Math.round(traits.drainMinutes * minute),
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
  { traits, supply, number, horizonMs }: RentalSource,
  { askedMs, untilMs, running }: Order,
  from: { chance: Rng; downBytesPerMs: number },
): Life | null {
  const { imageGb, lostPerHour, earlyLossShare, undeliveredShare } = traits;
  const start = from.chance.fork('start');
  const delivered = start.next() >= undeliveredShare || running;
  const { downBytesPerMs } = from;
  const delayMs = startDelayMs({ share: start.next(), imageBytes: imageGb * 1e9, downBytesPerMs });
  const hazard = { lostPerHour, earlyShare: running ? 0 : earlyLossShare };
  const lifetimeMs = drawLifetimeMs(from.chance.fork('life'), hazard);
  const readyMs = running ? 0 : Math.round(askedMs + delayMs);
  const window = supply?.window(number, readyMs) ?? { fromMs: readyMs, untilMs: readyMs + lifetimeMs };
  const startMs = Math.max(readyMs, Math.ceil(window.fromMs));
  if (!delivered || startMs - readyMs > orderDeadlineMs) {
    const endMs = askedMs + orderDeadlineMs;
    return endMs < untilMs ? { startMs: null, endMs, ending: 'scale-in' } : null;
  }
  if (startMs >= untilMs) return null;
  const lostMs = Math.max(startMs + 1, Math.round(window.untilMs));
  if (lostMs < untilMs) return { startMs, endMs: lostMs, ending: 'lost' };
  return { startMs, endMs: untilMs, ending: untilMs === horizonMs ? 'stays' : 'scale-in' };
}

/** A lost machine that comes back within the day lives on, unheard, until then. */
function withZombie(
  life: Life,
  { traits, horizonMs }: RentalSource,
  chance: Rng,
): Life & Pick<PlannedMachine, 'away'> {
  const { zombieShare, zombieAwayMinutes } = traits;
  const awayMs = drawZombieMs(chance, { share: zombieShare, meanAwayMs: zombieAwayMinutes * minute });
  const { endMs: fromMs } = life;
  if (life.ending !== 'lost' || awayMs === null || fromMs + awayMs >= horizonMs)
    return { ...life, away: null };
  const untilMs = fromMs + awayMs;
  return { ...life, endMs: untilMs + zombieStayMs, away: { fromMs, untilMs } };
}
