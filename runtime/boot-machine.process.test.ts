import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { describe, expect, onTestFinished, test } from 'vitest';
import { FleetProcess } from './fleet-process.ts';
import { TestHub } from './machine-hub.fixture.ts';

interface Ready {
  machineId: string;
  incarnation: number;
  healthUrl: string;
  readyMs: number;
}

async function setup(options: { env?: Record<string, string>; dir?: string; hub?: TestHub } = {}) {
  const dir = options.dir ?? (await mkdtemp(`${tmpdir()}/emp-boot-`));
  const hub = options.hub ?? (await new TestHub().listen());
  const child = new FleetProcess({
    name: 'machine',
    args: ['machine', '--json'],
    env: {
      EMP_HUB_URL: hub.url,
      EMP_JOIN_TOKEN: 'join',
      EMP_DATA_DIR: dir,
      EMP_SERVICES: 'simulation:2',
      MACHINE_ID: undefined,
      EMP_HUB: undefined,
      ...options.env,
    },
  });
  onTestFinished(async () => {
    await child.stop(2_000);
    if (options.hub === undefined) await hub.close();
    await rm(dir, { recursive: true, force: true });
  });
  return { dir, hub, child, ready: async () => (await child.ready) as unknown as Ready };
}

const simulate = (jobId: string, durationMs: number) => ({
  jobId,
  service: 'simulation',
  payload: { durationMs },
});

describe('a machine as a process', () => {
  test('says in one line that it is ready, and where its health is', async () => {
    const { hub, ready } = await setup({ env: { EMP_MACHINE_ID: 'spot-1' } });
    const line = await ready();
    expect(line).toMatchObject({ kind: 'machine.ready', machineId: 'spot-1', incarnation: 1 });
    await hub.saw('claim');
    for (const path of ['livez', 'startupz', 'readyz'])
      expect((await fetch(`${line.healthUrl}/${path}`)).status, path).toBe(200);
    expect(await (await fetch(`${line.healthUrl}/readyz?verbose`)).json()).toMatchObject({
      state: 'ready',
      linked: true,
    });
  });

  test('takes a job through its real connector', async () => {
    const { hub, child } = await setup();
    await child.ready;
    await hub.saw('claim');
    hub.submit({ ...simulate('j1', 20), payload: { durationMs: 20, outputs: 1, outputBytes: 1_000 } });
    const completed = await hub.saw('complete');
    expect(completed.outputs).toMatchObject([{ bytes: 1_000 }]);
    expect(hub.objects.get(completed.outputs[0]?.object as string)?.length).toBe(1_000);
  });

  test('SIGTERM lets the running job end, says goodbye and exits with 0', async () => {
    const { hub, child, ready } = await setup();
    const { healthUrl } = await ready();
    await hub.saw('claim');
    hub.submit(simulate('j1', 1_500));
    await hub.saw('beat', (beat) => beat.running.length === 1);
    child.kill('SIGTERM');
    await hub.saw('beat', (beat) => beat.report.state === 'draining');
    expect((await fetch(`${healthUrl}/livez`)).status).toBe(200);
    expect((await fetch(`${healthUrl}/readyz`)).status).toBe(503);
    expect(await child.ended).toEqual({ code: 0, signal: null });
    expect(hub.bodies('complete').map((body) => body.jobId)).toEqual(['j1']);
    expect(hub.bodies('leave')).toHaveLength(1);
  });

  test('a drain that runs out of time gives the job back', async () => {
    const { hub, child } = await setup({ env: { EMP_DRAIN_MS: '100' } });
    await child.ready;
    await hub.saw('claim');
    hub.submit(simulate('j1', 60_000));
    await hub.saw('beat', (beat) => beat.running.length === 1);
    child.kill('SIGTERM');
    expect((await hub.saw('exit')).cause).toMatchObject({ kind: 'release' });
    expect(await child.ended).toMatchObject({ code: 0 });
  });

  test('a signal that comes with the first is its echo, a later one ends it at once', async () => {
    const { hub, child } = await setup();
    await child.ready;
    await hub.saw('claim');
    hub.submit(simulate('j1', 60_000));
    await hub.saw('beat', (beat) => beat.running.length === 1);
    child.kill('SIGTERM');
    child.kill('SIGTERM');
    await hub.saw('beat', (beat) => beat.report.state === 'draining');
    const ended = child.ended.then(() => true);
    do child.kill('SIGTERM');
    while (!(await Promise.race([ended, hub.next('beat', () => true).then(() => false)])));
    expect((await child.ended).code).toBe(130);
    expect(hub.bodies('exit')).toEqual([]);
  });

  test('a newer incarnation of it ends it with a code of its own', async () => {
    const { hub, child } = await setup();
    await child.ready;
    hub.handlers.beat = () => ({ kind: 'superseded' });
    const { code } = await child.ended;
    expect(code).not.toBe(0);
    expect(child.failure().message).toContain('newer incarnation');
  });

  test('keeps its name in the data folder, and comes back under it', async () => {
    const first = await setup();
    const { machineId } = await first.ready();
    expect((await readFile(`${first.dir}/machine-id`, 'utf8')).trim()).toBe(machineId);
    await first.child.stop();
    const second = await setup({ dir: first.dir, hub: first.hub });
    expect((await second.ready()).machineId).toBe(machineId);
  });

  test('a configuration with faults is refused with all of them, before anything starts', async () => {
    const faults = { EMP_JOIN_TOKEN: '', EMP_POOL: 'no blanks', EMP_DRAIN_MS: '-1' };
    const near = await setup({ env: faults });
    expect((await near.child.ended).code).not.toBe(0);
    for (const name of ['EMP_POOL', 'EMP_DRAIN_MS']) expect(near.child.failure().message).toContain(name);
    // A hub that is not on this computer is not asked for a token.
    const far = await setup({ env: { ...faults, EMP_HUB_URL: 'http://hub.example:7700' } });
    expect((await far.child.ended).code).not.toBe(0);
    for (const name of ['EMP_JOIN_TOKEN', 'EMP_POOL', 'EMP_DRAIN_MS'])
      expect(far.child.failure().message).toContain(name);
  });

  test('needs less than 120 MB, and tells the hub how much', async () => {
    const { hub, child } = await setup();
    await child.ready;
    const { report } = await hub.next('beat', (beat) => beat.report.state === 'ready');
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
    expect(Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1_024).toBeLessThan(120);
    expect(report.rssBytes / 1_048_576).toBeLessThan(120);
    expect(report.rssBytes).toBeGreaterThan(0);
  });
});
