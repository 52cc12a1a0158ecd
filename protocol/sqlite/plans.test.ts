import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { CountedWork } from '#protocol/limit.ts';
import type { Records } from '#protocol/records.ts';
import { hubOn, newJob, t0 } from '#protocol/records-fixture.conformance.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { openSqliteRecords } from './records.ts';

/** How SQLite answers what is asked often: by an index, in its order. */

const folder = mkdtempSync(join(tmpdir(), 'emp-plans-'));
const path = join(folder, 'records.db');
const prepared = vi.spyOn(DatabaseSync.prototype, 'prepare');
let records: Records;
let plain: DatabaseSync;

beforeAll(async () => {
  records = await openSqliteRecords({
    path,
    clock: new VirtualClock(),
    rng: seededRng(1),
    nextTurn: queueMicrotask,
  });
  await records.submitJobs([newJob({ labels: { k: 'v' } })], t0);
  plain = new DatabaseSync(path);
});

afterAll(async () => {
  plain.close();
  await records.close();
  prepared.mockRestore();
  rmSync(folder, { recursive: true });
});

/** Plans of the statements that `use` prepares, one line per step. */
async function plansOf(use: (hub: ReturnType<typeof hubOn>) => Promise<unknown>): Promise<string[]> {
  const hub = hubOn(records);
  prepared.mockClear();
  await use(hub);
  const statements = prepared.mock.calls
    .map(([sql]) => sql)
    .filter((sql) => /^\s*(SELECT|WITH|UPDATE|INSERT)/.test(sql));
  return statements.flatMap((sql) =>
    plain
      .prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .all()
      .map((row) => String(row.detail)),
  );
}

const filter = (over: Parameters<Records['countJobs']>[0]) => (hub: ReturnType<typeof hubOn>) =>
  hub.records.listJobs({ filter: over, limit: 10, cursor: null });

const waiting = (over: Partial<CountedWork>) => (hub: ReturnType<typeof hubOn>) =>
  hub.records.countWaiting([{ customer: null, pool: null, model: null, ...over, limit: 10 }]);

test.each<[string, string, (hub: ReturnType<typeof hubOn>) => Promise<unknown>]>([
  ['the list of all', 'jobs_by_time', filter({})],
  ['the list of two states', 'jobs_by_state', filter({ state: ['waiting', 'leased'] })],
  ['the list of a service', 'jobs_by_service', filter({ service: 'ollama' })],
  ['the list of a customer', 'jobs_by_customer', filter({ customer: 'acme' })],
  ['the list of a pool', 'jobs_by_pool', filter({ pool: 'heavy' })],
  ['the list of a machine', 'jobs_by_machine', filter({ machineId: 'm1' })],
  ['the list of a label', 'PRIMARY KEY', filter({ label: { key: 'k', value: 'v' } })],
  ['the list since a time', 'jobs_by_time (submitted_at_ms>', filter({ submittedAfterMs: t0 })],
  [
    'the next page of a state',
    'jobs_by_state (state=? AND submitted_at_ms<',
    (hub) =>
      hub.records.listJobs({
        filter: { state: ['waiting'] },
        limit: 10,
        cursor: btoa('1:5:5').replaceAll('=', ''),
      }),
  ],
  ['the open jobs', 'jobs_open (id>', (hub) => hub.records.openJobs({ after: 'a', limit: 10 })],
  [
    'the sweep for unbrokered jobs',
    'jobs_unbrokered (submitted_at_ms<',
    (hub) => hub.records.unbrokeredJobs({ olderThanMs: t0, limit: 10 }),
  ],
  [
    'the sweep for unfinished cancels',
    'jobs_cancelling (cancel_requested_at_ms',
    (hub) => hub.records.unfinishedCancels({ olderThanMs: t0, limit: 10 }),
  ],
  [
    'the sweep for overdue runs',
    'jobs_overdue (<expr><',
    (hub) => hub.records.overdueRuns({ nowMs: t0, limit: 10 }),
  ],
  [
    'the sweep for time to live',
    'jobs_expiring (expires_at_ms',
    async (hub) => hub.records.expireTtl({ nowMs: 0, limit: 10, lease: await hub.recorder() }),
  ],
  [
    'retention',
    'jobs_ended (finished_at_ms>? AND finished_at_ms<',
    (hub) => hub.records.endedJobs({ beforeMs: t0, limit: 10 }),
  ],
  [
    'admission',
    'jobs_held (customer=? AND pool=? AND affinity=?',
    (hub) =>
      hub.records.admitJobs({ customer: 'a', pool: 'b', model: '-', limit: 10, actor: 'hub', nowMs: t0 }),
  ],
  [
    'what is held',
    'jobs_held ((customer,pool,affinity)>',
    (hub) => hub.records.admissionView({ after: null, limit: 5, nowMs: t0 }),
  ],
  [
    'what waits of a customer',
    'jobs_by_customer_state (customer=? AND state=?)',
    waiting({ customer: 'c7' }),
  ],
  [
    'what waits of a customer in a pool',
    'jobs_by_customer_state (customer=? AND state=?)',
    waiting({ customer: 'c7', pool: 'p7' }),
  ],
  ['what waits in a pool', 'jobs_waiting (pool=?)', waiting({ pool: 'p7' })],
  ['what waits with a model', 'jobs_waiting (pool=? AND affinity=?)', waiting({ model: 'm7' })],
  ['preemption', 'jobs_preemptible', (hub) => hub.records.preemption({ limit: 10 })],
  ['one job', 'sqlite_autoindex_jobs_1 (id=', (hub) => hub.records.getJob('x')],
  ['a timeline', 'transitions_by_job (job=', (hub) => hub.records.timeline('x')],
  [
    'events after a place',
    'INTEGER PRIMARY KEY (rowid>? AND rowid<',
    (hub) => hub.records.listEvents({ after: 5, limit: 10 }),
  ],
  [
    'events of a type',
    'events_by_type (type=? AND rowid>',
    (hub) => hub.records.listEvents({ after: 5, limit: 10, types: ['job.dead'] }),
  ],
  [
    'events of a job and type',
    'events_by_job (job_id=? AND rowid>',
    (hub) => hub.records.listEvents({ after: 5, limit: 10, jobId: 'x', types: ['job.dead'] }),
  ],
  ['counts', 'job_counts', (hub) => hub.records.countJobs({})],
  [
    'the list of a customer in a state',
    'jobs_by_customer_state (customer=? AND state=?)',
    filter({ customer: 'acme', state: ['dead'] }),
  ],
])('%s reads %s and sorts nothing', async (name, index, use) => {
  const plan = await plansOf(use);
  expect(
    plan.some((line) => line.includes(index)),
    plan.join('\n'),
  ).toBe(true);
  // A timeline sorts the few runs of one job.
  if (name !== 'a timeline') expect(plan.filter((line) => line.includes('TEMP B-TREE'))).toEqual([]);
  const scans = plan.filter((line) => /^SCAN (jobs|j|transitions|runs|events)\b/.test(line));
  // A list of everything walks a whole index and stops at its limit. So do small ones: what limits have let
  // in, and runs that may be given back.
  const whole: Record<string, string> = {
    'what is held': 'SCAN jobs USING INDEX jobs_admitted',
    preemption: 'SCAN j USING INDEX jobs_preemptible',
  };
  if (name === 'the list of all') expect(scans.every((line) => line.includes('INDEX'))).toBe(true);
  else expect(scans).toEqual(whole[name] === undefined ? [] : [whole[name]]);
});
