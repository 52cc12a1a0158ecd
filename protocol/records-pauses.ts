import { EmpError } from './errors.ts';
import { newEntries, recordFact } from './ledger.ts';
import { type Pause, pausesLimit } from './records.ts';

/** What pauses come to in every store: the facts that are told, and their limit. */

/** The pause as it is kept: one that holds already keeps its time. */
export function keptPause(before: Pause | null, asked: Pause): Pause {
  return before === null ? asked : { ...asked, sinceMs: before.sinceMs };
}

export function checkPauses(count: number): void {
  if (count < pausesLimit) return;
  const detail = `${pausesLimit} pools, services and customers are held back already: resume some first`;
  throw new EmpError('CONFLICT', { detail });
}

export function pausedFact({ kind, name, reason, actor }: Pause, atMs: number) {
  const entries = newEntries();
  const data = { kind, name, reason, actor };
  recordFact(entries, { type: 'work.paused', jobId: null, machineId: null, data, atMs });
  return entries;
}

export function resumedFact({ kind, name, actor }: Pick<Pause, 'kind' | 'name' | 'actor'>, atMs: number) {
  const entries = newEntries();
  const data = { kind, name, actor };
  recordFact(entries, { type: 'work.resumed', jobId: null, machineId: null, data, atMs });
  return entries;
}
