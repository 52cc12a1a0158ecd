import { closedBy, limitInWords } from '#machines/policy/admission.ts';
import type { LeaseGrant } from '#protocol/broker.ts';
import type { Job } from '#protocol/job.ts';
import type { LimitedWork } from '#protocol/limit.ts';
import type { Hub } from './hub.ts';

/** What of a job limits and pauses look at, and whether they keep it from being run now. */

export const workOf = (job: Pick<Job, 'customer' | 'pool' | 'affinity'>): LimitedWork => {
  const { customer, pool, affinity } = job;
  return { customer, pool, model: affinity };
};

/** Whether any limit or pause concerns this work. */
function isHeldBack(hub: Hub, work: LimitedWork): boolean {
  return hub.limits.of(work).length > 0 || hub.pauses.ofCustomer(work.customer) !== null;
}

/** Whether this grant might be forbidden: then its row is read, which knows what let it in. */
export function mayForbid(
  hub: Hub,
  { group, affinity }: Pick<LeaseGrant, 'group' | 'affinity'>,
  customer: string,
): boolean {
  if (hub.limits.holding().length === 0 && !hub.pauses.hasCustomers) return false;
  const pool = hub.groups.get(group)?.pool;
  return pool === undefined || isHeldBack(hub, { customer, pool, model: affinity });
}

/** Why a run of this work must not begin now, in words; null where it may. `admitted`: its limits have let it in. */
export function forbidden(hub: Hub, work: LimitedWork, admitted: boolean): string | null {
  const pause = hub.pauses.ofCustomer(work.customer);
  if (pause !== null) return `the customer ${work.customer} is paused`;
  const limits = hub.limits.of(work);
  const [first] = admitted ? closedBy(limits) : limits;
  return first === undefined ? null : limitInWords(first);
}

/** A job has ended or come back: somebody who is held may have room now. */
export function noteRoom(hub: Hub): void {
  if (hub.limits.holding().length > 0) hub.poke.admitter();
}
