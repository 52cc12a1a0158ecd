import { EmpError, type FieldError, toEmpError } from '#protocol/errors.ts';
import type { Job } from '#protocol/job.ts';
import type { NewJob, SubmitRowAnswer } from '#protocol/records.ts';
import { driveRows } from './drive.ts';
import { forbidden, workOf } from './held-back.ts';
import type { Hub } from './hub.ts';
import { type PreparedJob, prepareJob } from './prepare-job.ts';
import { summary } from './problem.ts';
import { freshOf, refusedByAll, type TakenRoom, takeRoom } from './waiting.ts';

export const batchJobsLimit = 1_000;

export interface Submitted {
  created: boolean;
  job: Job;
  warnings: string[];
}

/**
 * Accepts one job: judged, then a committed row, then the Broker. Once the row is committed the
 * answer is success whatever the Broker says. Throws a refusal by name before anything is stored,
 * RECORDS_UNAVAILABLE when it cannot be.
 */
export async function submitJob(
  hub: Hub,
  document: unknown,
  options: { traceparent: string | null },
): Promise<Submitted> {
  const prepared = await prepareJob(hub, document, { prefix: '', traceparent: options.traceparent });
  const [submitted] = await store(hub, [prepared], () => '/id');
  if (submitted === undefined)
    throw new EmpError('INTERNAL', { detail: 'the store answered no row for a submission' });
  return submitted;
}

/** Accepts all jobs of a batch or none: every wrong field of every job is named. */
export async function submitBatch(
  hub: Hub,
  documents: unknown[],
  options: { traceparent: string | null },
): Promise<Submitted[]> {
  if (documents.length === 0 || documents.length > batchJobsLimit) {
    const detail = `a batch has 1 to ${batchJobsLimit} jobs, ${documents.length} given`;
    throw new EmpError('VALIDATION_FAILED', { detail, errors: [{ pointer: '/jobs', detail }] });
  }
  const prepared: PreparedJob[] = [];
  const refusals: EmpError[] = [];
  for (const [index, document] of documents.entries()) {
    try {
      prepared.push(
        await prepareJob(hub, document, { prefix: `/jobs/${index}`, traceparent: options.traceparent }),
      );
    } catch (error) {
      const refusal = toEmpError(error);
      if (refusal.errors.length === 0) throw refusal;
      refusals.push(refusal);
    }
  }
  if (refusals.length > 0) throw batchRefusal(refusals);
  refuseTwins(prepared);
  await refuseKnownConflicts(hub, prepared);
  return await store(hub, prepared, (index) => `/jobs/${index}/id`);
}

function batchRefusal(refusals: EmpError[]): EmpError {
  const errors = refusals.flatMap((refusal) => refusal.errors);
  const codes = new Set(refusals.map((refusal) => refusal.code));
  const [only] = codes;
  const code = codes.size === 1 && only !== undefined ? only : 'VALIDATION_FAILED';
  return new EmpError(code, { detail: summary('The batch', errors), errors });
}

function refuseTwins(prepared: PreparedJob[]): void {
  const seen = new Map<string, number>();
  const errors: FieldError[] = [];
  for (const [index, { row }] of prepared.entries()) {
    const first = seen.get(row.id);
    if (first === undefined) seen.set(row.id, index);
    else
      errors.push({
        pointer: `/jobs/${index}/id`,
        detail: `the id ${row.id} is also that of /jobs/${first}`,
      });
  }
  if (errors.length > 0)
    throw new EmpError('VALIDATION_FAILED', { detail: summary('The batch', errors), errors });
}

/**
 * A conflict that is there already refuses the whole batch: a submit of rows whose ids all exist
 * stores nothing, it only compares. A conflict that another client commits in the very moment
 * between this look and our commit is refused alone, by the store.
 */
async function refuseKnownConflicts(hub: Hub, prepared: PreparedJob[]): Promise<void> {
  const fresh = new Set(await freshOf(hub, prepared));
  const existing = prepared.flatMap((each, index) => (fresh.has(each) ? [] : [{ index, row: each.row }]));
  if (existing.length === 0) return;
  const answers = await hub.records.submitJobs(
    existing.map((each) => each.row),
    hub.env.clock.now(),
  );
  const errors = existing.flatMap(({ index, row }, position) =>
    answers[position]?.kind === 'conflict' ? [conflictField(`/jobs/${index}/id`, row.id)] : [],
  );
  if (errors.length > 0)
    throw new EmpError('IDEMPOTENCY_CONFLICT', { detail: summary('The batch', errors), errors });
}

const conflictField = (pointer: string, jobId: string): FieldError => ({
  pointer,
  detail: `a job ${jobId} with another content exists: choose another id, or send the same content to get that job`,
});

async function store(
  hub: Hub,
  prepared: PreparedJob[],
  pointer: (index: number) => string,
): Promise<Submitted[]> {
  if (hub.stopping) throw new EmpError('DRAINING');
  const refused = await refusedByAll(hub, prepared);
  if (refused !== null) throw refused;
  const room = await takeRoom(hub, prepared);
  const { answers, identity } = await commit(hub, prepared, room);
  const errors: FieldError[] = [];
  const submitted: Submitted[] = [];
  for (const [index, answer] of answers.entries()) {
    if (answer.kind === 'conflict') errors.push(conflictField(pointer(index), answer.jobId));
    else
      submitted.push({
        created: answer.kind === 'created',
        job: answer.job,
        warnings: prepared[index]?.warnings ?? [],
      });
  }
  await drive(hub, answers, identity);
  if (errors.length > 0)
    throw new EmpError('IDEMPOTENCY_CONFLICT', { detail: summary('The request', errors), errors });
  return submitted;
}

/** Commits the rows. The room that was taken for them is settled whatever comes of it. */
async function commit(hub: Hub, prepared: PreparedJob[], room: TakenRoom) {
  let answers: SubmitRowAnswer[] | null = null;
  try {
    await holdBack(hub, prepared);
    for (const { groupId, group } of prepared) {
      // Other hubs look for new groups every few seconds: their idle machines could not be woken until then.
      if (await hub.groups.intern(groupId, group)) hub.peers.offer(groupId);
    }
    const identity = await hub.identity.known();
    answers = await hub.records.submitJobs(
      prepared.map((each): NewJob => each.row),
      hub.env.clock.now(),
    );
    return { answers, identity };
  } finally {
    room.settle(answers);
  }
}

/** What limits count, and jobs of paused customers, are let in later. A job for a later time comes to it then. */
async function holdBack(hub: Hub, prepared: PreparedJob[]): Promise<void> {
  await hub.limits.refreshIfOld();
  await hub.pauses.refreshIfOld();
  for (const { row, warnings } of prepared) {
    const reason = row.state === 'waiting' ? forbidden(hub, workOf(row), false) : null;
    if (reason === null) continue;
    row.state = 'held';
    row.limited = true;
    warnings.push(`it is let in when there is room: ${reason}`);
  }
}

/** A repeated submit drives its row again only while it never reached the Broker. */
async function drive(hub: Hub, answers: SubmitRowAnswer[], identity: string | null): Promise<void> {
  if (answers.some((answer) => answer.kind === 'created' && answer.job.state === 'held')) hub.poke.admitter();
  const rows = answers.flatMap((answer) =>
    answer.kind === 'created' || (answer.kind === 'exists' && answer.job.brokeredAtMs === null)
      ? [answer.job]
      : [],
  );
  hub.counters.jobsSubmitted += answers.filter((answer) => answer.kind === 'created').length;
  hub.poke.recorder();
  if (rows.length === 0) return;
  if (identity === null) return hub.poke.reconciler();
  try {
    await driveRows(hub, { rows, identity });
  } catch (error) {
    // The rows are committed: whatever happens now, the answer is success and the reconciler goes on.
    const failure = toEmpError(error);
    hub.env.log.warn('submit.drive.failed', {
      code: failure.code,
      detail: failure.message,
      jobs: rows.length,
    });
    hub.poke.reconciler();
  }
}
