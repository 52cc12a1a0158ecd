import type { Rng } from '#protocol/env.ts';

export interface Hazard {
  /** Of a machine that survived its first half hour, per hour. */
  lostPerHour: number;
  /** Share of new machines that are gone within half an hour. */
  earlyShare: number;
}

const hourMs = 3_600_000;
const earlyMs = hourMs / 2;

/**
 * SALAD at high priority, 100 instances for 7 days: 1.1 losses per hour, mean uptime 60 h, of the interrupted
 * ones 35 h. Most losses fell on the first day (45, later under 15 a day), hence the early share, which the
 * routing prototype put at 8 %. Lower priorities have no published figure.
 */
export const saladHazard: Hazard = { lostPerHour: 0.011, earlyShare: 0.08 };

/**
 * How long a machine lives until the provider takes it, ms; `Infinity` where it never does. Always three
 * draws, so that another hazard changes no other figure of the machine.
 */
export function drawLifetimeMs(rng: Rng, hazard: Hazard): number {
  const early = rng.next();
  const within = rng.next();
  const later = rng.next();
  if (early < hazard.earlyShare) return Math.max(1, within * earlyMs);
  if (hazard.lostPerHour === 0) return Infinity;
  return Math.max(1, (-Math.log(1 - later) / hazard.lostPerHour) * hourMs);
}

export interface ZombieModel {
  /** Of machines that count as lost. */
  share: number;
  /** Mean time for which nobody hears of one, ms. */
  meanAwayMs: number;
}

/** What a zombie has left when it is back: the provider sees two where one was asked for; an assumption. */
export const zombieStayMs = 15 * 60_000;

/**
 * SALAD documents nodes that were cut off and run on beside their replacement, and more running than asked
 * for, but no rate. Answers when one that counts as lost is back, ms from its loss; null where it is really
 * gone. Always two draws.
 */
export function drawZombieMs(rng: Rng, { share, meanAwayMs }: ZombieModel): number | null {
  const isOne = rng.next() < share;
  const awayMs = Math.max(1, Math.round(-Math.log(1 - rng.next()) * meanAwayMs));
  return isOne ? awayMs : null;
}

/**
 * Orders that are accepted and never start. SALAD's test had running / requested at 94 % at worst and above
 * 99 % on average, vast.ai's documents call stuck orders common; 2 % is an assumption between the two.
 */
export const undeliveredShare = 0.02;

/** From a loss to the order that replaces it, ms: two missed polls of half a minute; an assumption. */
export const noticeMs = 60_000;
