import type { JobId } from '#protocol/names.ts';
import { compareTokens } from '#protocol/token.ts';
import { endInBroker, exitLease } from './exit.ts';
import type { Hub } from './hub.ts';
import type { RoleLease } from './roles.ts';

const pageLimit = 500;

/**
 * Finishes Broker steps that were lost after their commit: the hub died, or the Broker did not answer,
 * and nobody meets the entry again. A hung run is the bad case: its exit is committed, but its machine
 * goes on to name the old lease and keeps it alive. One page of the Broker's ids a run, going round.
 */
export class StaleEntries {
  #after: JobId | null = null;

  async run(hub: Hub, role: RoleLease): Promise<void> {
    const page = await hub.broker.list({ after: this.#after, limit: pageLimit });
    this.#after = page.length < pageLimit ? null : (page.at(-1)?.jobId ?? null);
    const ended = await hub.records.endedAmong(page.map((entry) => entry.jobId));
    for (const { jobId, fenceFloor } of ended) {
      if (role.current() === null) return;
      await endInBroker(hub, { jobId, token: fenceFloor, fenceFloor });
    }
    const gone = new Set(ended.map((entry) => entry.jobId));
    for (const { jobId, token, state } of page) {
      if (role.current() === null) return;
      if (state === 'leased' && !gone.has(jobId)) await this.#finishExit(hub, { jobId, token });
    }
  }

  /** A lease below its row's floor has ended in Records: an exit under it only repeats the Broker step. */
  async #finishExit(hub: Hub, lease: { jobId: JobId; token: string }): Promise<void> {
    const row = await hub.records.getJob(lease.jobId);
    if (row === null || compareTokens(lease.token, row.fenceFloor) >= 0) return;
    const view = await hub.broker.inspect(lease.jobId);
    if (view === null || view.holder === null || view.token !== lease.token) return;
    hub.env.log.info('reconcile.exit.finished', { jobId: lease.jobId });
    const cause = { kind: 'release', reason: 'its end was committed before' } as const;
    await exitLease(hub, { ...lease, cause, holder: view.holder, actor: 'reconciler' });
    hub.links.find(view.holder)?.notify('drop', { jobId: lease.jobId });
  }
}
