import { toEmpError } from '#protocol/errors.ts';
import type { Job } from '#protocol/job.ts';
import type { JobId } from '#protocol/names.ts';
import type { FencingToken } from '#protocol/token.ts';
import { belongsInBroker, brokerEntry } from './broker-entry.ts';
import type { Hub } from './hub.ts';
import { wakeUnnamed } from './wake.ts';

/** How often rows are read again because the Broker's server changed under them. */
const identityTries = 4;
const batchLimit = 1_000;

export type DriveAnswer =
  | { kind: 'ok'; inBroker: Set<JobId> }
  /** The Broker is closed, unreachable or keeps changing: the reconciler takes these rows. */
  | { kind: 'left' };

/**
 * Brings committed rows into the Broker and marks those that are there: the second half of submit,
 * requeue and re-drive. `identity` is the server identity under which the rows were read; if it has
 * changed they are read again (W13). A refusal or failure leaves `brokeredAt` null, which is what
 * the reconciler looks for. Never throws for a Broker's sake; rejects when Records fail.
 */
export async function driveRows(hub: Hub, options: { rows: Job[]; identity: string }): Promise<DriveAnswer> {
  const inBroker = new Set<JobId>();
  for (let start = 0; start < options.rows.length; start += batchLimit) {
    const rows = options.rows.slice(start, start + batchLimit);
    const answer = await driveBatch(hub, rows, options.identity);
    if (answer === null) {
      hub.poke.reconciler();
      return { kind: 'left' };
    }
    for (const jobId of answer) inBroker.add(jobId);
  }
  return { kind: 'ok', inBroker };
}

async function driveBatch(hub: Hub, given: Job[], identity: string): Promise<JobId[] | null> {
  let rows = given.filter(belongsInBroker);
  let under = identity;
  for (let tries = 0; tries < identityTries; tries++) {
    if (rows.length === 0) return [];
    const answer = await submitEntries(hub, rows, under);
    if (answer === null || answer.kind === 'closed') return null;
    if (answer.kind === 'ok') return settle(hub, rows, answer.answers);
    under = answer.identity;
    hub.identity.set(under);
    hub.poke.reconciler();
    const again = await Promise.all(rows.map((row) => hub.records.getJob(row.id)));
    rows = again.filter((row) => row !== null).filter(belongsInBroker);
  }
  return null;
}

async function submitEntries(hub: Hub, rows: Job[], identity: string) {
  try {
    return await hub.broker.submit({ identity, entries: rows.map(brokerEntry) });
  } catch (error) {
    const failure = toEmpError(error, 'BROKER_UNAVAILABLE');
    hub.env.log.warn('broker.submit.failed', {
      code: failure.code,
      detail: failure.message,
      jobs: rows.length,
    });
    return null;
  }
}

type SubmitAnswers = Extract<Awaited<ReturnType<Hub['broker']['submit']>>, { kind: 'ok' }>['answers'];

function settle(hub: Hub, rows: Job[], answers: SubmitAnswers): JobId[] {
  const marks: { jobId: JobId; fenceFloor: FencingToken }[] = [];
  const there: JobId[] = [];
  for (const [index, answer] of answers.entries()) {
    const row = rows[index];
    if (row === undefined) continue;
    if (answer.kind === 'tombstoned') {
      // Ended since the row was read, or kept out until the tombstone's time has passed.
      hub.env.log.info('broker.submit.tombstoned', { jobId: row.id, fenceFloor: answer.fenceFloor });
      continue;
    }
    there.push(row.id);
    if (row.brokeredAtMs === null) marks.push({ jobId: row.id, fenceFloor: row.fenceFloor });
    if (answer.kind === 'added') announce(hub, row, answer.wake);
  }
  hub.marks.add(marks);
  return there;
}

/** Wakes whom the Broker names, or an idle machine that fits a group which the Broker has not seen it offer. */
function announce(hub: Hub, row: Job, wake: { machineId: string; incarnation: number } | null): void {
  if (row.state === 'scheduled') hub.poke.promoter(row.notBeforeMs);
  else {
    hub.groups.noteWork(row.group);
    hub.lanes.noteWork(row);
  }
  if (wake !== null) return hub.wake(wake, [row.group]);
  if (row.state === 'waiting' && !wakeUnnamed(hub, row.group)) hub.peers.offer(row.group);
}
