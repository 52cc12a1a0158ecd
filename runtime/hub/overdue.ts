import { exitLease } from './exit.ts';
import type { Hub } from './hub.ts';
import type { RoleLease } from './roles.ts';
import { tellMachine } from './tell.ts';

const pageLimit = 200;

/**
 * Ends runs longer than their `maxRunMs`: an attempt is counted, because the run hung, and the
 * machine is told to stop. A machine that no hub can tell learns it from its next beat.
 */
export async function endOverdue(hub: Hub, role: RoleLease): Promise<void> {
  if (role.current() === null) return;
  const overdue = await hub.records.overdueRuns({ nowMs: hub.env.clock.now(), limit: pageLimit });
  for (const { jobId, token, machineId, incarnation } of overdue) {
    if (role.current() === null) return;
    const holder = { machineId, incarnation };
    const cause = { kind: 'expire', reason: 'the run took longer than its maxRunMs' } as const;
    await exitLease(hub, { jobId, token, cause, holder, actor: 'sweeper' });
    tellMachine(hub, { machine: holder, notice: 'drop', body: { jobId } });
  }
}
