import type { BrokerPulse, ReconcileTicket } from '#protocol/broker.ts';
import type { Job } from '#protocol/job.ts';
import type { JobId } from '#protocol/names.ts';
import type { FencingToken } from '#protocol/token.ts';
import { belongsInBroker, brokerEntry } from './broker-entry.ts';
import { finishCancel } from './cancel.ts';
import { driveRows } from './drive.ts';
import { floorOfEnded } from './exit.ts';
import type { Hub } from './hub.ts';
import type { RoleLease } from './roles.ts';
import type { StaleEntries } from './stale-entries.ts';

const pageLimit = 1_000;
/** How often one run starts again because the server changed under it, before it comes back later. */
const restartLimit = 5;

export interface ReconcileOptions {
  /** Goes on where the last run ended. */
  stale: StaleEntries;
  /** How the Broker just was, so that it need not be asked; null: ask it. */
  pulse: BrokerPulse | null;
}

/**
 * Brings the Broker in line with Records: in full while it is closed, else only rows that never
 * reached it, cancels without an end, and a page each of rows and entries that the other store may
 * have lost. Stops at once when its role is lost.
 */
export async function reconcile(hub: Hub, role: RoleLease, options: ReconcileOptions): Promise<void> {
  for (let tries = 0; tries < restartLimit; tries++) {
    if (role.current() === null) return;
    if (await isOpen(hub, options.pulse)) return await reconcileRest(hub, role, options);
    if ((await reconcileFully(hub, role)) === 'open') {
      hub.poke.recorder();
      hub.poke.sweeper();
      return await reconcileRest(hub, role, { ...options, pulse: null });
    }
  }
}

/** Asks the Broker unless beats have just told that it is the one that this hub knows, and open. */
async function isOpen(hub: Hub, pulse: BrokerPulse | null): Promise<boolean> {
  if (pulse?.open === true && pulse.identity === (await hub.identity.get())) return true;
  return (await hub.identity.refresh()).open;
}

/** Rows with no mark, and requested cancels, that are older than any hub still works on them. */
async function reconcileRest(hub: Hub, role: RoleLease, options: ReconcileOptions): Promise<void> {
  const olderThanMs = hub.env.clock.now() - hub.config.reconcileGraceMs;
  await driveUnbrokered(hub, role, olderThanMs);
  await finishCancels(hub, role, olderThanMs);
  if (role.current() === null) return;
  // Delayed entries of a hub that died have no timer elsewhere. An empty Broker has none.
  const isEmpty = options.pulse?.entries === 0;
  if (!isEmpty) hub.poke.promoter(hub.env.clock.now());
  await options.stale.run(hub, role, { isEmpty });
}

/**
 * Page after page for as long as pages are full and each brings rows in: hours of submits may wait behind
 * a Broker that could not be reached.
 */
async function driveUnbrokered(hub: Hub, role: RoleLease, olderThanMs: number): Promise<void> {
  const identity = await hub.identity.get();
  while (role.current() !== null) {
    const rows = await hub.records.unbrokeredJobs({ olderThanMs, limit: pageLimit });
    if (rows.length === 0) return;
    hub.env.log.info('reconcile.unbrokered', { jobs: rows.length });
    const driven = await driveRows(hub, { rows, identity });
    if (rows.length < pageLimit || driven.kind === 'left' || driven.inBroker.size === 0) return;
    // The next page must not be this one again.
    await hub.marks.written();
  }
}

async function finishCancels(hub: Hub, role: RoleLease, olderThanMs: number): Promise<void> {
  for (;;) {
    const cancels = await hub.records.unfinishedCancels({ olderThanMs, limit: pageLimit });
    let finished = 0;
    for (const { id: jobId, fenceFloor } of cancels) {
      if (role.current() === null) return;
      if ((await finishCancel(hub, { jobId, fenceFloor, actor: 'reconciler' })) !== 'requested') finished++;
    }
    if (cancels.length < pageLimit || finished === 0) return;
  }
}

/**
 * The full reconcile of docs/protocol.md §4. `changed`: the server is another one by now, or another
 * reconcile has begun; nothing was opened.
 */
async function reconcileFully(hub: Hub, role: RoleLease): Promise<'open' | 'changed' | 'stopped'> {
  // The start puts the Broker in order, entry by entry: not again and again while Records do not answer.
  await hub.records.openJobs({ after: null, limit: 1 });
  const ticket = await hub.broker.reconcileStart({ nonce: hub.env.newId('reconcile') });
  hub.identity.set(ticket.identity);
  hub.env.log.info('reconcile.started', { identity: ticket.identity });
  await hub.records.appendEvent(hubEvent(hub, 'broker.closed', ticket.identity));
  const driven = await redriveAll(hub, { ticket, role });
  if (driven === null) return role.current() === null ? 'stopped' : 'changed';
  await endTerminal(hub, role);
  if (role.current() === null) return 'stopped';
  const finished = await hub.broker.reconcileFinish(ticket);
  if (finished.kind === 'changed') return 'changed';
  hub.env.log.info('reconcile.opened', { identity: ticket.identity, jobs: driven });
  await hub.records.appendEvent(hubEvent(hub, 'broker.opened', ticket.identity));
  return 'open';
}

function hubEvent(hub: Hub, type: 'broker.closed' | 'broker.opened', identity: string) {
  return {
    type,
    jobId: null,
    machineId: null,
    data: { hubId: hub.hubId, identity },
    atMs: hub.env.clock.now(),
  };
}

/**
 * Every open row, with the lease that Records know of; null when the server changed. Cancels are
 * finished on the way. Two pages are on their way to the Broker while the next is read: it need not
 * wait for us to write a page, nor we for it to take one.
 */
async function redriveAll(
  hub: Hub,
  options: { ticket: ReconcileTicket; role: RoleLease },
): Promise<number | null> {
  const page = (after: JobId | null) => hub.records.openJobs({ after, limit: pageLimit });
  const sent: Promise<PromiseSettledResult<number | null>[]>[] = [];
  let driven = 0;
  try {
    for (let rows = await page(null); ; ) {
      if (options.role.current() === null) return null;
      const last = rows.length < pageLimit ? undefined : rows.at(-1);
      sent.push(Promise.allSettled([redrivePage(hub, rows, options.ticket)]));
      rows = last === undefined ? [] : await page(last.id);
      const mayStay = last === undefined ? 0 : 1;
      while (sent.length > mayStay) {
        const [outcome] = (await sent.shift()) ?? [];
        if (outcome?.status !== 'fulfilled') throw outcome?.reason;
        if (outcome.value === null) return null;
        driven += outcome.value;
      }
      if (last === undefined) return driven;
    }
  } finally {
    // Whoever leaves early leaves nothing behind that goes on without its role.
    await Promise.all(sent);
  }
}

/** How many of these rows are in the Broker now; null when its server changed. */
async function redrivePage(hub: Hub, rows: Job[], ticket: ReconcileTicket): Promise<number | null> {
  const wanted = rows.filter(belongsInBroker);
  let there: Job[] = [];
  if (wanted.length > 0) {
    const { identity } = ticket;
    const answer = await hub.broker.submit({ identity, ticket, entries: wanted.map(brokerEntry) });
    if (answer.kind !== 'ok') return null;
    there = wanted.filter((_, index) => {
      const kind = answer.answers[index]?.kind;
      return kind === 'added' || kind === 'exists';
    });
    // A mark says that the row reached a Broker once: most rows of a rebuild have it.
    const unmarked = there.filter((row) => row.brokeredAtMs === null);
    if (unmarked.length > 0)
      await hub.records.markBrokered(
        unmarked.map(({ id: jobId, fenceFloor }) => ({ jobId, fenceFloor })),
        hub.env.clock.now(),
      );
  }
  for (const { id: jobId, fenceFloor, cancelRequestedAtMs } of rows) {
    if (cancelRequestedAtMs !== null) await finishCancel(hub, { jobId, fenceFloor, actor: 'reconciler' });
  }
  return there.length;
}

/** Ends every id that the Broker holds and whose row is terminal or gone (W6). Reads a page ahead, too. */
async function endTerminal(hub: Hub, role: RoleLease): Promise<void> {
  const page = (after: JobId | null) => hub.broker.list({ after, limit: pageLimit });
  for (let entries = await page(null); ; ) {
    if (role.current() === null) return;
    const last = entries.length < pageLimit ? undefined : entries.at(-1);
    const [ended, next] = await Promise.all([
      hub.records.endedAmong(entries.map((each) => each.jobId)),
      last === undefined ? [] : page(last.jobId),
    ]);
    for (const entry of ended) {
      const fenceFloor = await floorOfEnded(hub, entry);
      await end(hub, { jobId: entry.jobId, fenceFloor });
    }
    if (last === undefined) return;
    entries = next;
  }
}

/** A Broker that fails here rejects: a reconcile that missed an id must not open it. */
async function end(hub: Hub, options: { jobId: JobId; fenceFloor: FencingToken }): Promise<void> {
  const { jobId, fenceFloor } = options;
  await hub.broker.complete({ jobId, token: fenceFloor, fenceFloor });
}
