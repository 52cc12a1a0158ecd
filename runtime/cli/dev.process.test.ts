import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { allGone, CliRun, descendants, isAlive } from './cli-run.ts';

let dir: string;
let started: CliRun[];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'emp-dev-test-'));
  started = [];
});
afterEach(async () => {
  for (const { child } of started)
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

function start(args: string[]): CliRun {
  const run = new CliRun(args, { EMP_STATE_DIR: join(dir, 'state'), TMPDIR: dir });
  started.push(run);
  return run;
}

interface Ready {
  kind: string;
  hub: { url: string; pid: number };
  stores: { durable: boolean };
  machines: { id: string; pid: number; services: string[] }[];
}

/** Starts `emp dev` and answers its ready line, and every process that hangs on it. */
async function startDev(args: string[]) {
  const dev = start(['dev', '--json', '--port', '0', ...args]);
  const ready = await dev.firstLine<Ready>();
  return { dev, ready, processes: descendants(dev.child.pid ?? -1) };
}

test('other commands find it, and it ends with 0 and without a trace on Ctrl-C', async () => {
  const { dev, ready, processes } = await startDev(['--machines', '3']);
  expect(ready).toMatchObject({ kind: 'dev.ready', stores: { durable: false } });
  expect(ready.machines.map(({ id }) => id).sort()).toEqual([
    'dev-fast-lane-1',
    'dev-heavy-1',
    'dev-standard-1',
  ]);
  expect(processes.map(({ pid }) => pid)).toEqual(
    expect.arrayContaining([ready.hub.pid, ...ready.machines.map(({ pid }) => pid)]),
  );
  const status = await start(['status', '--json']).ended;
  expect(JSON.parse(status.stdout)).toMatchObject({ url: ready.hub.url, machines: { joined: 3 } });
  const job = await start(['run', 'simulation', '--set', 'durationMs=50', '--wait', '--json']).ended;
  expect(job.code).toBe(0);
  expect(JSON.parse(job.stdout)).toMatchObject({ state: 'succeeded', result: { data: { durationMs: 50 } } });
  dev.child.kill('SIGINT');
  expect((await dev.ended).code).toBe(0);
  expect(processes.filter(isAlive)).toEqual([]);
  expect(await readdir(join(dir, 'state'))).toEqual([]);
  expect((await readdir(dir)).filter((name) => name !== 'state')).toEqual([]);
});

test('killed without warning in the middle of work, it leaves no process behind', async () => {
  const { dev, processes } = await startDev(['--machines', '2']);
  const job = JSON.parse(
    (
      await start(['run', 'simulation', '--set', 'durationMs=60000', '--set', 'progressSteps=600', '--json'])
        .ended
    ).stdout,
  );
  const events = start(['events', '-f', '--job', job.id, '--type', 'job.progressed', '--json']);
  await events.firstLine();
  events.child.kill('SIGKILL');
  dev.child.kill('SIGKILL');
  await dev.ended;
  await allGone(processes);
});

test('a hub that dies ends it with an error and ends the machines', async () => {
  const { dev, ready, processes } = await startDev(['--machines', '1']);
  process.kill(ready.hub.pid, 'SIGKILL');
  const { code, stderr } = await dev.ended;
  expect(code).toBe(1);
  expect(JSON.parse(stderr)).toMatchObject({
    code: 'EMP-CHILD-FAILED',
    error: expect.stringContaining('hub'),
  });
  await allGone(processes);
});

test('with --data jobs are there again after a restart; a port in use is replaced by a free one', async () => {
  const data = join(dir, 'data');
  const first = await startDev(['--machines', '1', '--data', data]);
  expect(first.ready.stores.durable).toBe(true);
  expect((await start(['run', 'simulation', '--id', 'kept', '--wait']).ended).code).toBe(0);
  first.dev.child.kill('SIGINT');
  await first.dev.ended;
  const blocker = createServer().listen(0, '127.0.0.1');
  await once(blocker, 'listening');
  const address = blocker.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const second = await startDev(['--machines', '0', '--data', data, '--port', String(port)]);
  blocker.close();
  expect(new URL(second.ready.hub.url).port).not.toBe(String(port));
  expect(JSON.parse((await start(['job', 'kept', '--json']).ended).stdout)).toMatchObject({
    state: 'succeeded',
  });
  second.dev.child.kill('SIGTERM');
  expect((await second.dev.ended).code).toBe(0);
});

test('a machine that is killed is one machine fewer: the hub goes on', async () => {
  const { dev, ready } = await startDev(['--machines', '2']);
  const [first] = ready.machines;
  const killed = descendants(dev.child.pid ?? -1).filter(({ pid }) => pid === first?.pid);
  process.kill(first?.pid ?? 0, 'SIGKILL');
  await allGone(killed);
  // The job ends although its other holder is gone, so hub and second machine are there.
  const { code } = await start(['run', 'simulation', '--wait', '--hub', ready.hub.url]).ended;
  expect(code).toBe(0);
  dev.child.kill('SIGINT');
  expect(await dev.ended).toMatchObject({ code: 0 });
});
