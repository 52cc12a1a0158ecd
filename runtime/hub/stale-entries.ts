import type { JobId } from '#protocol/names.ts';
import { compareTokens } from '#protocol/token.ts';
import { driveRows } from './drive.ts';
import { endInBroker, exitLease, floorOfEnded } from './exit.ts';
import type { Hub } from './hub.ts';
import type { RoleLease } from './roles.ts';
import { tellMachine } from './tell.ts';

const pageLimit = 500;

const rowsLimit = 1_000;

/** Of the time between two runs: with a million open jobs a round is minutes, and the stores stay free for others. */
const shareOfTime = 0.1;

/**
 * Finds what no mark tells of, some pages of each store a run, going round.
 *
 * Entries: Broker steps that were lost after their commit, because the hub died or the Broker did not
 * answer, and nobody meets the entry again. A hung run is the bad case: its exit is committed, but its
 * machine goes on to name the old lease and keeps it alive.
 *
 * Rows: open ones that the Broker had once and knows no longer. They are driven like new ones, which
 * changes nothing where the entry is there.
 */
export class StaleEntries {
  #after: JobId | null = null;
  #rowsAfter: JobId | null = null;

  /**
   * Goes on for a share of the time between two runs, or until each round is at its end. `isEmpty`: the
   * Broker is known to hold no entry that could have outlived its job.
   */
  async run(hub: Hub, role: RoleLease, known: { isEmpty: boolean }): Promise<void> {
    const { clock } = hub.env;
    const endMs = clock.monotonic() + hub.config.reconcileEveryMs * shareOfTime;
    const goesOn = (after: JobId | null) =>
      after !== null && role.current() !== null && clock.monotonic() < endMs;
    do await this.#driveRows(hub, role);
    while (goesOn(this.#rowsAfter));
    if (known.isEmpty) return;
    do await this.#endEntries(hub, role);
    while (goesOn(this.#after));
  }

  async #driveRows(hub: Hub, role: RoleLease): Promise<void> {
    if (role.current() === null) return;
    // Asked before the rows are read: a server that changes in between makes them be read again.
    const identity = await hub.identity.get();
    const rows = await hub.records.openJobs({ after: this.#rowsAfter, limit: rowsLimit });
    this.#rowsAfter = rows.length < rowsLimit ? null : (rows.at(-1)?.id ?? null);
    const brokered = rows.filter((row) => row.brokeredAtMs !== null);
    if (brokered.length > 0) await driveRows(hub, { rows: brokered, identity });
  }

  async #endEntries(hub: Hub, role: RoleLease): Promise<void> {
    const page = await hub.broker.list({ after: this.#after, limit: pageLimit });
    this.#after = page.length < pageLimit ? null : (page.at(-1)?.jobId ?? null);
    const ended = await hub.records.endedAmong(page.map((entry) => entry.jobId));
    for (const entry of ended) {
      if (role.current() === null) return;
      const fenceFloor = await floorOfEnded(hub, entry);
      await endInBroker(hub, { jobId: entry.jobId, token: fenceFloor, fenceFloor });
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
    tellMachine(hub, { machine: view.holder, notice: 'drop', body: { jobId: lease.jobId } });
  }
}
