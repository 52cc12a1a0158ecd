import type { BrokerEvent } from '#protocol/broker.ts';
import type { Records } from '#protocol/records.ts';
import { copyEvent, type Told } from '#protocol/records-recorder.ts';
import type { Database } from './database.ts';
import { changeJob } from './ledger.ts';
import { leaseHolds } from './singletons.ts';

/** The recorder's copy of the Broker's events, with its cursor in the same commit. */

const copiedBefore =
  "SELECT 1 FROM events WHERE job_id = ? AND type = ? AND json_extract(data, '$.token') = ?";

function copy(db: Database, event: BrokerEvent): void {
  const told: Told = (type, token) => db.get(copiedBefore, event.jobId, type, token) !== undefined;
  changeJob(db, event.jobId, (ledger) => copyEvent(ledger, event, told));
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
        if (!leaseHolds(db, lease, nowMs())) return { kind: 'staleSingleton' };
        let cursor = cursorOf(db, identity);
        for (const event of events) {
          if (event.id <= cursor) continue;
          copy(db, event);
          cursor = event.id;
        }
        db.run(setCursor, identity, cursor);
        return { kind: 'ok', value: { cursor } };
      }, events.length),

    recorderCursor: (identity) => db.readOne(() => cursorOf(db, identity)),
  };
}
