import { z } from 'zod';
import { CustomerName, ModelId, nameForm, PoolName } from './names.ts';

/** Limits that may be kept at once. */
export const limitsLimit = 1_000;
/** Stands for every customer, each on its own. */
export const everyCustomer = '*';

export const LimitName = nameForm('a limit name', 64);

/**
 * How much of some work may be under way: what a client sends. All that are named of `customer`, `pool`
 * and `model` must hold for a job to be counted. Unknown fields are refused, by name.
 */
export const LimitDefinition = z
  .strictObject({
    /** One customer, or `*`: every customer, each on its own. */
    customer: z.union([z.literal(everyCustomer), CustomerName]).optional(),
    pool: PoolName.optional(),
    /** Jobs whose base model is this one. */
    model: ModelId.optional(),
    /** Jobs that machines may be given or run at once; 0 = none is begun. */
    concurrent: z.int().min(0).max(1_000_000).optional(),
    /** Jobs that may be let in per minute; a tenth of a minute's share may come at once. */
    perMinute: z.int().min(1).max(600_000).optional(),
    /** Jobs that may be accepted and not begun at once; a submission beyond is refused. 0 = none is accepted. */
    waiting: z.int().min(0).max(1_000_000).optional(),
    /** In words, for people. */
    reason: z.string().max(500).default(''),
  })
  .refine(({ customer, pool, model }) => (customer ?? pool ?? model) !== undefined, {
    error: 'a limit names a customer (or `*`, each customer on its own), a pool or a model',
  })
  .refine(({ concurrent, perMinute, waiting }) => (concurrent ?? perMinute ?? waiting) !== undefined, {
    error: 'a limit has `concurrent`, `perMinute`, `waiting` or several of them',
  });
export type LimitDefinition = z.infer<typeof LimitDefinition>;
export type LimitDefinitionInput = z.input<typeof LimitDefinition>;

/** As Records keep it and clients read it. Times are ms since 1970 by the hub's clock. */
export interface Limit extends LimitDefinition {
  name: string;
  /** Who wrote it last. */
  actor: string;
  createdAtMs: number;
  updatedAtMs: number;
}

/** Whether it keeps jobs from being begun: one that has `waiting` alone only refuses them. */
export function holdsBack({ concurrent, perMinute }: LimitDefinition): boolean {
  return (concurrent ?? perMinute) !== undefined;
}

/** A limit that refuses what would make more wait than it allows. */
export type WaitingLimit = Limit & { waiting: number };
export const refusesBeyond = (limit: Limit): limit is WaitingLimit => limit.waiting !== undefined;

/** Some jobs, by what limits look at; null = any. */
export interface CountedWork {
  customer: string | null;
  pool: string | null;
  model: string | null;
}

/** What limits look at in a job. `model` is its base model, `-` without one. */
export interface LimitedWork {
  customer: string;
  pool: string;
  model: string;
}

/** Whether the limit counts this work. */
export function covers(limit: LimitDefinition, work: LimitedWork): boolean {
  const { customer, pool, model } = limit;
  return (
    (customer === undefined || customer === everyCustomer || customer === work.customer) &&
    (pool === undefined || pool === work.pool) &&
    (model === undefined || model === work.model)
  );
}

/** What the limit counts together with this work. */
export function countedWith(limit: LimitDefinition, work: LimitedWork): CountedWork {
  const { customer, pool = null, model = null } = limit;
  return { customer: customer === undefined ? null : work.customer, pool, model };
}

/** Names what is counted together: jobs of one key take each other's room. */
export function limitKey(limit: LimitDefinition & { name: string }, work: LimitedWork): string {
  return limit.customer === everyCustomer ? `${limit.name}/${work.customer}` : limit.name;
}
