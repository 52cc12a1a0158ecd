import { z } from 'zod';
import type { Rng } from '#protocol/env.ts';
import { everyCustomer, LimitDefinition, LimitName } from '#protocol/limit.ts';
import { chaosCustomers } from './chaos-fleet.ts';
import { pick } from './seeded-rng.ts';
import type { World } from './world.ts';
import { stockModels } from './world-stock.ts';

/** An operator sets a limit on what may wait, changes it (the same name again), or with null removes it. */
export const WaitingStep = z.strictObject({
  /** Since the beginning of the run, ms. */
  atMs: z.int().min(0).max(3_600_000),
  name: LimitName,
  definition: LimitDefinition.refine(({ waiting }) => waiting !== undefined, {
    error: 'a limit on what may wait has `waiting`',
  }).nullable(),
});
export type WaitingStep = z.input<typeof WaitingStep>;

/** This share of the seeds has such limits, one to three of them. */
const share = 0.5;
const limitsMost = 3;

/** Few enough that jobs are refused: of one customer, of each, of a pool or a model, or of two of these. */
function drawDefinition(rng: Rng): LimitDefinition {
  const [kind, two] = [rng.next(), rng.next() < 0.3];
  const customer = pick(rng, [...chaosCustomers, everyCustomer, everyCustomer] as const);
  const pool = pick(rng, ['fast-lane', 'standard'] as const);
  const model = pick(rng, stockModels.slice(0, 3));
  return {
    ...(kind < 0.5 || two ? { customer } : {}),
    ...(kind >= 0.5 && kind < 0.8 ? { pool } : {}),
    ...(kind >= 0.8 ? { model } : {}),
    ...(rng.next() < 0.15 ? { concurrent: rng.int(1, 6) } : {}),
    ...drawNumber(rng),
    reason: '',
  };
}

/** Now and then nothing may wait, which sends clients away for good. */
const drawNumber = (rng: Rng) => ({ waiting: rng.next() < 0.1 ? 0 : rng.int(1, 12) });

/** What an operator does in one run, in order of time; nothing in most. Each limit has a stream of its own. */
export function drawWaiting(rng: Rng, { spanMs }: { spanMs: number }): WaitingStep[] {
  if (rng.next() >= share) return [];
  const count = rng.int(1, limitsMost);
  const steps = Array.from({ length: count }, (_, index): WaitingStep[] => {
    const own = rng.fork('limit');
    const name = `waiting-${index + 1}`;
    const definition = drawDefinition(own);
    const [fromMs, changes, goes] = [
      own.int(0, Math.round(0.6 * spanMs)),
      own.next() < 0.5,
      own.next() < 0.7,
    ];
    const [changeMs, goMs] = [own.int(fromMs, spanMs), own.int(fromMs, spanMs)];
    const other = { ...definition, ...drawNumber(own) };
    return [
      { atMs: fromMs, name, definition },
      ...(changes ? [{ atMs: changeMs, name, definition: other }] : []),
      // What was changed after it had gone stays until the heal.
      ...(goes ? [{ atMs: goMs, name, definition: null }] : []),
    ];
  });
  return steps.flat().sort((a, b) => a.atMs - b.atMs);
}

/** Makes the operator do it, until the heal: that removes every limit, whoever set it. */
export function armWaiting(world: World, steps: readonly WaitingStep[]): void {
  for (const { atMs, name, definition } of steps)
    world.clock.setTimeout(() => {
      if (!world.calm) world.limit(name, definition === null ? null : LimitDefinition.parse(definition));
    }, atMs);
}
