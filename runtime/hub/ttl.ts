import { endInBroker } from './exit.ts';
import type { Hub } from './hub.ts';
import type { RoleLease } from './roles.ts';

const pageLimit = 200;

/** Ends jobs that were never claimed within their TTL: `dead` in Records, then out of the Broker. */
export async function expireWaiting(hub: Hub, role: RoleLease): Promise<void> {
  for (;;) {
    const lease = role.current();
    if (lease === null) return;
    const answer = await hub.records.expireTtl({ nowMs: hub.env.clock.now(), limit: pageLimit, lease });
    if (answer.kind === 'staleSingleton') return role.stale();
    for (const { jobId, fenceFloor } of answer.value)
      await endInBroker(hub, { jobId, token: fenceFloor, fenceFloor });
    if (answer.value.length > 0) hub.poke.recorder();
    if (answer.value.length < pageLimit) return;
  }
}
