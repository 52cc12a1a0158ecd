import { planAdmissions } from '#machines/policy/admission.ts';
import type { Job } from '#protocol/job.ts';
import type { LimitedWork } from '#protocol/limit.ts';
import { driveRows } from './drive.ts';
import type { Hub } from './hub.ts';

/**
 * Limits keep jobs out of the Broker: what they count is `held` in Records, and let in as far as there is
 * room, by whichever hub first hears that there is. So a claim needs to know nothing of limits. What
 * waited in the Broker before its limit was known is caught when a machine would get it.
 */

/** Kinds of held work that are read at once. */
const pageLimit = 500;
/** A rate is looked at again not sooner than this, ms. */
const leastWaitMs = 2;

/**
 * Lets in what is held as far as limits and pauses have room; one pass over all held work. Answers when to
 * look again, ms from now: at the next date that a rate or a failed job's pause gives. Rejects when Records fail.
 */
export async function admitHeld(hub: Hub, turn: number): Promise<number | null> {
  await hub.limits.refreshIfOld();
  await hub.pauses.refreshIfOld();
  const dates: number[] = [];
  let after: LimitedWork | null = null;
  for (;;) {
    const nowMs = hub.env.clock.now();
    const view = await hub.records.admissionView({ after, limit: pageLimit, nowMs });
    const planned = planAdmissions({
      ...view,
      limits: hub.limits.all(),
      isPaused: (customer) => hub.pauses.ofCustomer(customer) !== null,
      turn,
    });
    dates.push(...(await admitPlanned(hub, planned)));
    after = view.held.at(-1) ?? null;
    if (view.nextDueMs !== null) dates.push(view.nextDueMs);
    if (after === null || view.held.length < pageLimit) break;
  }
  if (dates.length === 0) return null;
  return Math.max(leastWaitMs, Math.min(...dates) - hub.env.clock.now());
}

/** Round after round while somebody gets in; answers when rates have room again, ms since 1970. */
async function admitPlanned(hub: Hub, planned: ReturnType<typeof planAdmissions>): Promise<number[]> {
  const dates: number[] = [];
  let open = planned;
  while (open.length > 0) {
    const going: typeof planned = [];
    for (const work of open) {
      const { customer, pool, model, atOnce: limit } = work;
      // Under which server the rows are read: see driveRows.
      const identity = await hub.identity.known();
      const nowMs = hub.env.clock.now();
      const asked = { customer, pool, model, limit, actor: 'hub', nowMs };
      const { jobs, nextAtMs } = await hub.records.admitJobs(asked);
      if (nextAtMs !== null) dates.push(nextAtMs);
      if (jobs.length > 0) await bringIn(hub, jobs, identity);
      if (jobs.length === limit) going.push(work);
    }
    open = going;
  }
  return dates;
}

async function bringIn(hub: Hub, rows: Job[], identity: string | null): Promise<void> {
  hub.poke.recorder();
  if (identity === null) return hub.poke.reconciler();
  await driveRows(hub, { rows, identity });
}
