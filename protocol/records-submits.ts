import type { Job } from './job.ts';
import { type Change, type Fact, type JobLedger, recordChange, recordFact, updateRow } from './ledger.ts';
import type { NewJob } from './records.ts';
import { compareTokens, type FencingToken, tokenAfter, zeroToken } from './token.ts';

/** How jobs get in: submit, the broker's mark, admission. */

/** The job as every reader sees it right after its submit. */
export function submittedJob(job: NewJob, nowMs: number): Job {
  const { fingerprint: _, ...rest } = job;
  return {
    ...rest,
    attempts: 0,
    runs: 0,
    submittedAtMs: nowMs,
    startedAtMs: null,
    finishedAtMs: null,
    cancelRequestedAtMs: null,
    brokeredAtMs: null,
    fenceFloor: zeroToken,
    token: null,
    machineId: null,
    incarnation: null,
    progress: 0,
    error: null,
    reason: null,
    result: null,
  };
}

export function submitChange({ id: jobId, state }: NewJob, nowMs: number): Change {
  const change = { jobId, from: null, to: state, operation: 'submit', actor: 'client' } as const;
  return { ...change, reason: null, token: null, atMs: nowMs };
}

export function submitFact(job: NewJob, nowMs: number): Fact<'job.submitted'> {
  const { state, service, pool, customer, priority } = job;
  const data = { state, service, pool, customer, priority };
  return { type: 'job.submitted', jobId: job.id, machineId: null, data, atMs: nowMs };
}

/** What a client sent, kept beside the job's row as one JSON document. */
export type RequestDocument = Pick<
  Job,
  'payload' | 'inputs' | 'requirements' | 'labels' | 'models' | 'traceparent'
>;

export function requestDocument(job: RequestDocument): string {
  const { payload, inputs, requirements, labels, models, traceparent } = job;
  return JSON.stringify({ payload, inputs, requirements, labels, models, traceparent });
}

/** The broker has the job. Null floor = whatever the floor is. */
export function markJob(ledger: JobLedger, fenceFloor: FencingToken | null, nowMs: number): void {
  const { row } = ledger;
  if (row.brokeredAtMs !== null) return;
  if (fenceFloor !== null && compareTokens(row.fenceFloor, fenceFloor) > 0) return;
  if (!['scheduled', 'waiting', 'leased'].includes(row.state)) return;
  updateRow(ledger, { brokeredAtMs: nowMs });
}

/**
 * Lets a held job in. One that was in the Broker left a tombstone there at its floor, which a higher one
 * passes; and it has to be brought there again.
 */
export function admit(ledger: JobLedger, options: { limited: boolean; actor: string; nowMs: number }): void {
  const { row, entries } = ledger;
  const { limited, actor, nowMs } = options;
  const fenceFloor = row.brokeredAtMs === null ? row.fenceFloor : tokenAfter(row.fenceFloor);
  updateRow(ledger, { state: 'waiting', fenceFloor, brokeredAtMs: null, limited });
  const jobId = row.id;
  const change = { jobId, from: 'held', to: 'waiting', operation: 'admit', actor } as const;
  recordChange(entries, { ...change, reason: null, token: null, atMs: nowMs });
  recordFact(entries, {
    type: 'job.admitted',
    jobId,
    machineId: null,
    data: { state: 'waiting' },
    atMs: nowMs,
  });
}
