import type { EventData, EventType } from '#protocol/events.ts';
import type { JobOperation, JobState } from '#protocol/job.ts';
import type { Database } from './database.ts';

/** The two append-only tables that every change leaves a row in, in the change's own commit. */

export interface Change {
  ordinal: number;
  from: JobState | null;
  to: JobState;
  operation: JobOperation | 'submit';
  actor: string;
  reason: string | null;
  token: string | null;
  atMs: number;
}

export function recordChange(db: Database, change: Change): void {
  db.run(
    'INSERT INTO transitions (job, from_state, to_state, operation, actor, reason, token, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    change.ordinal,
    change.from,
    change.to,
    change.operation,
    change.actor.slice(0, 128),
    change.reason?.slice(0, 2_000) ?? null,
    change.token,
    change.atMs,
  );
}

export interface Fact<T extends EventType> {
  type: T;
  jobId: string | null;
  machineId: string | null;
  data: EventData<T>;
  atMs: number;
}

export function recordFact<T extends EventType>(db: Database, fact: Fact<T>): void {
  db.run(
    'INSERT INTO events (type, job_id, machine_id, data, at_ms) VALUES (?, ?, ?, ?, ?)',
    fact.type,
    fact.jobId,
    fact.machineId,
    JSON.stringify(fact.data),
    fact.atMs,
  );
}
