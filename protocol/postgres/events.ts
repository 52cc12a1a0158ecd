import { checkLimit } from '#protocol/page-cursor.ts';
import type { RecordedEvent, Records } from '#protocol/records.ts';
import { checkedEventData } from '#protocol/records-checks.ts';
import type { Database, Row, Transaction, Value } from './database.ts';
import { leaseHolds } from './singletons.ts';

/**
 * The facts. `seq` is given by the recorder to rows that are committed, so a transaction that commits
 * late comes late; all of one assignment become visible together, so nobody sees a gap. Of two facts
 * of one job, or of which one was committed before the other's transaction began, the earlier has the
 * lower `seq`: ids are drawn in that order.
 */

function toEvent(row: Row): RecordedEvent {
  return {
    seq: Number(row.seq),
    type: String(row.type),
    jobId: row.job_id as string | null,
    machineId: row.machine_id as string | null,
    data: JSON.parse(String(row.data)),
    atMs: Number(row.at_ms),
  };
}

const columns = 'e.seq, e.type, e.job_id, e.machine_id, e.data, e.at_ms';

/** One type at a time: each is a range of its index, however rare it is. */
function listStatement(options: { ofJob: boolean; ofTypes: boolean }): string {
  const job = options.ofJob ? 'AND e.job_id = $3' : '';
  if (!options.ofTypes)
    return `SELECT ${columns} FROM emp.events e WHERE e.seq > $1 ${job} ORDER BY e.seq LIMIT $2`;
  const types = options.ofJob ? '$4' : '$3';
  return `SELECT ${columns} FROM unnest(${types}::text[]) AS t(type) CROSS JOIN LATERAL (
    SELECT * FROM emp.events e WHERE e.seq > $1 AND e.type = t.type ${job} ORDER BY e.seq LIMIT $2) e ORDER BY e.seq LIMIT $2`;
}

async function listEvents(
  db: Database,
  { after, limit, jobId, types }: Parameters<Records['listEvents']>[0],
): Promise<RecordedEvent[]> {
  const values: Value[] = [after, checkLimit(limit, 10_000)];
  if (jobId !== undefined) values.push(jobId);
  if (types) values.push([...new Set(types)]);
  const statement = listStatement({ ofJob: jobId !== undefined, ofTypes: types !== undefined });
  return (await db.query(statement, values)).map(toEvent);
}

/** Whoever gives numbers next waits here, and then sees every row that has one. */
const lockMark = "SELECT value FROM emp.event_marks WHERE name = 'seq' FOR NO KEY UPDATE";
const assign = `WITH pending AS MATERIALIZED (SELECT id FROM emp.events WHERE seq IS NULL ORDER BY id LIMIT $2),
  assigned AS (UPDATE emp.events e SET seq = p.seq
    FROM (SELECT id, $1::bigint + row_number() OVER (ORDER BY id) AS seq FROM pending) p WHERE e.id = p.id RETURNING e.seq)
  UPDATE emp.event_marks SET value = value + (SELECT count(*) FROM assigned) WHERE name = 'seq' RETURNING value`;

type Assigned = Awaited<ReturnType<Records['assignSeq']>>;

async function assignSeq(
  tx: Transaction,
  { limit, lease }: Parameters<Records['assignSeq']>[0],
): Promise<Assigned> {
  if (!(await leaseHolds(tx, lease))) return { kind: 'staleSingleton' };
  const [mark] = await tx.query<{ value: string }>(lockMark);
  const before = Number(mark?.value ?? 0);
  const [after] = await tx.query<{ value: string }>(assign, [before, limit]);
  const highestSeq = Number(after?.value ?? before);
  return { kind: 'ok', value: { highestSeq, assigned: highestSeq - before } };
}

const append = 'INSERT INTO emp.events (type, job_id, machine_id, data, at_ms) VALUES ($1, $2, $3, $4, $5)';

export function eventMethods(
  db: Database,
): Pick<Records, 'assignSeq' | 'appendEvent' | 'listEvents' | 'highestSeq'> {
  return {
    assignSeq: (options) => db.transaction((tx) => assignSeq(tx, options)),
    appendEvent: async (event) => {
      const data = checkedEventData(event);
      const { type, jobId, machineId, atMs } = event;
      await db.transaction((tx) => tx.query(append, [type, jobId, machineId, data, atMs]));
    },
    listEvents: (options) => listEvents(db, options),
    highestSeq: async () => {
      const [mark] = await db.query<{ value: string }>(
        "SELECT value FROM emp.event_marks WHERE name = 'seq'",
      );
      return Number(mark?.value ?? 0);
    },
  };
}
