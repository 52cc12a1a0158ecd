import { checkLimit } from '#protocol/page-cursor.ts';
import type { RecordedEvent, Records } from '#protocol/records.ts';
import { checkedEventData } from '#protocol/records-checks.ts';
import type { Database, Row } from './database.ts';
import { leaseHolds } from './singletons.ts';

/** The facts in commit order. Readers see up to the recorder's mark, so that no one can see a gap. */

function toEvent(row: Row): RecordedEvent {
  return {
    seq: Number(row.id),
    type: String(row.type),
    jobId: row.job_id as string | null,
    machineId: row.machine_id as string | null,
    data: JSON.parse(String(row.data)),
    atMs: Number(row.at_ms),
  };
}

function markOf(db: Database): number {
  return Number(db.get("SELECT value FROM event_marks WHERE name = 'seq'")?.value ?? 0);
}

type Listed = Parameters<Records['listEvents']>[0];

/** One type at a time: each is a range of its index, however rare it is. */
function listOf(db: Database, { after, limit, jobId }: Listed, type: string | null): Row[] {
  const conditions = ['id > ?', 'id <= ?'];
  const values: (string | number)[] = [after, markOf(db)];
  if (jobId !== undefined) {
    conditions.push('job_id = ?');
    values.push(jobId);
  }
  if (type !== null) {
    // A job's events are few: the unary plus keeps its index in use rather than the type's.
    conditions.push(jobId === undefined ? 'type = ?' : '+type = ?');
    values.push(type);
  }
  return db.all(
    `SELECT id, type, job_id, machine_id, data, at_ms FROM events WHERE ${conditions.join(' AND ')} ORDER BY id LIMIT ?`,
    ...values,
    limit,
  );
}

function listEvents(db: Database, options: Listed): RecordedEvent[] {
  checkLimit(options.limit, 10_000);
  const rows = options.types
    ? [...new Set(options.types)]
        .flatMap((type) => listOf(db, options, type))
        .sort((a, b) => Number(a.id) - Number(b.id))
    : listOf(db, options, null);
  return rows.slice(0, options.limit).map(toEvent);
}

const raiseMark = "UPDATE event_marks SET value = ? WHERE name = 'seq'";

type Assigned = Awaited<ReturnType<Records['assignSeq']>>;

export function eventMethods(
  db: Database,
  nowMs: () => number,
): Pick<Records, 'assignSeq' | 'appendEvent' | 'listEvents' | 'highestSeq'> {
  return {
    assignSeq: ({ limit, lease }) =>
      db.write((): Assigned => {
        if (!leaseHolds(db, lease, nowMs())) return { kind: 'staleSingleton' };
        const before = markOf(db);
        const newest = Number(db.get('SELECT max(id) AS id FROM events')?.id ?? 0);
        const highestSeq = Math.max(before, Math.min(newest, before + limit));
        if (highestSeq > before) db.run(raiseMark, highestSeq);
        return { kind: 'ok', value: { highestSeq, assigned: highestSeq - before } };
      }),

    appendEvent: (event) =>
      db.write(() => {
        const insert = 'INSERT INTO events (type, job_id, machine_id, data, at_ms) VALUES (?, ?, ?, ?, ?)';
        db.run(insert, event.type, event.jobId, event.machineId, checkedEventData(event), event.atMs);
      }),

    listEvents: (options) => db.read(() => listEvents(db, options)),
    highestSeq: () => db.readOne(() => markOf(db)),
  };
}
