import { newEntries } from '#protocol/ledger.ts';
import type { MachineRow, Records } from '#protocol/records.ts';
import { checkedReport } from '#protocol/records-checks.ts';
import {
  flaggedMachine,
  recordEnrolment,
  reportedMachine,
  resumedMachine,
} from '#protocol/records-machines.ts';
import type { Database, Row } from './database.ts';
import { Documents } from './documents.ts';
import { writeEntries } from './ledger.ts';

/** Machines, their incarnations and classes. Every change of a machine's state leaves its event. */

const selectMachines =
  'SELECT machine_id, incarnation, class_id, machine_class, state, cordoned, draining, joined_at_ms, last_seen_at_ms, hub_id, report FROM machines';

/** What machines say of themselves is the same in every row of theirs, and read every few seconds. */
const classes = new Documents<MachineRow['machineClass']>({ limit: 1_000 });

function classOf(row: Row): MachineRow['machineClass'] {
  const text = String(row.machine_class);
  return classes.get(text, () => text);
}

function toMachine(row: Row): MachineRow {
  return {
    machineId: String(row.machine_id),
    incarnation: Number(row.incarnation),
    classId: String(row.class_id),
    machineClass: classOf(row),
    state: row.state as MachineRow['state'],
    cordoned: row.cordoned === 1,
    draining: row.draining === 1,
    joinedAtMs: Number(row.joined_at_ms),
    lastSeenAtMs: Number(row.last_seen_at_ms),
    hubId: row.hub_id as string | null,
    report: JSON.parse(String(row.report)),
  };
}

function readMachine(db: Database, machineId: string): MachineRow | null {
  const row = db.get(`${selectMachines} WHERE machine_id = ?`, machineId);
  return row ? toMachine(row) : null;
}

const update =
  'UPDATE machines SET state = ?, cordoned = ?, draining = ?, last_seen_at_ms = ?, hub_id = ?, report = ? WHERE machine_id = ?';

function writeMachine(db: Database, row: MachineRow): void {
  const { machineId, state, cordoned, draining, lastSeenAtMs, hubId, report } = row;
  const text = JSON.stringify(report);
  db.run(update, state, Number(cordoned), Number(draining), lastSeenAtMs, hubId, text, machineId);
}

/** A new process: cordoned stays (an operator's word about the machine), draining was the old one's. */
const enrol = `INSERT INTO machines (machine_id, incarnation, class_id, machine_class, state, joined_at_ms, last_seen_at_ms, hub_id)
  VALUES (?, 1, ?, ?, 'joined', ?, ?, ?) ON CONFLICT (machine_id) DO UPDATE SET incarnation = incarnation + 1, class_id = excluded.class_id,
  machine_class = excluded.machine_class, state = 'joined', draining = 0, joined_at_ms = excluded.joined_at_ms,
  last_seen_at_ms = excluded.last_seen_at_ms, hub_id = excluded.hub_id, report = '{}'`;
const seeClass = `INSERT INTO machine_classes (class_id, machine_class, seen_at_ms) VALUES (?, ?, ?)
  ON CONFLICT (class_id) DO UPDATE SET seen_at_ms = max(seen_at_ms, excluded.seen_at_ms)`;

function enrolMachine(db: Database, options: Parameters<Records['enrolMachine']>[0]): MachineRow {
  const { machineId, classId, machineClass, hubId, nowMs } = options;
  const text = JSON.stringify(machineClass);
  db.run(enrol, machineId, classId, text, nowMs, nowMs, hubId);
  db.run(seeClass, classId, text, nowMs);
  const row = readMachine(db, machineId);
  if (!row) throw new Error(`machine ${machineId} has no row after its enrolment`);
  const entries = newEntries();
  recordEnrolment(entries, row, options);
  writeEntries(db, null, entries);
  return row;
}

function resumeMachine(db: Database, options: Parameters<Records['resumeMachine']>[0]): MachineRow | null {
  const entries = newEntries();
  const row = resumedMachine(entries, readMachine(db, options.machineId), options);
  if (!row) return null;
  writeMachine(db, row);
  db.run(seeClass, row.classId, JSON.stringify(row.machineClass), options.nowMs);
  writeEntries(db, null, entries);
  return row;
}

function reportMachine(db: Database, options: Parameters<Records['reportMachine']>[0]): void {
  checkedReport(options.report);
  const entries = newEntries();
  const row = reportedMachine(entries, readMachine(db, options.machineId), options);
  if (!row) return;
  writeMachine(db, row);
  writeEntries(db, null, entries);
}

function setFlags(
  db: Database,
  options: Parameters<Records['setMachineFlags']>[0],
  atMs: number,
): MachineRow | null {
  const row = readMachine(db, options.machineId);
  if (!row) return null;
  const entries = newEntries();
  const next = flaggedMachine(entries, row, options, atMs);
  if (next === row) return row;
  writeMachine(db, next);
  writeEntries(db, null, entries);
  return next;
}

const seenClasses = `SELECT class_id, machine_class FROM machine_classes WHERE seen_at_ms >= ?1
  OR class_id IN (SELECT class_id FROM machines WHERE last_seen_at_ms >= ?1) ORDER BY class_id`;

type MachineMethods =
  | 'enrolMachine'
  | 'resumeMachine'
  | 'reportMachine'
  | 'setMachineFlags'
  | 'listMachines'
  | 'getMachine'
  | 'listClasses';

export function machineMethods(db: Database, nowMs: () => number): Pick<Records, MachineMethods> {
  return {
    enrolMachine: (options) => db.write(() => enrolMachine(db, options)),
    resumeMachine: (options) => db.write(() => resumeMachine(db, options)),
    reportMachine: (options) => db.write(() => reportMachine(db, options)),
    setMachineFlags: (options) => db.write(() => setFlags(db, options, nowMs())),
    listMachines: ({ seenAfterMs }) =>
      db.readOne(() => {
        const rows =
          seenAfterMs === null
            ? db.all(`${selectMachines} ORDER BY machine_id`)
            : db.all(`${selectMachines} WHERE last_seen_at_ms > ? ORDER BY machine_id`, seenAfterMs);
        return rows.map(toMachine);
      }),
    getMachine: (machineId) => db.readOne(() => readMachine(db, machineId)),
    listClasses: ({ seenAfterMs }) =>
      db.readOne(() =>
        db.all(seenClasses, seenAfterMs).map((row) => ({
          classId: String(row.class_id),
          machineClass: classOf(row),
        })),
      ),
  };
}
