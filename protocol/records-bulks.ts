import { type Bulk, bulksLimit } from './bulk.ts';
import { EmpError } from './errors.ts';
import { type Entries, newEntries, recordFact } from './ledger.ts';

/** What bulk actions come to in every store: the facts that are told, and their limit. */

/** The bulk action that a row tells of: what it was begun with as JSON, and how far it has come. */
export function bulkOf(row: Record<string, unknown>): Bulk {
  return {
    ...JSON.parse(String(row.document)),
    state: row.state as Bulk['state'],
    done: Number(row.done),
    refused: Number(row.refused),
    updatedAtMs: Number(row.updated_at_ms),
  };
}

export function checkBulks(running: number): void {
  if (running < bulksLimit) return;
  const detail = `${bulksLimit} bulk actions are under way already: wait for one, or abort it`;
  throw new EmpError('CONFLICT', { detail });
}

export function bulkStarted({ id, action, matched, actor, createdAtMs }: Bulk): Entries {
  const entries = newEntries();
  const data = { bulkId: id, action, matched, actor };
  recordFact(entries, { type: 'bulk.started', jobId: null, machineId: null, data, atMs: createdAtMs });
  return entries;
}

export function bulkEnded(options: {
  id: string;
  state: 'done' | 'aborted';
  done: number;
  refused: number;
  actor: string;
  nowMs: number;
}): Entries {
  const { id, state, done, refused, actor, nowMs } = options;
  const entries = newEntries();
  const data = { bulkId: id, state, done, refused, actor };
  recordFact(entries, { type: 'bulk.ended', jobId: null, machineId: null, data, atMs: nowMs });
  return entries;
}
