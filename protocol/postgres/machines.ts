import { newEntries } from '#protocol/ledger.ts';
import type { MachineRow, Records } from '#protocol/records.ts';
import { checkedReport } from '#protocol/records-checks.ts';
import {
  flaggedMachine,
  recordEnrolment,
  reportedMachine,
  resumedMachine,
} from '#protocol/records-machines.ts';
import type { Database, Row, Transaction } from './database.ts';
import { writeEntries } from './ledgers.ts';

/** Machines, their incarnations and classes. Locks go machine, then class. */

const columns =
  'machine_id, incarnation, class_id, machine_class, state, cordoned, draining, joined_at_ms, last_seen_at_ms, hub_id, report';
const selectMachines = `SELECT ${columns} FROM emp.machines`;

function toMachine(row: Row): MachineRow {
  return {
    machineId: String(row.machine_id),
    incarnation: Number(row.incarnation),
    classId: String(row.class_id),
    machineClass: JSON.parse(String(row.machine_class)),
    state: row.state as MachineRow['state'],
    cordoned: row.cordoned === true,
    draining: row.draining === true,
    joinedAtMs: Number(row.joined_at_ms),
    lastSeenAtMs: Number(row.last_seen_at_ms),
    hubId: row.hub_id as string | null,
    report: JSON.parse(String(row.report)),
  };
}

async function readMachine(
  db: Pick<Database, 'query'>,
  machineId: string,
  lock = '',
): Promise<MachineRow | null> {
  const [row] = await db.query(`${selectMachines} WHERE machine_id = $1 ${lock}`, [machineId]);
  return row ? toMachine(row) : null;
}

const lockMachine = (tx: Transaction, machineId: string) => readMachine(tx, machineId, 'FOR NO KEY UPDATE');

const write = `UPDATE emp.machines SET state = $2, cordoned = $3, draining = $4, last_seen_at_ms = $5, hub_id = $6, report = $7
  WHERE machine_id = $1`;

async function writeMachine(tx: Transaction, row: MachineRow): Promise<void> {
  const { machineId, state, cordoned, draining, lastSeenAtMs, hubId, report } = row;
  await tx.query(write, [machineId, state, cordoned, draining, lastSeenAtMs, hubId, JSON.stringify(report)]);
}

/** A new process: cordoned stays (an operator's word about the machine), draining was the old one's. */
const enrol = `INSERT INTO emp.machines AS m (machine_id, incarnation, class_id, machine_class, state, joined_at_ms, last_seen_at_ms, hub_id)
  VALUES ($1, 1, $2, $3, 'joined', $4, $4, $5) ON CONFLICT (machine_id) DO UPDATE SET incarnation = m.incarnation + 1, class_id = excluded.class_id,
  machine_class = excluded.machine_class, state = 'joined', draining = false, joined_at_ms = excluded.joined_at_ms,
  last_seen_at_ms = excluded.last_seen_at_ms, hub_id = excluded.hub_id, report = '{}' RETURNING ${columns}`;
const seeClass = `INSERT INTO emp.machine_classes AS c (class_id, machine_class, seen_at_ms) VALUES ($1, $2, $3)
  ON CONFLICT (class_id) DO UPDATE SET seen_at_ms = greatest(c.seen_at_ms, excluded.seen_at_ms)`;

async function enrolMachine(
  tx: Transaction,
  options: Parameters<Records['enrolMachine']>[0],
): Promise<MachineRow> {
  const { machineId, classId, machineClass, hubId, nowMs } = options;
  const text = JSON.stringify(machineClass);
  const [stored] = await tx.query(enrol, [machineId, classId, text, nowMs, hubId]);
  if (!stored) throw new Error(`machine ${machineId} has no row after its enrolment`);
  const row = toMachine(stored);
  await tx.query(seeClass, [classId, text, nowMs]);
  const entries = newEntries();
  recordEnrolment(entries, row, options);
  await writeEntries(tx, entries);
  return row;
}

async function resumeMachine(
  tx: Transaction,
  options: Parameters<Records['resumeMachine']>[0],
): Promise<MachineRow | null> {
  const entries = newEntries();
  const row = resumedMachine(entries, await lockMachine(tx, options.machineId), options);
  if (!row) return null;
  await writeMachine(tx, row);
  await tx.query(seeClass, [row.classId, JSON.stringify(row.machineClass), options.nowMs]);
  await writeEntries(tx, entries);
  return row;
}

async function reportMachine(
  tx: Transaction,
  options: Parameters<Records['reportMachine']>[0],
): Promise<void> {
  const entries = newEntries();
  const row = reportedMachine(entries, await lockMachine(tx, options.machineId), options);
  if (!row) return;
  await writeMachine(tx, row);
  await writeEntries(tx, entries);
}

async function setFlags(
  tx: Transaction,
  options: Parameters<Records['setMachineFlags']>[0],
  atMs: number,
): Promise<MachineRow | null> {
  const row = await lockMachine(tx, options.machineId);
  if (!row) return null;
  const entries = newEntries();
  const next = flaggedMachine(entries, row, options, atMs);
  if (next === row) return row;
  await writeMachine(tx, next);
  await writeEntries(tx, entries);
  return next;
}

const seenClasses = `SELECT class_id, machine_class FROM emp.machine_classes WHERE seen_at_ms >= $1
  OR class_id IN (SELECT class_id FROM emp.machines WHERE last_seen_at_ms >= $1) ORDER BY class_id`;

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
    enrolMachine: (options) => db.transaction((tx) => enrolMachine(tx, options)),
    resumeMachine: (options) => db.transaction((tx) => resumeMachine(tx, options)),
    reportMachine: async (options) => {
      checkedReport(options.report);
      await db.transaction((tx) => reportMachine(tx, options));
    },
    setMachineFlags: (options) => db.transaction((tx) => setFlags(tx, options, nowMs())),
    listMachines: async ({ seenAfterMs }) => {
      const rows =
        seenAfterMs === null
          ? await db.query(`${selectMachines} ORDER BY machine_id`)
          : await db.query(`${selectMachines} WHERE last_seen_at_ms > $1 ORDER BY machine_id`, [seenAfterMs]);
      return rows.map(toMachine);
    },
    getMachine: (machineId) => readMachine(db, machineId),
    listClasses: async ({ seenAfterMs }) => {
      const rows = await db.query(seenClasses, [seenAfterMs]);
      return rows.map((row) => ({
        classId: String(row.class_id),
        machineClass: JSON.parse(String(row.machine_class)),
      }));
    },
  };
}
