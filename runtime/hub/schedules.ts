import { EmpError, toEmpError } from '#protocol/errors.ts';
import { isTerminal } from '#protocol/job.ts';
import {
  type Schedule,
  ScheduleDefinition,
  type ScheduleOutcome,
  scheduleLabel,
  schedulesLimit,
} from '#protocol/schedule.ts';
import { cronTimes } from './cron.ts';
import type { Hub } from './hub.ts';
import { prepareJob } from './prepare-job.ts';
import { parseDocument } from './problem.ts';
import type { RoleLease } from './roles.ts';
import { submitJob } from './submit.ts';

const pageLimit = 100;
/** Times to come that a schedule is shown with. */
const upcomingShown = 5;

/**
 * Keeps a schedule under this name, or changes the one that is there. Its job is judged as a submission
 * would be now. Throws VALIDATION_FAILED or the code of what is wrong with its job, with pointers.
 */
export async function saveSchedule(
  hub: Hub,
  asked: { name: string; document: unknown; actor: string },
): Promise<Schedule> {
  const { name, document, actor } = asked;
  const definition = parseDocument(ScheduleDefinition, document, { what: 'The schedule' });
  const nowMs = hub.env.clock.now();
  const times = cronTimes({ ...definition, nowMs });
  await prepareJob(hub, definition.job, { prefix: '/job', traceparent: null, dryRun: true });
  const nextAtMs = definition.paused ? null : times.next(nowMs);
  const saved = await hub.records.putSchedule({ name, definition, nextAtMs, actor, nowMs });
  hub.poke.recorder();
  return saved;
}

/** Throws NOT_FOUND where there is none of that name. What it submitted goes on. */
export async function removeSchedule(hub: Hub, asked: { name: string; actor: string }): Promise<void> {
  if (!(await hub.records.removeSchedule({ ...asked, nowMs: hub.env.clock.now() })))
    throw unknown(asked.name);
  hub.poke.recorder();
}

/** One schedule with the next times to come. Throws NOT_FOUND. */
export async function showSchedule(hub: Hub, name: string): Promise<Schedule & { upcomingMs: number[] }> {
  const schedule = (await hub.records.listSchedules()).find((each) => each.name === name);
  if (schedule === undefined) throw unknown(name);
  const upcomingMs: number[] = [];
  for (let atMs = schedule.nextAtMs; atMs !== null && upcomingMs.length < upcomingShown; ) {
    upcomingMs.push(atMs);
    atMs = cronTimes({ ...schedule, nowMs: schedule.createdAtMs }).next(atMs);
  }
  return { ...schedule, upcomingMs };
}

function unknown(name: string): EmpError {
  return new EmpError('NOT_FOUND', { detail: `No schedule ${name} is kept`, fields: { name } });
}

/** Until a time that was refused for now is tried again, ms: a thousand of them would keep the hub busy. */
const retryMs = 10_000;

/** Times that are tried again, by schedule. Each is told of once. */
export type Retried = Map<string, { dueAtMs: number; triedMs: number }>;

/**
 * Submits the jobs of the schedules whose time has come. One that is refused for now is passed over until
 * the next call, so that it keeps nobody else's from coming. Stops at once when its role is lost.
 */
export async function fireSchedules(hub: Hub, role: RoleLease, retried: Retried): Promise<void> {
  const nowMs = hub.env.clock.now();
  const refused = new Set<string>();
  let after: { nextAtMs: number; name: string } | null = null;
  // As many pages as there may be schedules: who moves their dates meanwhile keeps nobody here.
  for (let seen = 0; seen < schedulesLimit; seen += pageLimit) {
    const due: Schedule[] = await hub.records.dueSchedules({ nowMs, limit: pageLimit, after });
    for (const schedule of due) {
      if (role.current() === null) return;
      if (!(await fire(hub, role, { schedule, retried }))) refused.add(schedule.name);
    }
    const last = due.at(-1);
    if (last === undefined || last.nextAtMs === null || due.length < pageLimit) break;
    after = { nextAtMs: last.nextAtMs, name: last.name };
  }
  for (const name of retried.keys()) if (!refused.has(name)) retried.delete(name);
}

/**
 * The id of the job is made of the name and the time, so that whoever comes to the same time twice, after
 * a crash or as another hub, submits the same job. False where this time is to be tried again.
 */
async function fire(
  hub: Hub,
  role: RoleLease,
  { schedule, retried }: { schedule: Schedule; retried: Retried },
): Promise<boolean> {
  const { name, nextAtMs: fromMs } = schedule;
  if (fromMs === null) return true;
  const nowMs = hub.env.clock.now();
  const times = cronTimes({ ...schedule, nowMs: schedule.createdAtMs });
  const dueAtMs = Math.max(fromMs, times.latest(nowMs) ?? fromMs);
  const last = await comeDue(hub, schedule, { dueAtMs, nowMs, retried });
  const lease = role.current();
  if (last === null || lease === null) return false;
  const nextAtMs = times.next(Math.max(nowMs, dueAtMs));
  const answer = await hub.records.advanceSchedule({ name, fromMs, nextAtMs, last, lease, nowMs });
  if (answer.kind === 'staleSingleton') role.stale();
  else hub.poke.recorder();
  return true;
}

/** What became of this time; null where it is to be tried again, or is not to be tried yet. */
async function comeDue(
  hub: Hub,
  schedule: Schedule,
  { dueAtMs, nowMs, retried }: { dueAtMs: number; nowMs: number; retried: Retried },
): Promise<ScheduleOutcome | null> {
  const skipped = (detail: string) => ({ dueAtMs, outcome: 'skipped' as const, jobId: null, detail });
  const lateMs = nowMs - dueAtMs;
  if (lateMs > schedule.lateLimitMs) return skipped(`it was ${Math.round(lateMs / 1_000)} s late`);
  const tried = retried.get(schedule.name);
  const isTold = tried?.dueAtMs === dueAtMs;
  if (isTold && Math.abs(nowMs - tried.triedMs) < retryMs) return null;
  const before = schedule.overlap === 'skip' ? schedule.lastJobId : null;
  const row = before === null ? null : await hub.records.getJob(before);
  if (row !== null && !isTerminal(row.state)) return skipped(`the job before, ${row.id}, has not ended`);
  const jobId = `${schedule.name}.${stamp(dueAtMs)}`;
  const submitted = { dueAtMs, outcome: 'submitted' as const, jobId, detail: '' };
  const { job } = schedule;
  const labels = { ...job.labels, [scheduleLabel]: schedule.name };
  try {
    await submitJob(hub, { ...job, labels, id: jobId }, { traceparent: null });
    return submitted;
  } catch (error) {
    const { code, message, retryable } = toEmpError(error);
    // It was submitted for this time already, before somebody changed the schedule.
    if (code === 'IDEMPOTENCY_CONFLICT') return submitted;
    if (!isTold) hub.env.log.warn('schedule.failed', { name: schedule.name, code, detail: message });
    if (retryable) retried.set(schedule.name, { dueAtMs, triedMs: nowMs });
    return retryable ? null : { dueAtMs, outcome: 'failed', jobId: null, detail: `${code}: ${message}` };
  }
}

/** `20261122T0300Z`: minutes, because patterns name none finer. */
function stamp(atMs: number): string {
  return new Date(atMs).toISOString().replace(/[-:]/g, '').slice(0, 13).concat('Z');
}
