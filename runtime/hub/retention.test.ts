import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { cancelJob } from './cancel.ts';
import type { HubPorts } from './hub.ts';
import { hubRig } from './hub-rig.ts';

const minute = 60_000;

async function setup(options: { wrap?: (ports: HubPorts) => HubPorts } = {}) {
  const env = simEnv({ seed: 'retention' });
  const objects = new SimObjects({ clock: env.clock });
  const rig = await hubRig({
    env,
    objects,
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { retainJobsMs: 10 * minute, retainEventsMs: 20 * minute },
    ...(options.wrap && { wrap: options.wrap }),
  });
  await env.clock.advanceBy(10);
  const { hub } = rig.core;
  const ended = async (id: string) => {
    await rig.submit(id);
    await cancelJob(hub, id, 'client');
    await env.clock.settle();
  };
  return { clock: env.clock, rig, hub, objects, ended };
}

describe('retention', () => {
  test('an ended job goes with all its files when its time is over, an open one stays', async () => {
    const { clock, rig, hub, objects, ended } = await setup();
    await ended('old');
    await rig.submit('open');
    const file = (key: string) => objects.store({ key, bytes: Buffer.from(key), mime: 'text/plain' });
    file('results/old/500/a.txt');
    file('results/old/600/b.txt');
    file('results/older/500/a.txt');
    await clock.advanceBy(9 * minute);
    expect(await rig.ports.records.getJob('old')).not.toBeNull();
    await clock.advanceBy(2 * minute + 6_000);
    expect(await rig.ports.records.getJob('old')).toBeNull();
    expect(await rig.ports.records.getJob('open')).not.toBeNull();
    expect(hub.counters.jobsForgotten).toBe(1);
    const left = await objects.list({ prefix: 'results/', after: null, limit: 10 });
    expect(left.map(({ key }) => key)).toEqual(['results/older/500/a.txt']);
  });

  test('events go when theirs is over, and the stream goes on behind the last one', async () => {
    const { clock, rig, hub, ended } = await setup();
    await ended('old');
    await clock.advanceBy(22 * minute);
    expect(await rig.eventTypes('old')).toEqual([]);
    expect(hub.counters.eventsForgotten).toBeGreaterThan(2);
    const before = hub.events.highest;
    await ended('new');
    await clock.advanceBy(5_000);
    expect(await rig.eventTypes('new')).toContain('job.cancelled');
    expect(hub.events.highest).toBeGreaterThan(before);
  });

  test('a job whose files cannot be removed is kept, and goes when they can', async () => {
    let isFull = true;
    const wrap = (ports: HubPorts): HubPorts => ({
      ...ports,
      objects: {
        ...ports.objects,
        list: async (options) => {
          if (isFull) throw new Error('the store is away');
          return await ports.objects.list(options);
        },
      },
    });
    const { clock, rig, ended } = await setup({ wrap });
    await ended('old');
    await clock.advanceBy(15 * minute);
    expect(await rig.ports.records.getJob('old')).not.toBeNull();
    expect(rig.core.hub.counters.jobsForgotten).toBe(0);
    isFull = false;
    await clock.advanceBy(2 * minute);
    expect(await rig.ports.records.getJob('old')).toBeNull();
  });

  test('more than a round holds goes over several rounds', async () => {
    const { clock, hub, rig } = await setup();
    const ids = Array.from({ length: 1_150 }, (_, index) => `job-${index}`);
    for (const id of ids) {
      await rig.submit(id);
      await cancelJob(hub, id, 'client');
    }
    await clock.advanceBy(11 * minute + 30_000);
    expect(hub.counters.jobsForgotten).toBe(1_150);
  });
});
