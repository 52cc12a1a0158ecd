import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { recordsConformance } from '#protocol/records.conformance.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { openSqliteRecords } from './records.ts';

recordsConformance('sqlite in memory', async () => {
  const clock = new VirtualClock();
  const records = await openSqliteRecords({ path: ':memory:', clock, rng: seededRng('secrets') });
  return { records, elapse: (ms) => clock.advanceBy(ms), close: () => records.close() };
});

recordsConformance('sqlite file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'emp-records-'));
  const clock = new VirtualClock();
  const opened: { close(): Promise<void> }[] = [];
  const open = async () => {
    const records = await openSqliteRecords({
      path: join(folder, 'records.db'),
      clock,
      rng: seededRng('secrets'),
      nextTurn: queueMicrotask,
    });
    opened.push(records);
    return records;
  };
  return {
    records: await open(),
    another: open,
    elapse: (ms) => clock.advanceBy(ms),
    close: async () => {
      for (const records of opened) await records.close();
      rmSync(folder, { recursive: true });
    },
  };
});
