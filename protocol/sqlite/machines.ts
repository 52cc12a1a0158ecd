import { EmpError } from '#protocol/errors.ts';
import type { MachineRow, Records } from '#protocol/records.ts';
import type { Database, Row } from './database.ts';
import { recordFact } from './ledger.ts';

/** Machines, their incarnations and classes. Every change of a machine's state leaves its event. */

/** Largest report, bytes as JSON. */
const reportLimitBytes = 65_536;

const selectMachines =
  'SELECT machine_id, incarnation, class_id, machine_class, state, cordoned, draining, joined_at_ms, last_seen_at_ms, hub_id, report FROM machines';

function toMachine(row: Row): MachineRow {
  return {
    machineId: String(row.machine_id),
    incarnation: Number(row.incarnation),
    classId: String(row.class_id),
    machineClass: JSON.parse(String(row.machine_class)),
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

function presentMachine(db: Database, machineId: string): MachineRow {
  const row = readMachine(db, machineId);
  if (!row) throw new Error(`machine ${machineId} has no row after its commit`);
  return row;
}

/** A new process: cordoned stays (an operator's word about the machine), draining was the old one's. */
const enrol = `INSERT INTO machines (machine_id, incarnation, class_id, machine_class, state, joined_at_ms, last_seen_at_ms, hub_id)
  VALUES (?, 1, ?, ?, 'joined', ?, ?, ?) ON CONFLICT (machine_id) DO UPDATE SET incarnation = incarnation + 1, class_id = excluded.class_id,
  machine_class = excluded.machine_class, state = 'joined', draining = 0, joined_at_ms = excluded.joined_at_ms,
  last_seen_at_ms = excluded.last_seen_at_ms, hub_id = excluded.hub_id, report = '{}'`;
const seeClass = `INSERT INTO machine_classes (class_id, machine_class, seen_at_ms) VALUES (?, ?, ?)
  ON CONFLICT (class_id) DO UPDATE SET seen_at_ms = max(seen_at_ms, excluded.seen_at_ms)`;

function enrolMachine(
  db: Database,
  { machineId, classId, machineClass, hubId, nowMs }: Parameters<Records['enrolMachine']>[0],
): MachineRow {
  const text = JSON.stringify(machineClass);
  db.run(enrol, machineId, classId, text, nowMs, nowMs, hubId);
  db.run(seeClass, classId, text, nowMs);
  const row = presentMachine(db, machineId);
  const data = { incarnation: row.incarnation, classId, pool: machineClass.pool, hubId };
  recordFact(db, { type: 'machine.joined', jobId: null, machineId, data, atMs: nowMs });
  return row;
}

function recordState(
  db: Database,
  row: MachineRow,
  state: MachineRow['state'],
  hubId: string | null,
  atMs: number,
): void {
  const { machineId, incarnation } = row;
  const fact = { jobId: null, machineId, atMs };
  if (state === 'joined') recordFact(db, { ...fact, type: 'machine.resumed', data: { incarnation, hubId } });
  else
    recordFact(db, {
      ...fact,
      type: state === 'lost' ? 'machine.lost' : 'machine.left',
      data: { incarnation },
    });
}

const resume = `UPDATE machines SET state = 'joined', hub_id = ?, last_seen_at_ms = max(last_seen_at_ms, ?) WHERE machine_id = ?`;

/** An incarnation that said LEAVE has ended: its process must enrol again. */
function resumeMachine(
  db: Database,
  { machineId, incarnation, hubId, nowMs }: Parameters<Records['resumeMachine']>[0],
): MachineRow | null {
  const row = readMachine(db, machineId);
  if (!row || row.incarnation !== incarnation || row.state === 'left') return null;
  db.run(resume, hubId, nowMs, machineId);
  db.run(seeClass, row.classId, JSON.stringify(row.machineClass), nowMs);
  if (row.state !== 'joined') recordState(db, row, 'joined', hubId, nowMs);
  return presentMachine(db, machineId);
}

/** Silence is not seeing: `lost` leaves the time at which the machine was last seen. */
const report = `UPDATE machines SET state = ?, report = ?, last_seen_at_ms = CASE ? WHEN 'lost' THEN last_seen_at_ms ELSE max(last_seen_at_ms, ?) END
  WHERE machine_id = ?`;

function reportMachine(db: Database, options: Parameters<Records['reportMachine']>[0]): void {
  const text = JSON.stringify(options.report);
  if (Buffer.byteLength(text) > reportLimitBytes) {
    const detail = `report has at most ${reportLimitBytes} bytes as JSON`;
    throw new EmpError('VALIDATION_FAILED', { detail, errors: [{ pointer: '/report', detail }] });
  }
  const row = readMachine(db, options.machineId);
  // An older incarnation has no say; one that left stays so.
  if (!row || row.incarnation !== options.incarnation || row.state === 'left') return;
  db.run(report, options.state, text, options.state, options.nowMs, options.machineId);
  if (row.state !== options.state) recordState(db, row, options.state, row.hubId, options.nowMs);
}

function setFlags(
  db: Database,
  { machineId, cordoned, draining }: Parameters<Records['setMachineFlags']>[0],
  atMs: number,
): MachineRow | null {
  const row = readMachine(db, machineId);
  if (!row) return null;
  const flags = { cordoned: cordoned ?? row.cordoned, draining: draining ?? row.draining };
  if (flags.cordoned === row.cordoned && flags.draining === row.draining) return row;
  db.run(
    'UPDATE machines SET cordoned = ?, draining = ? WHERE machine_id = ?',
    Number(flags.cordoned),
    Number(flags.draining),
    machineId,
  );
  recordFact(db, {
    type: 'machine.flagged',
    jobId: null,
    machineId,
    data: { incarnation: row.incarnation, ...flags },
    atMs,
  });
  return { ...row, ...flags };
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
      db.read(() => {
        const rows =
          seenAfterMs === null
            ? db.all(`${selectMachines} ORDER BY machine_id`)
            : db.all(`${selectMachines} WHERE last_seen_at_ms > ? ORDER BY machine_id`, seenAfterMs);
        return rows.map(toMachine);
      }),
    getMachine: (machineId) => db.read(() => readMachine(db, machineId)),
    listClasses: ({ seenAfterMs }) =>
      db.read(() =>
        db.all(seenClasses, seenAfterMs).map((row) => ({
          classId: String(row.class_id),
          machineClass: JSON.parse(String(row.machine_class)),
        })),
      ),
  };
}
