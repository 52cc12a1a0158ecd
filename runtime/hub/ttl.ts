import { toEmpError } from '#protocol/errors.ts';
import type { JobId } from '#protocol/names.ts';
import { endInBroker } from './exit.ts';
import { noteRoom } from './held-back.ts';
import type { Hub } from './hub.ts';
import type { RoleLease } from './roles.ts';

const pageLimit = 200;

/**
 * Ends jobs that were never claimed within their TTL: `dead` in Records, then out of the Broker.
 * Records hear of claims late, so the Broker is asked first; a job that it holds as leased lives on.
 */
export async function expireWaiting(hub: Hub, role: RoleLease): Promise<void> {
  for (;;) {
    const nowMs = hub.env.clock.now();
    const passed = await hub.records.passedTtl({ nowMs, limit: pageLimit });
    if (passed.length === 0) return;
    const jobIds = await unclaimed(hub, passed);
    const lease = role.current();
    if (lease === null || jobIds === null) return;
    if (jobIds.length > 0) {
      const answer = await hub.records.expireTtl({ nowMs, limit: pageLimit, jobIds, lease });
      if (answer.kind === 'staleSingleton') return role.stale();
      for (const { jobId, fenceFloor } of answer.value)
        await endInBroker(hub, { jobId, token: fenceFloor, fenceFloor });
    }
    hub.poke.recorder();
    noteRoom(hub);
    // Those that are leased leave the list when their claims are recorded: the next round goes on.
    if (jobIds.length < passed.length || passed.length < pageLimit) return;
  }
}

/** Those that nobody runs; null where the Broker cannot tell, because it is closed or does not answer. */
async function unclaimed(hub: Hub, jobIds: readonly JobId[]): Promise<JobId[] | null> {
  try {
    if (!(await hub.broker.identity()).open) return null;
    const views = await Promise.all(jobIds.map((jobId) => hub.broker.inspect(jobId)));
    return jobIds.filter((_, index) => views[index]?.state !== 'leased');
  } catch (error) {
    hub.env.log.warn('ttl.unknown', { detail: toEmpError(error, 'BROKER_UNAVAILABLE').message });
    return null;
  }
}
