import { EmpError } from './errors.ts';
import { type Entries, newEntries, recordFact } from './ledger.ts';
import type { Records } from './records.ts';
import { type Schedule, schedulesLimit } from './schedule.ts';

/** What schedules come to in every store: the facts that are told, and their limit. */

export type SavedSchedule = Parameters<Records['putSchedule']>[0];
export type AdvancedSchedule = Parameters<Records['advanceSchedule']>[0];

/** The schedule that a row tells of, its definition and last outcome as JSON. */
export function scheduleOf(row: Record<string, unknown>): Schedule {
  return {
    ...JSON.parse(String(row.document)),
    name: String(row.name),
    nextAtMs: row.next_at_ms as number | null,
    last: row.last === null ? null : JSON.parse(String(row.last)),
    lastJobId: row.last_job as string | null,
    actor: String(row.actor),
    createdAtMs: Number(row.created_at_ms),
    updatedAtMs: Number(row.updated_at_ms),
  };
}

/** The schedule as it is kept: one of this name keeps what it did so far. */
export function keptSchedule(before: Schedule | null, saved: SavedSchedule): Schedule {
  const { name, definition, nextAtMs, actor, nowMs } = saved;
  return {
    ...definition,
    name,
    nextAtMs,
    last: before?.last ?? null,
    lastJobId: before?.lastJobId ?? null,
    actor,
    createdAtMs: before?.createdAtMs ?? nowMs,
    updatedAtMs: nowMs,
  };
}

export function checkSchedules(count: number): void {
  if (count < schedulesLimit) return;
  const detail = `${schedulesLimit} schedules are kept already: remove some first`;
  throw new EmpError('CONFLICT', { detail });
}

export function savedFact({ name, actor, nextAtMs, updatedAtMs }: Schedule): Entries {
  const entries = newEntries();
  const data = { name, actor, nextAtMs };
  recordFact(entries, { type: 'schedule.saved', jobId: null, machineId: null, data, atMs: updatedAtMs });
  return entries;
}

export function removedFact({ name, actor, nowMs }: Parameters<Records['removeSchedule']>[0]): Entries {
  const entries = newEntries();
  recordFact(entries, {
    type: 'schedule.removed',
    jobId: null,
    machineId: null,
    data: { name, actor },
    atMs: nowMs,
  });
  return entries;
}

export function advancedFact({ name, last, nowMs }: AdvancedSchedule): Entries {
  const entries = newEntries();
  const { jobId, outcome, dueAtMs, detail } = last;
  const data = { name, outcome, dueAtMs, detail: detail.slice(0, 2_000) };
  recordFact(entries, { type: 'schedule.came_due', jobId, machineId: null, data, atMs: nowMs });
  return entries;
}
