import type { BrokerEvent } from './broker.ts';
import { progressEventStep } from './events.ts';
import { isTerminal } from './job.ts';
import { type JobLedger, openRun, recordChange, recordFact, updateRow, updateRun } from './ledger.ts';
import { compareTokens, type FencingToken } from './token.ts';

/**
 * The recorder's copy of what happened in the Broker: at least once, in order. What Records know
 * already, or know better, changes nothing.
 */

type Claim = BrokerEvent & { kind: 'leased' | 'adopted'; machineId: string; incarnation: number };

const isClaim = (event: BrokerEvent): event is Claim =>
  (event.kind === 'leased' || event.kind === 'adopted') &&
  event.machineId !== null &&
  event.incarnation !== null;

/** Whether a fact of this type was committed for the job and this token, in this commit or before. */
export type Told = (type: 'job.leased' | 'job.adopted', token: FencingToken) => boolean;

/** `told` is asked only about claims that left no run. */
export function copyEvent(ledger: JobLedger, event: BrokerEvent, told: Told): void {
  if (isClaim(event)) copyClaim(ledger, event, told);
  else if (event.kind === 'promoted') copyPromotion(ledger, event);
  else if (event.kind === 'progress') copyProgress(ledger, event);
}

/** `leased` and `adopted`: once per (job, token, kind), whatever server tells it. */
function copyClaim(ledger: JobLedger, event: Claim, told: Told): void {
  const { row, runs, entries } = ledger;
  const { jobId, token, kind, machineId, incarnation, atMs } = event;
  const type = `job.${kind}` as const;
  const known = runs.get(token);
  if (kind === 'leased' ? known?.leasedCopied : known?.adoptedCopied) return;
  const late = isTerminal(row.state) || row.state === 'held' || compareTokens(token, row.fenceFloor) < 0;
  // Fenced before Records heard of it, so nothing came of it: the event is all that it leaves.
  if (late && !known && told(type, token)) return;
  const tooLate = late || (known !== undefined && known.outcome !== 'running');
  if (!late) takeClaim(ledger, event);
  const run = known?.run ?? (late ? event.run : row.runs);
  markCopied(ledger, event, known !== undefined);
  const data = { token, machineId, incarnation, run, late: tooLate, ...event.choice };
  recordFact(entries, { type, jobId, machineId, data, atMs });
}

function takeClaim(ledger: JobLedger, { jobId, token, machineId, incarnation, atMs }: Claim): void {
  const { row, entries } = ledger;
  openRun(ledger, { token, holder: { machineId, incarnation }, startedAtMs: atMs });
  // An older claim than the one recorded, or that very one: its run is all there is to record.
  if (row.state === 'leased' && row.token !== null && compareTokens(token, row.token) <= 0) return;
  const from = row.state;
  const brokeredAtMs = row.brokeredAtMs ?? atMs;
  updateRow(ledger, { state: 'leased', token, machineId, incarnation, startedAtMs: atMs, progress: 0 });
  updateRow(ledger, { brokeredAtMs });
  if (from === 'leased') return;
  const change = { jobId, from, to: 'leased', operation: 'claim', actor: 'recorder' } as const;
  recordChange(entries, { ...change, reason: null, token, atMs });
}

/** Also dates back the start of a run of which Records knew only the end. */
function markCopied(ledger: JobLedger, { kind, token, atMs }: Claim, known: boolean): void {
  const { row } = ledger;
  const run = ledger.runs.get(token);
  if (!run) return;
  if (kind === 'adopted') return updateRun(ledger, run, { adoptedCopied: true });
  updateRun(ledger, run, { leasedCopied: true, startedAtMs: Math.min(run.startedAtMs, atMs) });
  if (known && row.token === token && row.startedAtMs !== null && row.startedAtMs > atMs)
    updateRow(ledger, { startedAtMs: atMs });
}

function copyPromotion(ledger: JobLedger, { jobId, atMs }: BrokerEvent): void {
  const { row, entries } = ledger;
  if (row.state !== 'scheduled' || row.notBeforeMs === null || row.notBeforeMs > atMs) return;
  updateRow(ledger, { state: 'waiting', brokeredAtMs: row.brokeredAtMs ?? atMs });
  const change = {
    jobId,
    from: 'scheduled',
    to: 'waiting',
    operation: 'promote',
    actor: 'recorder',
  } as const;
  recordChange(entries, { ...change, reason: null, token: row.token, atMs });
  recordFact(entries, { type: 'job.promoted', jobId, machineId: null, data: {}, atMs });
}

/** Only for the run that holds the job, and only upward: a copy of an older report is nothing new. */
function copyProgress(ledger: JobLedger, { jobId, token, fraction, atMs }: BrokerEvent): void {
  const { state, machineId, incarnation, progress: before, token: holderToken } = ledger.row;
  if (state !== 'leased' || holderToken !== token || fraction === null) return;
  if (machineId === null || incarnation === null) return;
  const progress = Math.min(1, fraction);
  if (!(progress > before)) return;
  updateRow(ledger, { progress });
  const step = (share: number) => Math.floor(share / progressEventStep + 1e-9);
  if (step(progress) === step(before)) return;
  const data = { token, machineId, incarnation, progress };
  recordFact(ledger.entries, { type: 'job.progressed', jobId, machineId, data, atMs });
}
