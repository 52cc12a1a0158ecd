import { afterEach, beforeEach, expect, test } from 'vitest';
import { ContractHub, json } from './contract-hub.ts';
import { time } from './format.ts';
import { runMain } from './run-main.fixture.ts';

let hub: ContractHub;
beforeEach(async () => {
  hub = await ContractHub.start();
});
afterEach(() => hub.stop());

const emp = (...args: string[]) => runMain(args, { env: { EMP_HUB: hub.url } });

const bare = {
  machineId: 'm1',
  incarnation: 7,
  classId: 'c0123456789abcdef',
  machineClass: {
    pool: 'heavy',
    services: [{ service: 'image', version: '1', slots: 1 }],
    vramMb: 0,
    ramMb: 64_000,
    diskMb: 100_000,
    cpuCores: 16,
    tags: [],
    region: null,
  },
  state: 'joined',
  cordoned: false,
  draining: false,
  joinedAtMs: 1_000,
  lastSeenAtMs: 2_000,
  hubId: 'hub-1',
  report: {},
  running: [],
  residency: [],
  linked: true,
  seenBy: 'link',
};
const full = {
  ...bare,
  machineClass: {
    ...bare.machineClass,
    services: [...bare.machineClass.services, { service: 'upscale', version: '2', slots: 3 }],
    vramMb: 24_000,
    gpus: ['rtx4090', 'rtx3090'],
    tags: ['eu', 'video'],
    region: 'west',
    environment: 'sha256-abc',
    customers: { allow: ['amber'] },
    reservedFor: ['video'],
  },
  cordoned: true,
  draining: true,
  seenBy: 'records',
  report: { state: 'degraded', reasons: ['the disk is small', 'a card is gone'], diskFreeBytes: 5e10 },
  running: [
    { jobId: 'job_1', token: '1' },
    { jobId: 'job_2', token: '2' },
  ],
  residency: [
    { modelId: 'sdxl', state: 'resident', bytes: 4e9, fraction: 1, version: 1 },
    { modelId: 'wan', state: 'fetching', bytes: 2e10, fraction: 0.3, version: 1 },
    { modelId: 'old', state: 'gone', bytes: 1, fraction: 0, version: 2 },
  ],
};

const shown = async (machine: object) => {
  hub.on('GET /v1/machines/m1', ({ response }) => json(response, 200, machine));
  const { code, stdout, stderr } = await emp('machines', 'show', 'm1');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.trimEnd().split('\n');
};

test('a machine is shown with its flags, what it offers, what it holds and what it runs', async () => {
  const lines = await shown(full);
  const joined = lines.findIndex((line) => line.startsWith('joined'));
  expect(lines[joined]).toMatch(new RegExp(`^joined      ${time(1_000)}, \\d+ d \\d+ h ago$`));
  expect(lines.toSpliced(joined, 1)).toEqual([
    'id          m1',
    'state       joined,draining,cordoned',
    'health      degraded: the disk is small; a card is gone',
    'class       c0123456789abcdef',
    'pool        heavy',
    'works for   only amber, reserved for video',
    'hub         hub-1',
    'incarnation 7',
    'seen        by hub-1',
    'service     image 1, 1 slot',
    'service     upscale 2, 3 slots',
    'tags        eu, video',
    'region      west',
    'environment sha256-abc',
    'cores       16',
    'memory      67.1 GB',
    'cards       rtx4090, rtx3090; 25.2 GB on the smallest',
    'disk        105 GB for models; 50.0 GB free',
    'model       sdxl  resident, 4.00 GB',
    'model       wan  fetching, 30 % of 20.0 GB',
    'job         job_1',
    'job         job_2',
  ]);
});

test('what a machine has not told, and does not have, is said so', async () => {
  const lines = await shown(bare);
  for (const line of [
    'state       joined',
    'health      -',
    'works for   all',
    'cards       none',
    'disk        105 GB for models',
    'models      none',
    'jobs        none',
  ])
    expect(lines).toContain(line);
});

test('a machine that reports no free room may not have measured it', async () => {
  const lines = await shown({ ...bare, report: { diskFreeBytes: 0 } });
  expect(lines).toContain('disk        105 GB for models; nothing free, or not measured');
});

test.each([
  [{ linked: false }, 'state       away', 'hub         none, hub-1 was the last'],
  [{ linked: false, hubId: null, state: 'lost' }, 'state       lost', 'hub         none'],
])('a machine %j has no hub', async (change, state, last) => {
  const lines = await shown({ ...bare, ...change });
  expect(lines).toContain(state);
  expect(lines).toContain(last);
});

test('with --json a machine is what the hub answers, fields that this emp does not know included', async () => {
  const answer = { ...full, later: { by: 'a newer hub' } };
  hub.on('GET /v1/machines/m1', ({ response }) => json(response, 200, answer));
  expect(JSON.parse((await emp('machines', 'show', 'm1', '--json')).stdout)).toEqual(answer);
  expect(hub.requests.map(({ line }) => line)).toEqual(['GET /v1/machines/m1']);
});
