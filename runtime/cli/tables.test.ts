import { afterEach, beforeEach, expect, test } from 'vitest';
import { ContractHub, json, sampleJob } from './contract-hub.ts';
import { runMain } from './run-main.fixture.ts';

let hub: ContractHub;
beforeEach(async () => {
  hub = await ContractHub.start();
});
afterEach(() => hub.stop());

const emp = (...args: string[]) => runMain(args, { env: { EMP_HUB: hub.url } });

test('a list of jobs says whose they are, and one job its priority on a line of its own', async () => {
  const job = sampleJob({ customer: 'amber', priority: 7 });
  hub.on('GET /v1/jobs', ({ response }) => json(response, 200, { items: [job], nextCursor: null }));
  const view = { job, transitions: [], runs: [], broker: null };
  hub.on('GET /v1/jobs/job_1/timeline', ({ response }) => json(response, 200, view));
  expect((await emp('jobs')).stdout).toMatch(/^ID .* POOL +CUSTOMER +PRIO .*\njob_1 .* fast-lane +amber +7 /);
  expect((await emp('job', 'job_1')).stdout).toMatch(/^customer +amber\npriority +7$/m);
});

test('of a job of several lives and tries the last wait and the last run are told', async () => {
  const job = sampleJob({ state: 'waiting', runs: 1, token: '5', startedAtMs: 61_000 });
  const change = { jobId: job.id, actor: 'x', reason: null };
  const run = { jobId: job.id, run: 1, machineId: 'm1', incarnation: 1, counted: true, error: null };
  const claim = { ...change, from: 'waiting', to: 'leased', operation: 'claim', token: '5', atMs: 61_000 };
  const view = {
    job,
    transitions: [
      claim,
      { ...claim, from: 'leased', to: 'waiting', operation: 'fail', atMs: Date.now() - 7_200_000 },
    ],
    runs: [{ ...run, token: '5', startedAtMs: 61_000, endedAtMs: 64_000, outcome: 'failed' }],
    broker: null,
  };
  hub.on('GET /v1/jobs/job_1/timeline', ({ response }) => json(response, 200, view));
  expect((await emp('job', 'job_1')).stdout).toMatch(/^waited +2 h 0 m\nran +3\.0 s$/m);
  view.job = { ...job, state: 'failed', finishedAtMs: 64_000 };
  view.transitions = [claim, { ...claim, from: 'leased', to: 'failed', operation: 'fail', atMs: 64_000 }];
  expect((await emp('job', 'job_1')).stdout).toMatch(/^waited +1 m 0 s\nran +3\.0 s$/m);
  const requeue = {
    ...claim,
    from: 'failed',
    to: 'waiting',
    operation: 'requeue',
    atMs: Date.now() - 3_600_000,
  };
  view.job = { ...job, startedAtMs: null };
  view.transitions.push(requeue);
  expect((await emp('job', 'job_1')).stdout).toMatch(/^waited +1 h 0 m\nran +-$/m);
});

test('more than all of the past is all jobs', async () => {
  hub.on('GET /v1/jobs', ({ response }) => json(response, 200, { items: [], nextCursor: null }));
  expect((await emp('jobs', '--since', '99999d')).code).toBe(0);
  expect(hub.requests.map(({ line }) => line)).toEqual(['GET /v1/jobs?since=0&limit=50']);
});

test('a list of machines says whose jobs each runs', async () => {
  const rules = [
    [{}, 'all'],
    [{ customers: { strict: 'amber' } }, 'dedicated to amber'],
    [{ customers: { allow: ['amber', 'birch'] } }, 'only amber birch'],
    [{ customers: { deny: ['a', 'b', 'c', 'd', 'e'] } }, 'all but a b c and 2 more'],
    [{ reservedFor: ['video'] }, 'reserved for video'],
    [{ customers: { allow: ['amber'] }, reservedFor: ['video'] }, 'only amber, reserved for video'],
  ] as const;
  const items = rules.map(([rule]) => ({
    machineId: 'm1',
    state: 'joined',
    linked: true,
    machineClass: { pool: 'standard', services: [{ service: 'image', slots: 1 }], ...rule },
    running: [],
    residency: [],
    lastSeenAtMs: 0,
  }));
  hub.on('GET /v1/machines', ({ response }) => json(response, 200, { items }));
  const rows = (await emp('machines')).stdout.trimEnd().split('\n');
  expect(rows.map((row) => row.split(/ {2,}/)[4])).toEqual(['FOR', ...rules.map(([, words]) => words)]);
});
