import { type Entries, recordFact } from './ledger.ts';
import type { MachineRow, Records } from './records.ts';

/** What becomes of a machine's row, for every store alike: null = the call has no say. */

type Enrol = Parameters<Records['enrolMachine']>[0];
type Resume = Parameters<Records['resumeMachine']>[0];
type Report = Parameters<Records['reportMachine']>[0];
type Flags = Parameters<Records['setMachineFlags']>[0];

export function recordEnrolment(entries: Entries, row: MachineRow, options: Enrol): void {
  const { machineId, classId, machineClass, hubId, nowMs } = options;
  const data = { incarnation: row.incarnation, classId, pool: machineClass.pool, hubId };
  recordFact(entries, { type: 'machine.joined', jobId: null, machineId, data, atMs: nowMs });
}

function recordState(entries: Entries, { machineId, incarnation, state, hubId }: MachineRow, atMs: number) {
  const fact = { jobId: null, machineId, atMs };
  if (state === 'joined')
    recordFact(entries, { ...fact, type: 'machine.resumed', data: { incarnation, hubId } });
  else {
    const type = state === 'lost' ? 'machine.lost' : 'machine.left';
    recordFact(entries, { ...fact, type, data: { incarnation } });
  }
}

/** An incarnation that said LEAVE has ended: its process must enrol again. */
export function resumedMachine(entries: Entries, row: MachineRow | null, options: Resume): MachineRow | null {
  if (!row || row.incarnation !== options.incarnation || row.state === 'left') return null;
  const { hubId, nowMs } = options;
  const lastSeenAtMs = Math.max(row.lastSeenAtMs, nowMs);
  const next: MachineRow = { ...row, state: 'joined', hubId, lastSeenAtMs };
  if (row.state !== 'joined') recordState(entries, next, nowMs);
  return next;
}

/** An older incarnation has no say; one that left stays so. Silence is not seeing. */
export function reportedMachine(
  entries: Entries,
  row: MachineRow | null,
  options: Report,
): MachineRow | null {
  if (!row || row.incarnation !== options.incarnation || row.state === 'left') return null;
  const { state, report, nowMs } = options;
  const lastSeenAtMs = state === 'lost' ? row.lastSeenAtMs : Math.max(row.lastSeenAtMs, nowMs);
  const next: MachineRow = { ...row, state, report, lastSeenAtMs };
  if (row.state !== state) recordState(entries, next, nowMs);
  return next;
}

/** The row itself where nothing changes. */
export function flaggedMachine(
  entries: Entries,
  row: MachineRow,
  { cordoned = row.cordoned, draining = row.draining }: Flags,
  atMs: number,
): MachineRow {
  if (cordoned === row.cordoned && draining === row.draining) return row;
  const { machineId, incarnation } = row;
  const data = { incarnation, cordoned, draining };
  recordFact(entries, { type: 'machine.flagged', jobId: null, machineId, data, atMs });
  return { ...row, cordoned, draining };
}
