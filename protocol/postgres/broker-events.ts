import type { BrokerEvent } from '#protocol/broker.ts';
import { isTerminal } from '#protocol/job.ts';
import { type Entries, newEntries } from '#protocol/ledger.ts';
import type { JobId } from '#protocol/names.ts';
import type { Records } from '#protocol/records.ts';
import { copyEvent } from '#protocol/records-recorder.ts';
import { compareTokens } from '#protocol/token.ts';
import type { Database, Transaction } from './database.ts';
import { type HeldJob, holdJobs, writeJobs } from './ledgers.ts';
import { leaseHolds } from './singletons.ts';

/** The recorder's copy of the Broker's events, with its cursor in the same commit. */

const readCursor = 'SELECT cursor FROM emp.recorder_cursors WHERE identity = $1';
const writeCursor = `INSERT INTO emp.recorder_cursors (identity, cursor) VALUES ($1, $2)
  ON CONFLICT (identity) DO UPDATE SET cursor = excluded.cursor`;

async function cursorOf(db: Pick<Database, 'query'>, identity: string): Promise<number> {
  const [row] = await db.query<{ cursor: string }>(readCursor, [identity]);
  return Number(row?.cursor ?? 0);
}

const toldBefore = `SELECT job_id, type, data FROM emp.events WHERE job_id = ANY($1) AND type IN ('job.leased', 'job.adopted')`;

const claimKey = (type: string, jobId: string | null, token: unknown) => `${type} ${jobId} ${token}`;

/**
 * Claims that were told as late and left no run, by key. Asked only for jobs of which such a claim may
 * be among these events: a job that is not late yet does not become so by what the recorder copies.
 */
async function lateClaims(
  tx: Transaction,
  events: BrokerEvent[],
  held: Map<JobId, HeldJob>,
): Promise<Set<string>> {
  const suspects = events.filter(({ kind, jobId, token }) => {
    const ledger = held.get(jobId)?.ledger;
    if (!ledger || (kind !== 'leased' && kind !== 'adopted') || ledger.runs.has(token)) return false;
    const { state, fenceFloor } = ledger.row;
    return isTerminal(state) || state === 'held' || compareTokens(token, fenceFloor) < 0;
  });
  if (suspects.length === 0) return new Set();
  const rows = await tx.query<{ job_id: string; type: string; data: string }>(toldBefore, [
    [...new Set(suspects.map(({ jobId }) => jobId))],
  ]);
  return new Set(rows.map((row) => claimKey(row.type, row.job_id, JSON.parse(row.data).token)));
}

function copyAll(
  events: BrokerEvent[],
  held: Map<JobId, HeldJob>,
  options: { entries: Entries; told: Set<string> },
): void {
  for (const event of events) {
    const ledger = held.get(event.jobId)?.ledger;
    if (!ledger) continue;
    const before = options.entries.facts.length;
    copyEvent(ledger, event, (type, token) => options.told.has(claimKey(type, event.jobId, token)));
    for (const fact of options.entries.facts.slice(before))
      if ('token' in fact.data) options.told.add(claimKey(fact.type, fact.jobId, fact.data.token));
  }
}

type Recording = Parameters<Records['recordBrokerEvents']>[0];
type Recorded = Awaited<ReturnType<Records['recordBrokerEvents']>>;

async function record(tx: Transaction, { identity, events, lease }: Recording): Promise<Recorded> {
  if (!(await leaseHolds(tx, lease))) return { kind: 'staleSingleton' };
  let cursor = await cursorOf(tx, identity);
  const fresh: BrokerEvent[] = [];
  for (const event of events) {
    if (event.id <= cursor) continue;
    fresh.push(event);
    cursor = event.id;
  }
  const entries = newEntries();
  const held = await holdJobs(
    tx,
    fresh.map(({ jobId }) => jobId),
    entries,
  );
  copyAll(fresh, held, { entries, told: await lateClaims(tx, fresh, held) });
  await writeJobs(tx, held, entries);
  await tx.query(writeCursor, [identity, cursor]);
  return { kind: 'ok', value: { cursor } };
}

export function recorderMethods(db: Database): Pick<Records, 'recordBrokerEvents' | 'recorderCursor'> {
  return {
    recordBrokerEvents: (options) => db.transaction((tx) => record(tx, options)),
    recorderCursor: (identity) => cursorOf(db, identity),
  };
}
