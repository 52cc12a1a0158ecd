import type { Bulk } from './bulk.ts';
import type { Fenced, SingletonLease } from './records.ts';

/** The part of Records that keeps bulk actions. */
export interface BulkRecords {
  /** Throws CONFLICT beyond `bulksLimit` that run. */
  putBulk(bulk: Bulk): Promise<void>;
  getBulk(id: string): Promise<Bulk | null>;
  /** Newest first, at most `limit` (1 to 1 000). */
  listBulks(options: { limit: number }): Promise<Bulk[]>;
  /** Those that run, oldest first, with where they go on: an opaque cursor of `listJobs`, null at the beginning. */
  runningBulks(): Promise<(Bulk & { cursor: string | null })[]>;
  /** Notes progress where it still runs; false where it was aborted. `cursor` null = it is through. */
  advanceBulk(options: {
    id: string;
    done: number;
    refused: number;
    cursor: string | null;
    lease: SingletonLease;
    nowMs: number;
  }): Promise<Fenced<boolean>>;
  /** False where it is not known or does not run any more. */
  abortBulk(options: { id: string; actor: string; nowMs: number }): Promise<boolean>;
}
