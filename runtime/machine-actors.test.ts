import { describe, expect, test } from 'vitest';
import { claimerChart } from '#machines/claimer.ts';
import { connectorChart } from '#machines/connector.ts';
import { gpuChart } from '#machines/gpu.ts';
import { jobRunChart } from '#machines/job-run.ts';
import { leaseChart } from '#machines/lease.ts';
import { linkChart } from '#machines/link.ts';
import { modelCacheChart } from '#machines/model-cache.ts';
import { modelFetchChart } from '#machines/model-fetch.ts';
import { supervisorChart } from '#machines/supervisor.ts';
import { missingActors } from '#machines/unprovided.ts';
import type { Machine } from './compose-machine.ts';
import { machineRig } from './machine-rig.fixture.ts';
import { refuseMissing } from './machine-tree.ts';

describe('the actors of a whole machine', () => {
  test('every chart declares its effects, and composition refuses to start while one is missing', () => {
    const charts = [
      claimerChart,
      connectorChart,
      gpuChart,
      jobRunChart,
      leaseChart,
      linkChart,
      modelCacheChart,
      modelFetchChart,
      supervisorChart,
    ];
    for (const chart of charts) expect(missingActors(chart as never), chart.id).not.toEqual([]);
    expect(() => refuseMissing([leaseChart as never, gpuChart as never])).toThrow('lease.beat, gpu.read');
  });

  test('all have a path below the root', async () => {
    const { hub, machine } = await machineRig();
    // It asks for work when its cache has been looked through, which a beat does not wait for.
    await Promise.all([hub.saw('beat'), hub.saw('claim')]);
    expect(
      machine.inspect
        .tree()
        .map(({ path }) => path)
        .filter((path) => !/beat|claim$/.test(path)),
    ).toEqual([
      '',
      'dead-letters',
      'tree',
      'tree/cache',
      'tree/gpus',
      'tree/gpus/gpu/cpu-0',
      'tree/connectors',
      'tree/connectors/connector/test',
      'tree/core',
      'tree/core/reporter',
      'tree/core/inbox',
      'tree/core/lease',
      'tree/core/claimer',
      'tree/core/runs',
      'tree/core/link',
      'tree/core/link/connection',
    ]);
  });

  /** Where an actor lives, by its id. */
  const addressOf = (machine: Machine, id: string) =>
    machine.inspect.tree().find((view) => view.ids.at(-1) === id)?.address ?? `nobody is called ${id}`;
  const breakActor = (machine: Machine, id: string) =>
    machine.inspect.send(addressOf(machine, id), poison[id] as { type: string });

  test('have addresses, and what goes to another machine, incarnation or path is a dead letter', async () => {
    const { hub, machine } = await machineRig();
    await hub.saw('claim');
    expect(addressOf(machine, 'gpu/cpu-0')).toBe('m1/1/tree/gpus/gpu%2Fcpu-0');
    expect(machine.inspect.send('m1/1/tree/core/claimer', { type: 'claim.wanted' })).toBe(true);
    await hub.saw('claim', () => hub.bodies('claim').length === 2);
    for (const address of ['m2/1/tree', 'm1/2/tree', 'm1/1/tree/nobody', 'nonsense']) {
      expect(machine.inspect.send(address, { type: 'x' }), address).toBe(false);
    }
    expect(machine.health().deadLetters).toMatchObject({ 'unknown-address': 4 });
  });

  /** Breaks an actor by an event that its chart cannot digest. */
  const poison: Record<string, object> = {
    lease: {
      type: 'lease.acked',
      get fenceInMs(): number {
        throw new Error('bug');
      },
    },
    claimer: { type: 'claim.free', free: null },
    runs: {
      type: 'runs.drop',
      jobIds: [],
      get reason(): string {
        throw new Error('bug');
      },
    },
    cache: { type: 'models.want', models: null, run: 'r' },
    'gpu/cpu-0': {
      type: 'permit.ask',
      get run(): string {
        throw new Error('bug');
      },
    },
    link: {
      type: 'link.notice',
      get notice(): object {
        throw new Error('bug');
      },
    },
  };

  test.each(Object.keys(poison))(
    'after a failure of %s the machine takes jobs again, under the same incarnation',
    async (name) => {
      const { hub, machine, began } = await machineRig();
      await hub.saw('claim');
      breakActor(machine, name);
      await hub.next('beat', (beat) => beat.report.restarts > 0 && beat.free[0]?.slots === 1);
      hub.submit({ jobId: 'j1' });
      await began(1);
      expect(machine.health()).toMatchObject({ state: 'ready', incarnation: 1 });
      // A number is used again only to repeat what was not answered.
      const claims = hub.bodies('claim').map((claim) => claim.requestId);
      expect(claims).toEqual([...claims].sort((x, y) => x - y));
    },
  );

  test('a run that was at work when the core failed is not named any more, and its work has stopped', async () => {
    const { hub, machine, runs, began } = await machineRig();
    await hub.saw('claim');
    hub.submit({ jobId: 'j1' });
    await began(1);
    breakActor(machine, 'lease');
    await hub.next('beat', (beat) => beat.report.restarts > 0 && beat.running.length === 0);
    expect(runs[0]?.signal.aborted).toBe(true);
  });

  test('an actor that fails again and again ends the machine with code 1', async () => {
    const supervise = { intensity: 3, periodMs: 60_000, backoff: { baseMs: 1, limitMs: 1 } };
    const { hub, machine } = await machineRig({ settings: { supervise } });
    await hub.saw('claim');
    const breakCache = () => breakActor(machine, 'cache');
    machine.inspect.listen((frame) => {
      if (frame.path === 'tree/cache' && JSON.stringify(frame.value ?? '').includes('serving'))
        queueMicrotask(breakCache);
    });
    breakCache();
    expect(await machine.stopped).toMatchObject({
      code: 1,
      reason: expect.stringContaining('cache failed too often'),
    });
  });
});
