import { z } from 'zod';
import { JobState } from './job.ts';
import { CustomerName, MachineId, PoolName, ServiceName } from './names.ts';

/** What may be done to many jobs at once, and from which states. */
export const bulkActions = {
  cancel: ['scheduled', 'held', 'waiting', 'leased'],
  requeue: ['failed', 'cancelled', 'dead'],
} as const;
export type BulkAction = keyof typeof bulkActions;

/** Bulk actions that may be under way at once. */
export const bulksLimit = 16;

const time = z.iso.datetime({ offset: true });

/** Which jobs: all conditions hold, and at least one is named. */
export const BulkFilter = z
  .strictObject({
    state: z.array(JobState).min(1).max(9).optional(),
    service: ServiceName.optional(),
    customer: CustomerName.optional(),
    pool: PoolName.optional(),
    machineId: MachineId.optional(),
    label: z.strictObject({ key: z.string().min(1).max(64), value: z.string().max(256) }).optional(),
    /** Of jobs submitted after, and before, these times, RFC 3339 with offset. */
    submittedAfter: time.optional(),
    submittedBefore: time.optional(),
  })
  .refine(
    (filter) => Object.keys(filter).length > 0,
    'name at least one condition: state, service, customer, …',
  );
export type BulkFilter = z.infer<typeof BulkFilter>;

/** What a client sends. */
export const BulkRequest = z.strictObject({
  action: z.enum(['cancel', 'requeue']),
  filter: BulkFilter,
  /** Only says how many jobs it would meet now. */
  dryRun: z.boolean().default(false),
});
export type BulkRequest = z.infer<typeof BulkRequest>;
export type BulkRequestInput = z.input<typeof BulkRequest>;

export type BulkState = 'running' | 'done' | 'aborted';

/** A bulk action as Records keep it and clients read it. Times are ms since 1970 by the hub's clock. */
export interface Bulk {
  id: string;
  action: BulkAction;
  filter: BulkFilter;
  state: BulkState;
  /** Jobs that it met when it began. Jobs that come to the filter later are none of its own. */
  matched: number;
  /** Jobs for which it was done. */
  done: number;
  /** Jobs that were in another state by the time that it came to them. */
  refused: number;
  actor: string;
  createdAtMs: number;
  updatedAtMs: number;
}
