import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ContractHub, json, problem, sampleJob } from './contract-hub.ts';
import { runMain } from './run-main.fixture.ts';

/** Text of other people in every place where a hub answers some: what reaches the terminal of it. */

let hub: ContractHub;
let dir: string;
beforeEach(async () => {
  hub = await ContractHub.start();
  dir = await mkdtemp(join(tmpdir(), 'emp-hostile-'));
});
afterEach(async () => {
  await hub.stop();
  await rm(dir, { recursive: true, force: true });
});

/** A colour, a line break, and the one-character form of the sequence that begins a colour. */
const evil = 'evil\u001b[31m\nline\u009b2J';
const emp = (args: string[]) =>
  runMain(args, { tty: true, env: { NO_COLOR: '1', EMP_STATE_DIR: dir, EMP_HUB: hub.url } });

const bulk = {
  id: 'b1',
  action: evil,
  state: evil,
  matched: 1,
  done: 1,
  refused: 0,
  actor: evil,
  createdAtMs: 1,
};
const schedule = {
  name: evil,
  cron: evil,
  timezone: evil,
  job: { service: evil },
  paused: false,
  nextAtMs: null,
  upcomingMs: [],
  last: { dueAtMs: 1, outcome: 'failed', jobId: null, detail: evil },
  lastJobId: evil,
};
const limit = { name: evil, customer: evil, concurrent: 1, admitted: 0, waitingNow: 0, reason: evil };
const job = sampleJob({
  id: evil,
  state: 'dead',
  customer: evil,
  labels: { [evil]: evil },
  reason: evil,
  machineId: evil,
  error: { code: 'JOB_FAILED', message: evil, retryable: false },
});
const machine = {
  machineId: evil,
  state: 'joined',
  hubId: evil,
  linked: true,
  seenBy: 'records',
  machineClass: { pool: evil, services: [{ service: evil, slots: 1 }] },
  running: [],
  residency: [],
  lastSeenAtMs: 1,
};
const shown = {
  ...machine,
  classId: evil,
  incarnation: 1,
  joinedAtMs: 1,
  machineClass: {
    ...machine.machineClass,
    services: [{ service: evil, version: evil, slots: 1 }],
    tags: [evil],
    region: evil,
    gpus: [evil],
    environment: evil,
    customers: { strict: evil },
  },
  running: [{ jobId: evil, token: '1' }],
  residency: [{ modelId: evil, state: evil, bytes: 1, fraction: 1 }],
  report: { state: evil, reasons: [evil] },
};
const status = {
  version: evil,
  startedAtMs: 1,
  stores: { records: 'sqlite', broker: 'memory', objects: 'folder', durable: true, dataDir: evil },
  broker: null,
  jobs: {},
  machines: { joined: 0, linked: 0, lost: 0, left: 0 },
  unserved: [{ service: evil, waiting: 1 }],
  pauses: [{ kind: 'customer', name: evil, reason: evil, sinceMs: 1 }],
};
const verdict = {
  machineId: evil,
  pool: evil,
  verdict: 'unfit',
  running: 0,
  model: evil,
  unmet: [{ requirement: evil, needed: evil, available: evil }],
};
const explanation = {
  state: evil,
  summary: [evil],
  machines: [verdict],
  counts: { considered: 1 },
  ahead: { leaders: [{ jobId: evil, customer: evil, priority: 1, model: evil, why: evil }] },
};
const event = { seq: 1, type: evil, jobId: evil, machineId: evil, data: { evil }, atMs: 1 };
const page = { items: [job], nextCursor: null };

test.each<[string[], string, unknown, number]>([
  [['status'], 'GET /v1/status', status, 2],
  [['limits'], 'GET /v1/limits', { items: [limit] }, 2],
  [['limits', 'set', 'w', '--pool', 'p'], 'PUT /v1/limits/w', { limit, warnings: [evil] }, 1],
  [['schedules'], 'GET /v1/schedules', { items: [schedule] }, 2],
  [['schedules', 'show', 'w'], 'GET /v1/schedules/w', { schedule }, 2],
  [['bulk'], 'GET /v1/bulks', { items: [bulk] }, 2],
  [['bulk', 'abort', 'b1'], 'POST /v1/bulks/b1/abort', { bulk }, 1],
  [
    ['pause', 'pool', 'p'],
    'PUT /v1/pauses/pool/p',
    { pause: { kind: 'pool', name: evil }, warnings: [evil] },
    1,
  ],
  [['jobs'], 'GET /v1/jobs', page, 2],
  [['job', 'j'], 'GET /v1/jobs/j/timeline', { job, transitions: [], runs: [], broker: null }, 10],
  [['job', 'explain', 'j'], 'GET /v1/jobs/j/explain', explanation, 5],
  [['cancel', 'j'], 'POST /v1/jobs/j/cancel', { state: evil, job }, 1],
  [['run', 'image'], 'POST /v1/jobs', { job, created: true, warnings: [evil] }, 1],
  [['events', '--from', '0'], 'GET /v1/events', { items: [event], highestSeq: 1 }, 1],
  [['machines'], 'GET /v1/machines', { items: [machine] }, 2],
  [['machines', 'show', 'm'], 'GET /v1/machines/m', shown, 20],
  [['cordon', 'm'], 'POST /v1/machines/m/cordon', { machine }, 1],
])('emp %j prints text of other people without control characters', async (args, route, answer, lines) => {
  hub.on(route, ({ response }) => json(response, 200, answer));
  const { code, stdout, stderr } = await emp(args);
  expect(code).toBe(0);
  expect(stdout).toContain('evil [31m line');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there.
  expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  expect(stdout.trimEnd().split('\n').length).toBeGreaterThanOrEqual(lines);
  for (const line of (stdout + stderr).split('\n')) expect(line).not.toMatch(/^line/);
});

test('an error and its fields are printed without control characters', async () => {
  hub.on('GET /v1/jobs/j/timeline', ({ response }) =>
    problem(response, 404, 'NOT_FOUND', evil, [{ pointer: evil, detail: evil }]),
  );
  const { stderr } = await emp(['job', 'j']);
  expect(stderr).toContain('error: evil [31m; line 2J');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there.
  expect(stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]|^line/m);
});
