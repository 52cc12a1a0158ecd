import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { CountedWork } from '#protocol/limit.ts';
import type { JobFilter, Records } from '#protocol/records.ts';
import { hubOn, newJob, t0 } from '#protocol/records-fixture.conformance.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import { type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { openPostgresRecords } from './records.ts';

/** How PostgreSQL answers what is asked often, with 40 000 jobs in the store: by an index. */

let server: PostgresServer;
let records: Records;
let plain: pg.Client;

/** Nearly all jobs have ended; a few hundred are in each state that a sweep looks for. */
const many = `INSERT INTO emp.jobs (id, state, service, pool, customer, group_id, affinity, priority, expected_ms, max_run_ms, max_attempts,
    submitted_at_ms, expires_at_ms, started_at_ms, cancel_requested_at_ms, brokered_at_ms, token, machine_id, incarnation, fingerprint)
  SELECT 'job-' || n, CASE WHEN n % 100 = 0 THEN 'waiting' WHEN n % 100 = 1 THEN 'leased' WHEN n % 100 = 2 THEN 'held' ELSE 'succeeded' END,
    's' || n % 50, 'p' || n % 40, 'c' || n % 200, 'g', '-', n % 100, 1000, 60000, 3, n, CASE WHEN n % 10 = 0 THEN n + 1000 END,
    CASE WHEN n % 100 = 1 THEN n END, CASE WHEN n % 1000 = 100 THEN n END, CASE WHEN n % 300 <> 0 THEN n END,
    CASE WHEN n % 100 NOT IN (0, 2) THEN n END, 'm' || n % 300, 1, 'f'
  FROM generate_series(1, 40000) n;
INSERT INTO emp.job_requests SELECT ordinal, '{}' FROM emp.jobs;
INSERT INTO emp.job_results SELECT ordinal, '{}' FROM emp.jobs WHERE state = 'succeeded';
INSERT INTO emp.job_labels SELECT 'k', 'v' || ordinal % 500, submitted_at_ms, ordinal FROM emp.jobs;
INSERT INTO emp.transitions (job, to_state, operation, actor, at_ms) SELECT ordinal, state, 'submit', 'client', 1 FROM emp.jobs;
INSERT INTO emp.runs (job, token, run, machine_id, incarnation, started_at_ms, outcome) SELECT ordinal, 1, 1, 'm', 1, 1, 'running' FROM emp.jobs;
INSERT INTO emp.events (seq, type, job_id, data, at_ms) SELECT ordinal, CASE WHEN ordinal % 1000 = 0 THEN 'job.dead' ELSE 'job.submitted' END, id, '{}', 1 FROM emp.jobs;
UPDATE emp.event_marks SET value = 40000;
ANALYZE`;

beforeAll(async () => {
  server = await startPostgres();
  const url = await server.database();
  records = await openPostgresRecords({ url, ...quietEnv() });
  plain = new pg.Client({ connectionString: url });
  await plain.connect();
  await plain.query(many);
});
afterAll(async () => {
  await plain.end();
  await records.close();
  await server.close();
});

type Use = (hub: ReturnType<typeof hubOn>) => Promise<unknown>;

interface Asked {
  text: string;
  values: unknown[];
}

/** Plans of the statements that `use` sends, one line per step. */
async function plansOf(use: Use): Promise<string[]> {
  const hub = hubOn(records);
  await hub.recorder();
  const asked = vi.spyOn(pg.Client.prototype, 'query');
  await use(hub);
  const statements = asked.mock.calls.map(([statement]) => statement as unknown as Asked);
  asked.mockRestore();
  await records.dropSingleton(await hub.recorder());
  const lines: string[] = [];
  for (const { text, values } of statements.filter((each) => /^(SELECT|WITH)/.test(each.text))) {
    const { rows } = await plain.query(`EXPLAIN ${text}`, values);
    lines.push(...rows.map((row) => String(row['QUERY PLAN'])));
  }
  return lines;
}

const filter =
  (over: JobFilter): Use =>
  (hub) =>
    hub.records.listJobs({ filter: over, limit: 10, cursor: null });

const waiting =
  (over: Partial<CountedWork>): Use =>
  (hub) =>
    hub.records.countWaiting([{ customer: null, pool: null, model: null, ...over, limit: 10 }]);

test.each<[string, string | RegExp, Use]>([
  ['the list of all', 'jobs_by_time', filter({})],
  ['the list of two states', 'jobs_by_state', filter({ state: ['waiting', 'leased'] })],
  ['the list of a service', 'jobs_by_service', filter({ service: 's7' })],
  ['the list of a customer', 'jobs_by_customer', filter({ customer: 'c7' })],
  [
    'the list of a customer in a state',
    'jobs_by_customer_state',
    filter({ customer: 'c7', state: ['waiting', 'dead'] }),
  ],
  ['the list of a pool', 'jobs_by_pool', filter({ pool: 'p7' })],
  ['the list of a machine', 'jobs_by_machine', filter({ machineId: 'm7' })],
  ['the list of a label', 'job_labels_pkey', filter({ label: { key: 'k', value: 'v7' } })],
  ['the list since a time', 'jobs_by_time', filter({ submittedAfterMs: 39_000 })],
  [
    'the next page of a state',
    /Index Cond: \(\(state = t\.state\) AND \(ROW\(submitted_at_ms, ordinal\) </,
    (hub) =>
      hub.records.listJobs({
        filter: { state: ['waiting'] },
        limit: 10,
        cursor: btoa('1:20000:20000').replaceAll('=', ''),
      }),
  ],
  ['the open jobs', 'jobs_open', (hub) => hub.records.openJobs({ after: 'job-2', limit: 10 })],
  [
    'the sweep for unbrokered jobs',
    'jobs_unbrokered',
    (hub) => hub.records.unbrokeredJobs({ olderThanMs: t0, limit: 10 }),
  ],
  [
    'the sweep for unfinished cancels',
    'jobs_cancelling',
    (hub) => hub.records.unfinishedCancels({ olderThanMs: t0, limit: 10 }),
  ],
  [
    'the sweep for overdue runs',
    'jobs_overdue',
    (hub) => hub.records.overdueRuns({ nowMs: 90_000, limit: 10 }),
  ],
  [
    'the sweep for time to live',
    'jobs_expiring',
    async (hub) => hub.records.expireTtl({ nowMs: 1_500, limit: 10, lease: await hub.recorder() }),
  ],
  ['retention', 'jobs_ended', (hub) => hub.records.endedJobs({ beforeMs: 1_500, limit: 10 })],
  [
    'admission',
    'jobs_held_work',
    (hub) =>
      hub.records.admitJobs({ customer: 'c2', pool: 'p2', model: '-', limit: 3, actor: 'hub', nowMs: t0 }),
  ],
  [
    'what is held',
    'jobs_held_work',
    (hub) => hub.records.admissionView({ after: null, limit: 5, nowMs: t0 }),
  ],
  [
    'what is let in',
    'jobs_admitted',
    (hub) => hub.records.admissionView({ after: null, limit: 5, nowMs: t0 }),
  ],
  ['what waits of a customer', 'jobs_by_customer_state', waiting({ customer: 'c7' })],
  ['what waits of a customer in a pool', 'jobs_', waiting({ customer: 'c7', pool: 'p7' })],
  ['what waits in a pool', 'jobs_waiting', waiting({ pool: 'p7' })],
  ['what waits with a model', 'jobs_waiting', waiting({ model: '-' })],
  ['preemption', 'jobs_preemptible', (hub) => hub.records.preemption({ limit: 10 })],
  ['one job', 'jobs_id_key', (hub) => hub.records.getJob('job-77')],
  [
    'which of a page have ended',
    'jobs_id_key',
    (hub) => hub.records.endedAmong(Array.from({ length: 1_000 }, (_, index) => `job-${7 * index}`)),
  ],
  ['a timeline', 'transitions_by_job', (hub) => hub.records.timeline('job-77')],
  ['events after a place', 'events_by_seq', (hub) => hub.records.listEvents({ after: 5, limit: 10 })],
  [
    'events of a rare type',
    'events_by_type',
    (hub) => hub.records.listEvents({ after: 5, limit: 10, types: ['job.dead', 'job.failed'] }),
  ],
  [
    'events of a job and type',
    'events_by_job',
    (hub) => hub.records.listEvents({ after: 5, limit: 10, jobId: 'job-77', types: ['job.dead'] }),
  ],
  [
    'what has no seq yet',
    'events_pending',
    async (hub) => hub.records.assignSeq({ limit: 10, lease: await hub.recorder() }),
  ],
  ['a completion', 'jobs_id_key', (hub) => hub.complete('job-100', '9')],
  ['a claim copied', 'jobs_id_key', (hub) => hub.claim('job-200', '9')],
  ['counts of a customer', 'jobs_by_customer', (hub) => hub.records.countJobs({ customer: 'c7' })],
])('%s reads %s, and no table from end to end', async (_, index, use) => {
  const plan = await plansOf(use);
  const named = (line: string) => (typeof index === 'string' ? line.includes(index) : index.test(line));
  expect(plan.some(named), plan.join('\n')).toBe(true);
  const scans = plan.filter((line) => /Seq Scan on (jobs|job_|transitions|runs|events\b)/.test(line));
  expect(scans, plan.join('\n')).toEqual([]);
});

test('a page sorts no more than the page', async () => {
  for (const use of [filter({}), filter({ service: 's7' }), filter({ submittedAfterMs: 100 })]) {
    const plan = await plansOf(use);
    const sorted = plan
      .filter((line) => line.includes('Sort  ('))
      .map((line) => Number(/rows=(\d+)/.exec(line)?.[1]));
    for (const rows of sorted) expect(rows, plan.join('\n')).toBeLessThanOrEqual(11);
  }
});

test('a submit reads its ids and nothing else', async () => {
  const plan = await plansOf((hub) =>
    hub.records.submitJobs([newJob({ id: 'fresh' }), newJob({ id: 'job-1' })], t0),
  );
  expect(plan.join('\n')).toContain('Conflict Arbiter Indexes: jobs_id_key');
  expect(plan.filter((line) => /Seq Scan on (jobs|job_|events)/.test(line))).toEqual([]);
});
