import { type Bulk, BulkRequest, bulkActions } from '#protocol/bulk.ts';
import { EmpError, type ErrorCode, toEmpError } from '#protocol/errors.ts';
import type { Job } from '#protocol/job.ts';
import type { JobFilter } from '#protocol/records.ts';
import { cancelJob } from './cancel.ts';
import type { Hub } from './hub.ts';
import { parseDocument } from './problem.ts';
import { requeueJob } from './requeue.ts';
import type { RoleLease } from './roles.ts';

const pageLimit = 200;

/** Work of others waits for a bulk action for so long at once, ms. */
const turnMs = 2_000;

/**
 * Begins a bulk action: the filter is frozen, so that jobs which come to it later are left alone. Throws
 * VALIDATION_FAILED, or CONFLICT where too many are under way. `dryRun` answers what it would meet.
 */
export async function startBulk(hub: Hub, document: unknown, actor: string): Promise<Bulk> {
  const { action, filter, dryRun } = parseDocument(BulkRequest, document, { what: 'The bulk action' });
  checkStates(action, filter.state ?? []);
  const nowMs = hub.env.clock.now();
  const bulk: Bulk = {
    id: hub.env.newId('bulk'),
    action,
    filter,
    state: dryRun ? 'done' : 'running',
    matched: 0,
    done: 0,
    refused: 0,
    actor,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  };
  const counts = await hub.records.countJobs(jobsOf(bulk));
  bulk.matched = Object.values(counts).reduce((sum, count) => sum + count, 0);
  if (dryRun) return bulk;
  await hub.records.putBulk(bulk);
  hub.poke.recorder();
  return bulk;
}

function checkStates(action: Bulk['action'], states: readonly string[]): void {
  const able: readonly string[] = bulkActions[action];
  const wrong = states.findIndex((state) => !able.includes(state));
  if (wrong === -1) return;
  const detail = `${action} is for jobs that are ${able.join(', ')}; ${states[wrong]} is none of these`;
  throw new EmpError('VALIDATION_FAILED', {
    detail,
    errors: [{ pointer: `/filter/state/${wrong}`, detail }],
  });
}

/** The jobs that it met when it began: what was submitted, or has ended, since is none of them. */
function jobsOf({ action, filter, createdAtMs }: Bulk): JobFilter {
  const { submittedAfter, submittedBefore, state, ...rest } = filter;
  const beforeMs = submittedBefore === undefined ? createdAtMs + 1 : Date.parse(submittedBefore);
  return {
    ...(rest as JobFilter),
    state: [...(state ?? bulkActions[action])],
    ...(submittedAfter !== undefined && { submittedAfterMs: Date.parse(submittedAfter) }),
    submittedBeforeMs: Math.min(beforeMs, createdAtMs + 1),
    ...(action === 'requeue' && { finishedBeforeMs: createdAtMs + 1 }),
  };
}

/** Throws NOT_FOUND, or CONFLICT where it does not run any more. What was done stays done. */
export async function abortBulk(hub: Hub, id: string, actor: string): Promise<Bulk> {
  const ended = await hub.records.abortBulk({ id, actor, nowMs: hub.env.clock.now() });
  const bulk = await getBulk(hub, id);
  if (!ended) throw new EmpError('CONFLICT', { detail: `The bulk action ${id} is ${bulk.state} already` });
  hub.poke.recorder();
  return bulk;
}

/** Throws NOT_FOUND. */
export async function getBulk(hub: Hub, id: string): Promise<Bulk> {
  const bulk = await hub.records.getBulk(id);
  if (bulk === null) throw new EmpError('NOT_FOUND', { detail: `No bulk action ${id} is known` });
  return bulk;
}

/** Goes on with what is under way, page by page; true where there is more. Stops at once when its role is lost. */
export async function runBulks(hub: Hub, role: RoleLease): Promise<boolean> {
  const endMs = hub.env.clock.monotonic() + turnMs;
  for (;;) {
    const [bulk] = await hub.records.runningBulks();
    if (bulk === undefined) return false;
    if (!(await runPage(hub, role, bulk))) return false;
    if (hub.env.clock.monotonic() >= endMs) return true;
  }
}

/** False where it cannot go on now. A page that is begun again after a crash meets its jobs once more, which changes nothing. */
async function runPage(hub: Hub, role: RoleLease, bulk: Bulk & { cursor: string | null }): Promise<boolean> {
  const { id, cursor } = bulk;
  const page = await hub.records.listJobs({ filter: jobsOf(bulk), limit: pageLimit, cursor });
  let [done, refused] = [0, 0];
  for (const job of page.items) {
    if (role.current() === null) return false;
    const answer = await applyTo(hub, bulk, job);
    if (answer === 'later') return false;
    if (answer === 'done') done++;
    else refused++;
  }
  const lease = role.current();
  if (lease === null) return false;
  const nowMs = hub.env.clock.now();
  const noted = await hub.records.advanceBulk({ id, done, refused, cursor: page.nextCursor, lease, nowMs });
  if (noted.kind === 'staleSingleton') {
    role.stale();
    return false;
  }
  hub.poke.recorder();
  return true;
}

const moved: readonly ErrorCode[] = ['CONFLICT', 'NOT_FOUND'];

async function applyTo(hub: Hub, bulk: Bulk, job: Job): Promise<'done' | 'refused' | 'later'> {
  try {
    if (bulk.action === 'cancel') await cancelJob(hub, job.id, bulk.actor);
    else await requeueJob(hub, job.id, bulk.actor);
    return 'done';
  } catch (error) {
    const { code, message } = toEmpError(error);
    if (moved.includes(code)) return 'refused';
    hub.env.log.warn('bulk.waits', { bulkId: bulk.id, jobId: job.id, code, detail: message });
    return 'later';
  }
}
