import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '#runtime/toolchain/free-port.ts';
import { CliRun } from './cli-run.ts';
import { World } from './process-harness.ts';

/** Every command against one real hub with two machines, as a shell would call it. */

let world: World;
let dir: string;
beforeAll(async () => {
  world = await World.start({ machines: 2 });
  dir = await mkdtemp(join(tmpdir(), 'emp-commands-'));
});
afterAll(async () => {
  await world.stop();
  await rm(dir, { recursive: true, force: true });
});

const emp = (...args: string[]) => new CliRun(args, { EMP_HUB: world.url, EMP_STATE_DIR: dir }).ended;
const json = async (...args: string[]) => JSON.parse((await emp(...args, '--json')).stdout);

test('run --wait prints the result and ends with 0; --download fetches checked files', async () => {
  const { code, stdout, stderr } = await emp(
    'run',
    'simulation',
    '--set',
    'outputs=2',
    '--set',
    'outputBytes=5000',
    '--download',
    dir,
  );
  expect({ code, lines: stdout.trim().split('\n').length }).toEqual({ code: 0, lines: 2 });
  expect(stderr).toContain('succeeded on machine-');
  const [path] = stdout.split('  ');
  expect(await readFile(path ?? '')).toHaveLength(5_000);
});

test('a job that fails ends with 1 and its timeline says why', async () => {
  const { code, stdout, stderr } = await emp(
    'run',
    'simulation',
    '--id',
    'broken',
    '--set',
    'failWith=permanent',
    '--wait',
  );
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/^error: broken ended as failed: .+\(JOB_FAILED\)\n/m);
  const timeline = (await emp('job', 'broken', '--timeline')).stdout;
  // So short a run may end before its claim is recorded.
  expect(timeline).toMatch(/(leased|waiting) to failed \(fail\)/);
  expect(timeline).toMatch(/^1 +machine-[ab]\/\d+ .* failed +no +JOB_FAILED/m);
});

test('the same id and job again changes nothing, another job under it is refused', async () => {
  expect((await emp('run', 'simulation', '--id', 'twice', '--wait')).code).toBe(0);
  const again = await emp('run', 'simulation', '--id', 'twice');
  expect(again).toMatchObject({
    code: 0,
    stdout: 'twice\n',
    stderr: expect.stringContaining('was there already'),
  });
  const other = await emp('run', 'simulation', '--id', 'twice', '--set', 'durationMs=1', '--json');
  expect(other.code).toBe(1);
  expect(JSON.parse(other.stderr)).toMatchObject({ code: 'EMP-IDEMPOTENCY-CONFLICT' });
});

test('a wrong payload is refused by field, an unknown service by name', async () => {
  const wrong = await emp('run', 'simulation', '--set', 'durationMs=-1', '--json');
  expect(wrong.code).toBe(1);
  expect(JSON.parse(wrong.stderr).errors).toMatchObject([{ pointer: '/payload/durationMs' }]);
  const unknown = await emp('run', 'teleport');
  expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('EMP-UNKNOWN-SERVICE') });
});

test('a dry run tells pool and machines and stores nothing', async () => {
  const before = await json('status');
  expect(await json('run', 'simulation', '--set', 'durationMs=100', '--dry-run')).toMatchObject({
    machinesNow: 2,
    expectedMs: 100,
  });
  expect((await json('status')).jobs).toEqual(before.jobs);
});

test('cancel stops a running job; requeue runs it again', async () => {
  const id = await world.submit(60_000);
  await world.running(id);
  expect(await json('cancel', id)).toEqual({ items: [{ id, state: 'requested' }] });
  expect((await world.client.wait(id)).state).toBe('cancelled');
  expect(await emp('cancel', id)).toMatchObject({ code: 0, stdout: `${id}  cancelled\n` });
  expect(await json('requeue', id)).toMatchObject({ items: [{ id, state: 'waiting' }] });
  await world.events.until(
    (event) =>
      event.jobId === id &&
      event.type === 'job.leased' &&
      event.seq > (world.events.all.findLast(({ type }) => type === 'job.requeued')?.seq ?? 0),
  );
  await world.client.cancel(id);
  await world.client.wait(id);
});

test('a job that has succeeded can be neither cancelled nor requeued', async () => {
  const id = await world.submit(1);
  await world.client.wait(id);
  for (const command of ['cancel', 'requeue']) {
    expect(await emp(command, id)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('EMP-CONFLICT'),
    });
  }
});

test('unknown ids end with 3', async () => {
  for (const args of [
    ['job', 'nobody'],
    ['job', 'nobody', '--timeline'],
    ['cancel', 'nobody'],
    ['requeue', 'nobody'],
    ['machines', 'show', 'nobody'],
    ['drain', 'nobody'],
    ['cordon', 'nobody'],
  ]) {
    expect({ args, code: (await emp(...args)).code }).toEqual({ args, code: 3 });
  }
});

test('a cordoned machine gets no job until it is uncordoned', async () => {
  expect((await emp('cordon', 'machine-a')).stdout).toBe('machine-a  cordoned\n');
  expect((await emp('machines', 'show', 'machine-a')).stdout).toMatch(/^state +joined,cordoned$/m);
  const jobs = await Promise.all([1, 2, 3, 4].map(() => world.submit(20)));
  for (const id of jobs) expect((await world.client.wait(id)).machineId).toBe('machine-b');
  expect((await emp('uncordon', 'machine-a')).stdout).toBe('machine-a  open\n');
  const pinned = await world.submit(10, { machineId: 'machine-a' });
  expect((await world.client.wait(pinned)).machineId).toBe('machine-a');
});

test('lists and status show what is there', async () => {
  expect((await emp('machines')).stdout).toMatch(/^machine-a +joined +fast-lane +simulation:1/m);
  expect((await emp('jobs', '--state', 'succeeded', '--since', '1h')).stdout).toMatch(
    /^twice +succeeded +simulation/m,
  );
  expect((await emp('status')).stdout).toContain(world.url);
  expect((await emp('models')).stderr).toBe('nothing to show\n');
  const id = await world.submit(1);
  await world.client.wait(id);
  await world.events.untilJob(id, 'job.leased');
  const types = (await emp('events', '--job', id, '--json')).stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).type);
  // The claim of so short a job may be recorded after its end.
  expect(types.filter((type) => type !== 'job.progressed').sort()).toEqual([
    'job.leased',
    'job.submitted',
    'job.succeeded',
  ]);
});

test('events -f shows what comes and ends on Ctrl-C', async () => {
  const follow = new CliRun(['events', '-f', '--from', '0', '--type', 'job.submitted', '--json'], {
    EMP_HUB: world.url,
  });
  await follow.firstLine();
  const id = await world.submit(1);
  while (!follow.stdout.includes(id))
    await new Promise((resolve) => follow.child.stdout?.once('data', resolve));
  follow.child.kill('SIGINT');
  expect((await follow.ended).code).toBe(130);
});

test('a machine that is given several hubs asks those on loopback for its join token, one after the other', async () => {
  const nobody = `http://127.0.0.1:${await freePort()}`;
  const machine = new CliRun(
    ['machine', '--id', 'third', '--services', 'simulation:1', '--data', dir, '--json'],
    {
      EMP_HUB_URL: `${nobody}, ${world.url.replace('http', 'ws')}/v1/link`,
      EMP_JOIN_TOKEN: '',
    },
  );
  expect(await machine.firstLine()).toMatchObject({ kind: 'machine.ready', machineId: 'third' });
  expect(await json('machines')).toMatchObject({
    items: expect.arrayContaining([expect.objectContaining({ machineId: 'third', linked: true })]),
  });
  machine.child.kill('SIGTERM');
  expect((await machine.ended).code).toBe(0);
});

test('a machine whose hubs do not answer ends with 4, and names what it asked', async () => {
  const nobody = `http://127.0.0.1:${await freePort()}`;
  const env = { EMP_HUB_URL: nobody, EMP_JOIN_TOKEN: '' };
  const { code, stderr } = await new CliRun(['machine', '--data', dir], env).ended;
  expect({ code, stderr }).toEqual({ code: 4, stderr: expect.stringContaining(nobody) });
});

test('drain lets a machine leave, and it ends with 0', async () => {
  const machine = world.processOf('machine-b');
  expect((await emp('drain', 'machine-b', '--reason', 'test')).stdout).toBe('machine-b  draining\n');
  expect(await machine.ended).toEqual({ code: 0, signal: null });
  await world.events.until(({ type, machineId }) => type === 'machine.left' && machineId === 'machine-b');
});

test('an answer larger than a pipe holds arrives whole', async () => {
  const { code, stdout } = await emp('sim', 'plan', 'day', '--json');
  expect(code).toBe(0);
  expect(stdout.length).toBeGreaterThan(1_000_000);
  expect(JSON.parse(stdout)).toMatchObject({ scenario: 'day' });
});
