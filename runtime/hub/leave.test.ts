import { expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import type { HubPorts } from './hub.ts';
import { hubRig } from './hub-rig.ts';

/** What the Broker hears of machines, in order; `hang` holds the reading of groups up for ever. */
async function setup() {
  const env = simEnv({ seed: 'leave' });
  const heard: string[] = [];
  const store = { hang: false };
  const wrap = (ports: HubPorts): HubPorts => ({
    ...ports,
    broker: new Proxy(ports.broker, {
      get(target, key: keyof HubPorts['broker']) {
        const method = Reflect.get(target, key) as (...args: unknown[]) => unknown;
        return (...args: unknown[]) => {
          if (key === 'beats' || key === 'claim' || key === 'leave') heard.push(key);
          return method(...args);
        };
      },
    }),
    records: new Proxy(ports.records, {
      get(target, key: keyof HubPorts['records']) {
        if (key === 'listGroups' && store.hang) return () => new Promise(() => undefined);
        return Reflect.get(target, key);
      },
    }),
  });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    wrap,
  });
  await env.clock.advanceBy(10);
  return { clock: env.clock, rig, heard, store };
}

test('a farewell waits for the beats and claims before it, and what comes behind it says nothing to the Broker', async () => {
  const { clock, rig, heard, store } = await setup();
  const machine = await rig.join({ machineId: 'm1' });
  await rig.submit('j1');
  await machine.beat();
  await clock.advanceBy(6_000);
  store.hang = true;
  heard.length = 0;
  const answers = [
    machine.beat(),
    machine.claim(),
    machine.ask('leave', { reason: 'drained' }),
    machine.beat(),
  ];
  const settled = Promise.allSettled(answers);
  await clock.advanceBy(249);
  expect(heard).toEqual([]);
  await clock.advanceBy(1_000);
  await settled;
  expect(heard.at(-1)).toBe('leave');
  expect(heard.filter((call) => call === 'leave')).toHaveLength(1);
  expect(await rig.ports.broker.inspect('j1')).toMatchObject({ state: 'waiting', holder: null });
  expect((await rig.ports.broker.stats()).incarnations).toBe(0);
});
