import type { BrokerEvent } from '#protocol/broker.ts';
import { progressEventStep } from '#protocol/events.ts';
import { isTerminal } from '#protocol/job.ts';
import type { Records } from '#protocol/records.ts';
import { compareTokens } from '#protocol/token.ts';
import type { Database } from './database.ts';
import { type Guard, readGuard } from './job-rows.ts';
import { recordChange, recordFact } from './ledger.ts';
import { openRun, type RunRow, readRun } from './runs.ts';
import { leaseStands } from './singletons.ts';

/**
 * The recorder's copy of what happened in the Broker: at least once, in order, with the cursor in the
 * same commit. What Records know already, or know better, changes nothing.
 */

type Claim = BrokerEvent & { kind: 'leased' | 'adopted'; machineId: string; incarnation: number };

const isClaim = (event: BrokerEvent): event is Claim =>
  (event.kind === 'leased' || event.kind === 'adopted') &&
  event.machineId !== null &&
  event.incarnation !== null;

const takeLease = `UPDATE jobs SET state = 'leased', token = CAST(? AS INTEGER), machine_id = ?, incarnation = ?, started_at_ms = ?, progress = 0,
  brokered_at_ms = coalesce(brokered_at_ms, ?) WHERE ordinal = ?`;
const copiedBefore =
  "SELECT 1 FROM events WHERE job_id = ? AND type = ? AND json_extract(data, '$.token') = ?";

/** `leased` and `adopted`: once per (job, token, kind), whatever server tells it. */
function copyClaim(db: Database, guard: Guard, event: Claim): void {
  const { jobId, token, kind, machineId, incarnation, atMs } = event;
  const type = `job.${kind}` as const;
  const known = readRun(db, guard.ordinal, token);
  if (kind === 'leased' ? known?.leasedCopied : known?.adoptedCopied) return;
  const late =
    isTerminal(guard.state) || guard.state === 'held' || compareTokens(token, guard.fenceFloor) < 0;
  // Fenced before Records heard of it, so nothing came of it: the event is all that it leaves.
  if (late && !known && db.get(copiedBefore, jobId, type, token)) return;
  if (!late) takeClaim(db, guard, event);
  const run = known?.run ?? (late ? event.run : guard.runs);
  if (known || !late) markCopied(db, guard, event, known);
  recordFact(db, {
    type,
    jobId,
    machineId,
    data: {
      token,
      machineId,
      incarnation,
      run,
      late: late || (known !== null && known.outcome !== 'running'),
    },
    atMs,
  });
}

function takeClaim(db: Database, guard: Guard, { token, machineId, incarnation, atMs }: Claim): void {
  openRun(db, guard, { token, holder: { machineId, incarnation }, startedAtMs: atMs });
  // An older claim than the one recorded, or that very one: its run is all there is to record.
  if (guard.state === 'leased' && guard.token !== null && compareTokens(token, guard.token) <= 0) return;
  db.run(takeLease, token, machineId, incarnation, atMs, atMs, guard.ordinal);
  if (guard.state === 'leased') return;
  recordChange(db, {
    ordinal: guard.ordinal,
    from: guard.state,
    to: 'leased',
    operation: 'claim',
    actor: 'recorder',
    reason: null,
    token,
    atMs,
  });
}

/** Also dates back the start of a run of which Records knew only the end. */
function markCopied(db: Database, guard: Guard, { kind, token, atMs }: Claim, known: RunRow | null): void {
  if (kind === 'adopted') {
    db.run(
      'UPDATE runs SET adopted_copied = 1 WHERE job = ? AND token = CAST(? AS INTEGER)',
      guard.ordinal,
      token,
    );
    return;
  }
  db.run(
    'UPDATE runs SET leased_copied = 1, started_at_ms = min(started_at_ms, ?) WHERE job = ? AND token = CAST(? AS INTEGER)',
    atMs,
    guard.ordinal,
    token,
  );
  if (!known) return;
  db.run(
    'UPDATE jobs SET started_at_ms = min(started_at_ms, ?) WHERE ordinal = ? AND token = CAST(? AS INTEGER) AND started_at_ms > ?',
    atMs,
    guard.ordinal,
    token,
    atMs,
  );
}

function copyPromotion(db: Database, guard: Guard, { jobId, atMs }: BrokerEvent): void {
  if (guard.state !== 'scheduled' || guard.notBeforeMs === null || guard.notBeforeMs > atMs) return;
  db.run(
    "UPDATE jobs SET state = 'waiting', brokered_at_ms = coalesce(brokered_at_ms, ?) WHERE ordinal = ?",
    atMs,
    guard.ordinal,
  );
  const { ordinal, token } = guard;
  recordChange(db, {
    ordinal,
    from: 'scheduled',
    to: 'waiting',
    operation: 'promote',
    actor: 'recorder',
    reason: null,
    token,
    atMs,
  });
  recordFact(db, { type: 'job.promoted', jobId, machineId: null, data: {}, atMs });
}

/** Only for the run that holds the job, and only upward: a copy of an older report is nothing new. */
function copyProgress(db: Database, guard: Guard, { jobId, token, fraction, atMs }: BrokerEvent): void {
  const { state, machineId, incarnation } = guard;
  if (
    state !== 'leased' ||
    guard.token !== token ||
    fraction === null ||
    machineId === null ||
    incarnation === null
  )
    return;
  const progress = Math.min(1, fraction);
  if (!(progress > guard.progress)) return;
  db.run('UPDATE jobs SET progress = ? WHERE ordinal = ?', progress, guard.ordinal);
  const step = (share: number) => Math.floor(share / progressEventStep + 1e-9);
  if (step(progress) === step(guard.progress)) return;
  recordFact(db, {
    type: 'job.progressed',
    jobId,
    machineId,
    data: { token, machineId, incarnation, progress },
    atMs,
  });
}

function copyEvent(db: Database, event: BrokerEvent): void {
  const guard = readGuard(db, event.jobId);
  if (!guard) return;
  if (isClaim(event)) copyClaim(db, guard, event);
  else if (event.kind === 'promoted') copyPromotion(db, guard, event);
  else if (event.kind === 'progress') copyProgress(db, guard, event);
}

function cursorOf(db: Database, identity: string): number {
  return Number(db.get('SELECT cursor FROM recorder_cursors WHERE identity = ?', identity)?.cursor ?? 0);
}

const setCursor =
  'INSERT INTO recorder_cursors (identity, cursor) VALUES (?, ?) ON CONFLICT (identity) DO UPDATE SET cursor = excluded.cursor';

type Recorded = Awaited<ReturnType<Records['recordBrokerEvents']>>;

export function recorderMethods(
  db: Database,
  nowMs: () => number,
): Pick<Records, 'recordBrokerEvents' | 'recorderCursor'> {
  return {
    recordBrokerEvents: ({ identity, events, lease }) =>
      db.write((): Recorded => {
        if (!leaseStands(db, lease, nowMs())) return { kind: 'staleSingleton' };
        let cursor = cursorOf(db, identity);
        for (const event of events) {
          if (event.id <= cursor) continue;
          copyEvent(db, event);
          cursor = event.id;
        }
        db.run(setCursor, identity, cursor);
        return { kind: 'ok', value: { cursor } };
      }, events.length),

    recorderCursor: (identity) => db.read(() => cursorOf(db, identity)),
  };
}
