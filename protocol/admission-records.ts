import type { Job } from './job.ts';
import type { CountedWork, Limit, LimitDefinition, LimitedWork } from './limit.ts';

/** The part of Records that keeps limits, and lets held jobs in by them. */
export interface AdmissionRecords {
  /**
   * Saves a limit; one of this name keeps when it was made. What it names and runs, as far as that is
   * recorded, counts from now on. Throws CONFLICT beyond `limitsLimit`.
   */
  putLimit(options: {
    name: string;
    definition: LimitDefinition;
    actor: string;
    nowMs: number;
  }): Promise<Limit>;
  /** False where there is none of that name. */
  removeLimit(options: { name: string; actor: string; nowMs: number }): Promise<boolean>;
  /** By name. */
  listLimits(): Promise<Limit[]>;
  /**
   * What is held, by what limits look at, at most `limit` of them (1 to 1 000) in order of customer, pool
   * and model, after `after`; and what counts as let in by limits: jobs that wait or run.
   */
  admissionView(options: { after: LimitedWork | null; limit: number; nowMs: number }): Promise<{
    held: LimitedWork[];
    admitted: (LimitedWork & { count: number })[];
    /** When the next held job may be tried again, of those whose time has not come, ms since 1970. */
    nextDueMs: number | null;
  }>;
  /**
   * Lets in as many held jobs of this customer, pool and model, at most `limit` (1 to 500), as every limit
   * that covers them and every pause of the customer has room for: highest priority first, then oldest.
   * Exact whatever hubs do at once: those that count together take turns. `nextAtMs`: when a rate has room
   * again, null where it has, or no rate stands in the way. `isFull`: a limit or a pause left no room at all.
   */
  admitJobs(
    options: LimitedWork & { limit: number; actor: string; nowMs: number },
  ): Promise<{ jobs: Job[]; nextAtMs: number | null; isFull: boolean }>;
  /**
   * How many jobs of each kind are accepted and not begun (scheduled, held and waiting), counted to the
   * `limit` of each (1 to 1 000 001), 10 000 questions at most. Costs at most so many entries of an index,
   * and for a model without a pool one look for each pool that something waits in; for a customer with a pool
   * or a model as many rows as wait of that customer (in SQLite 60 ms of 300 000, and nothing else runs).
   */
  countWaiting(asked: readonly (CountedWork & { limit: number })[]): Promise<number[]>;
}
