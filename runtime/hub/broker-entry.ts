import { z } from 'zod';
import type { BrokerEntry } from '#protocol/broker.ts';
import { brokerBodyLimitBytes, InputRef, isTerminal, type Job } from '#protocol/job.ts';
import { fitsAsJson, JsonObject } from '#protocol/json.ts';
import { CustomerName, ModelId, ServiceName } from '#protocol/names.ts';

/** What an entry carries so that a claim needs no read of Records: an assignment without its lease. */
export const AssignmentBody = z.strictObject({
  service: ServiceName,
  payload: JsonObject,
  inputs: z.array(InputRef),
  models: z.array(ModelId),
  expectedMs: z.int(),
  maxRunMs: z.int(),
  traceparent: z.string(),
});
export type AssignmentBody = z.infer<typeof AssignmentBody>;

/** What an entry carries beside it: whose job it is, so that a claim need not ask Records for that. */
export const EntryBody = AssignmentBody.extend({ customer: CustomerName });

export function assignmentBody(job: Job): AssignmentBody {
  const { service, payload, inputs, models, expectedMs, maxRunMs, traceparent } = job;
  return { service, payload, inputs, models, expectedMs, maxRunMs, traceparent };
}

/** True where the Broker should hold the row: not ended, not held back, no cancel requested. */
export function belongsInBroker(job: Job): boolean {
  return !isTerminal(job.state) && job.state !== 'held' && job.cancelRequestedAtMs === null;
}

/** The row as the Broker keeps it. `lease` is what Records know of a run under way, for a rebuild. */
export function brokerEntry(job: Job): BrokerEntry {
  const body = { ...assignmentBody(job), customer: job.customer } as unknown as JsonObject;
  const { token, machineId, incarnation } = job;
  const leased = job.state === 'leased' && token !== null && machineId !== null && incarnation !== null;
  return {
    jobId: job.id,
    group: job.group,
    affinity: job.affinity,
    pool: job.pool,
    customer: job.customer,
    priority: job.priority,
    costMs: job.expectedMs,
    attempts: job.attempts,
    runs: job.runs,
    fenceFloor: job.fenceFloor,
    notBeforeMs: job.state === 'scheduled' ? job.notBeforeMs : null,
    body: fitsAsJson(body, brokerBodyLimitBytes) ? body : null,
    lease: leased ? { token, machineId, incarnation } : null,
  };
}
