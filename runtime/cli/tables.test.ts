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
  hub.on('GET /v1/jobs/job_1', ({ response }) => json(response, 200, { job }));
  expect((await emp('jobs')).stdout).toMatch(/^ID .* POOL +CUSTOMER +PRIO .*\njob_1 .* fast-lane +amber +7 /);
  expect((await emp('job', 'job_1')).stdout).toMatch(/^customer +amber\npriority +7$/m);
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
