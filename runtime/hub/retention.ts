import type { JobId } from '#protocol/names.ts';
import type { Hub } from './hub.ts';
import type { RoleLease } from './roles.ts';

const jobsPerPage = 100;
const eventsPerPage = 2_000;
/** Pages of one round, so that the other work of the role is not kept waiting. */
const pagesPerRound = 10;
const objectsPerPage = 1_000;

/**
 * Forgets what is older than the hub was told to keep, in pages: jobs that ended with their result files,
 * and events. Files go first: a job whose files could not be removed is met again. True if more is left.
 */
export async function retain(hub: Hub, role: RoleLease): Promise<boolean> {
  const jobs = await repeated(role, () => forgetJobs(hub, role));
  const events = await repeated(role, () => forgetEvents(hub, role));
  return jobs || events;
}

/** Until a page was not full, or the round is over; true if there is more. */
async function repeated(role: RoleLease, page: () => Promise<boolean>): Promise<boolean> {
  for (let pages = 0; pages < pagesPerRound; pages++) {
    if (role.current() === null || !(await page())) return false;
  }
  return true;
}

async function forgetJobs(hub: Hub, role: RoleLease): Promise<boolean> {
  const beforeMs = hub.env.clock.now() - hub.config.retainJobsMs;
  const jobIds = await hub.records.endedJobs({ beforeMs, limit: jobsPerPage });
  if (jobIds.length === 0) return false;
  for (const jobId of jobIds) await removeResults(hub, jobId);
  const lease = role.current();
  if (lease === null) return false;
  const answer = await hub.records.forgetJobs({ jobIds, beforeMs, lease });
  if (answer.kind === 'staleSingleton') {
    role.stale();
    return false;
  }
  hub.counters.jobsForgotten += answer.value.length;
  // Nothing moved: somebody requeued them all, and the next round will not list them.
  return jobIds.length === jobsPerPage && answer.value.length > 0;
}

/** Results of every run of the job, committed or not. */
async function removeResults(hub: Hub, jobId: JobId): Promise<void> {
  for (;;) {
    const found = await hub.objects.list({ prefix: `results/${jobId}/`, after: null, limit: objectsPerPage });
    for (const { key } of found) await hub.objects.delete(key);
    if (found.length < objectsPerPage) return;
  }
}

async function forgetEvents(hub: Hub, role: RoleLease): Promise<boolean> {
  const beforeMs = hub.env.clock.now() - hub.config.retainEventsMs;
  const lease = role.current();
  if (lease === null) return false;
  const answer = await hub.records.forgetEvents({ beforeMs, limit: eventsPerPage, lease });
  if (answer.kind === 'staleSingleton') {
    role.stale();
    return false;
  }
  hub.counters.eventsForgotten += answer.value;
  return answer.value === eventsPerPage;
}
