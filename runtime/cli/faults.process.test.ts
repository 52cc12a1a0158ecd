import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { repetitions, World, type WorldOptions } from './process-harness.ts';

/** Real processes, real signals. What is asserted is order and state; times only bound the whole test. */

const worlds: World[] = [];
afterEach(async () => {
  await Promise.all(worlds.splice(0).map((world) => world.stop()));
});

async function setup(options: WorldOptions = {}): Promise<World> {
  const world = await World.start(options);
  worlds.push(world);
  return world;
}

describe.each(repetitions)('run %i', () => {
  test('R1: a machine killed in mid-job: the job runs again elsewhere and completes once', async () => {
    const world = await setup();
    const jobId = await world.submit(1_500, { outputs: 1 });
    const first = await world.running(jobId);
    first.process.kill('SIGKILL');
    const job = await world.client.wait(jobId);
    const { runs } = await world.client.timeline(jobId);
    expect(job).toMatchObject({ state: 'succeeded', attempts: 1, runs: 2 });
    expect(runs).toMatchObject([
      { run: 1, machineId: first.machineId, outcome: 'expired', counted: true },
      { run: 2, outcome: 'succeeded', counted: false },
    ]);
    expect(runs[1]?.machineId).not.toBe(first.machineId);
    expect(Number(runs[1]?.token)).toBeGreaterThan(Number(runs[0]?.token));
    await world.events.untilJob(jobId, 'job.succeeded');
    expect(world.events.story(jobId)).toEqual([
      'submitted',
      'leased',
      'progressed',
      'expired',
      'leased',
      'progressed',
      'succeeded',
    ]);
    await world.events.until(
      ({ type, machineId }) => type === 'machine.lost' && machineId === first.machineId,
    );
  });

  test('T29: SIGTERM drains: the running job keeps its attempt, nothing new is claimed, the machine leaves', async () => {
    const world = await setup();
    const jobId = await world.submit(1_200);
    const first = await world.running(jobId);
    first.process.kill('SIGTERM');
    await world.reported(first.machineId, 'draining');
    const later = await Promise.all([1, 2, 3].map(() => world.submit(50)));
    const job = await world.client.wait(jobId);
    expect(await first.process.ended).toEqual({ code: 0, signal: null });
    const { runs } = await world.client.timeline(jobId);
    expect(job).toMatchObject({ state: 'succeeded', attempts: 0 });
    expect(runs.map(({ counted }) => counted)).not.toContain(true);
    expect(runs.slice(0, -1).map(({ outcome }) => outcome)).toEqual(runs.length === 1 ? [] : ['released']);
    for (const id of later) expect((await world.client.wait(id)).machineId).not.toBe(first.machineId);
    await world.events.until(
      ({ type, machineId }) => type === 'machine.left' && machineId === first.machineId,
    );
  });

  test('a hub killed and started again on its data: nothing is lost and running work goes on under its token', async () => {
    // A machine fences itself when its lease is over, so this lease outlasts the restart also on a busy
    // computer; waiting work rests for one lease afterwards.
    const world = await setup({ leaseTtlMs: 20_000, settings: { EMP_SINGLETON_TTL_MS: '1000' } });
    const done = await world.submit(10);
    await world.client.wait(done);
    const running = await Promise.all([
      world.submit(4_000, { outputs: 1 }),
      world.submit(4_000, { outputs: 1 }),
    ]);
    await Promise.all(running.map((id) => world.running(id)));
    const waiting = await Promise.all(Array.from({ length: 4 }, () => world.submit(20)));
    const tokens = await Promise.all(
      running.map(async (id) => (await world.events.untilJob(id, 'job.leased')).data['token']),
    );
    world.hub.kill('SIGKILL');
    await world.hub.ended;
    await world.restartHub();
    for (const [index, id] of running.entries()) {
      const job = await world.client.wait(id);
      const { runs } = await world.client.timeline(id);
      expect(job).toMatchObject({ state: 'succeeded', attempts: 0, runs: 1, token: tokens[index] });
      expect(runs).toMatchObject([{ run: 1, outcome: 'succeeded', token: tokens[index] }]);
    }
    for (const id of [done, ...waiting])
      expect(await world.client.wait(id)).toMatchObject({ state: 'succeeded', attempts: 0 });
    const machines = await world.client.machines();
    expect(machines.map(({ machineId, state, linked }) => [machineId, state, linked]).sort()).toEqual([
      ['machine-a', 'joined', true],
      ['machine-b', 'joined', true],
    ]);
    const { items, highestSeq } = await world.client.events({ after: 0, limit: 1_000 });
    await world.events.until(({ seq }) => seq >= highestSeq);
    expect(world.events.all.slice(0, items.length)).toEqual(items);
    expect(items.map(({ seq }) => seq)).toEqual(items.map((_, index) => index + 1));
  });

  test('T1: a machine frozen past its lease: its late writes are refused and there is one result', async () => {
    const world = await setup();
    const jobId = await world.submit(1_500, { outputs: 1 });
    const frozen = await world.running(jobId);
    frozen.process.kill('SIGSTOP');
    const again = await world.events.until(
      (event) => event.jobId === jobId && event.type === 'job.leased' && event.machineId !== frozen.machineId,
    );
    frozen.process.kill('SIGCONT');
    const job = await world.client.wait(jobId);
    expect(job).toMatchObject({
      state: 'succeeded',
      attempts: 1,
      machineId: again.machineId,
      token: again.data['token'],
    });
    const [output] = job.result?.outputs ?? [];
    expect(output?.object).toContain(String(again.data['token']));
    if (output !== undefined)
      expect(await readFile(await world.client.download(jobId, output, join(world.dir, 'got')))).toHaveLength(
        output.bytes,
      );
    // Thawed, it works again: as the same incarnation or as a new one.
    const later = await world.submit(10, { machineId: frozen.machineId });
    expect(await world.client.wait(later)).toMatchObject({ state: 'succeeded', machineId: frozen.machineId });
    expect(world.events.story(jobId).filter((type) => type === 'succeeded')).toHaveLength(1);
    expect((await world.client.timeline(jobId)).runs).toMatchObject([
      { outcome: 'expired' },
      { outcome: 'succeeded', token: again.data['token'] },
    ]);
  });

  test('two processes with one machine id: the older one is fenced and ends', async () => {
    const world = await setup({ machines: 1 });
    // Longer than the newer process takes to start.
    const jobId = await world.submit(5_000);
    const older = await world.running(jobId);
    await world.machine({ id: older.machineId, folder: 'newer' });
    await older.process.ended;
    const job = await world.client.wait(jobId);
    const { runs } = await world.client.timeline(jobId);
    expect(job).toMatchObject({ state: 'succeeded', attempts: 1, runs: 2, machineId: older.machineId });
    expect(runs).toMatchObject([{ outcome: 'expired', counted: true }, { outcome: 'succeeded' }]);
    expect(runs[1]?.incarnation).toBeGreaterThan(runs[0]?.incarnation ?? 0);
    expect(await world.client.machines()).toMatchObject([
      { machineId: older.machineId, incarnation: runs[1]?.incarnation, state: 'joined' },
    ]);
  });
});
