import { afterAll, describe, expect, test } from 'vitest';
import type { GpuReading } from '#protocol/gpus.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ChartCoverage, chartRig, question } from './chart-rig.fixture.ts';
import { gpuChart, permitFits } from './gpu.ts';

const coverage = new ChartCoverage(gpuChart);
const reading: GpuReading = { uuid: 'GPU-1', freeMemoryMb: 10_000, utilisation: 0, temperatureC: 40 };

function setup() {
  const clock = new VirtualClock();
  const read = question<GpuReading, { uuid: string }>();
  const rig = chartRig({
    chart: gpuChart.provide({ actors: { read: read.logic } }),
    clock,
    coverage,
    peers: ['runs', 'supervisor', 'run/1', 'run/2', 'run/3'],
    systemId: 'gpu/GPU-1',
    input: {
      device: { uuid: 'GPU-1', kind: 'gpu', name: 'Test card', memoryMb: 10_000 },
      settings: { readEveryMs: 30_000, retryEveryMs: 5_000, lostAfter: 3, reserveMb: 500 },
    },
  });
  const ask = (run: string, memoryMb = 0) => rig.send({ type: 'permit.ask', run, memoryMb });
  const granted = () => rig.sent.filter(({ event }) => event.type === 'permit.granted').map(({ to }) => to);
  return {
    clock,
    read,
    rig,
    ask,
    granted,
    release: (run: string) => rig.send({ type: 'permit.release', run }),
  };
}

describe('gpu', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test('a card that answers is usable, and a permit makes it busy', async () => {
    const { read, rig, ask, granted, release } = setup();
    await read.answer(reading);
    expect(rig.to('runs').map((event) => event['usable'])).toEqual([false, true]);
    ask('run/1');
    expect(granted()).toEqual(['run/1']);
    expect(rig.state()).toContain('busy');
    release('run/1');
    expect(rig.state()).toContain('idle');
  });

  test('two jobs share the card only if both fit beside the reserve', async () => {
    const { read, ask, granted, release } = setup();
    await read.answer(reading);
    ask('run/1', 5_000);
    ask('run/2', 5_000);
    expect(granted()).toEqual(['run/1']);
    release('run/1');
    expect(granted()).toEqual(['run/1', 'run/2']);
    ask('run/3', 4_500);
    expect(granted()).toEqual(['run/1', 'run/2', 'run/3']);
  });

  test('a big job that waits is not overtaken by small ones', async () => {
    const { read, ask, granted, release } = setup();
    await read.answer(reading);
    ask('run/1', 5_000);
    ask('run/2', 9_000);
    ask('run/3', 100);
    expect(granted()).toEqual(['run/1']);
    release('run/1');
    expect(granted()).toEqual(['run/1', 'run/2', 'run/3']);
  });

  test('a run that asks again keeps its permit, or its place in the line', async () => {
    const { read, ask, granted, release } = setup();
    await read.answer(reading);
    ask('run/1', 9_000);
    ask('run/2', 9_000);
    ask('run/1', 9_000);
    ask('run/2', 9_000);
    expect(granted()).toEqual(['run/1', 'run/1']);
    release('run/1');
    expect(granted()).toEqual(['run/1', 'run/1', 'run/2']);
  });

  test('an empty card takes any job: what it needs may be unknown', () => {
    expect(permitFits({ memoryMb: 1_000, reserveMb: 500, permits: [], asked: 90_000 })).toBe(true);
  });

  test('who leaves the line gets no permit', async () => {
    const { read, ask, granted, release } = setup();
    ask('run/1');
    ask('run/2');
    release('run/1');
    await read.answer(reading);
    expect(granted()).toEqual(['run/2']);
  });

  test('a card that stops answering is offered no more, and comes back with its answer', async () => {
    const { read, rig, clock } = setup();
    await read.answer(reading);
    await clock.advanceBy(30_000);
    await read.fail(new Error('no reply'));
    expect(rig.state()).toBe('"suspect"');
    expect(rig.to('runs').at(-1)).toMatchObject({ usable: false });
    expect(rig.to('supervisor').at(-1)).toMatchObject({ type: 'machine.degraded', reason: 'gpu/GPU-1' });
    await clock.advanceBy(5_000);
    await read.answer(reading);
    expect(rig.to('runs').at(-1)).toMatchObject({ usable: true });
    expect(rig.to('supervisor').at(-1)).toMatchObject({ type: 'machine.recovered' });
  });

  test('after three failures in a row it is lost, and asked about less often', async () => {
    const { read, rig, clock } = setup();
    for (let failure = 0; failure < 3; failure++) {
      await read.fail(new Error('fell off the bus'));
      await clock.advanceBy(failure < 2 ? 5_000 : 0);
    }
    expect(rig.state()).toBe('"lost"');
    await clock.advanceBy(29_999);
    expect(read.asked).toHaveLength(3);
    await clock.advanceBy(1);
    await read.answer(reading);
    expect(rig.state()).toContain('usable');
  });

  test('a good card is read again and again, and keeps its permits', async () => {
    const { read, rig, clock, ask, granted } = setup();
    await read.answer(reading);
    ask('run/1');
    for (let round = 0; round < 3; round++) {
      await clock.advanceBy(30_000);
      await read.answer({ ...reading, freeMemoryMb: round });
    }
    expect(granted()).toEqual(['run/1']);
    expect(rig.context()['reading']).toMatchObject({ freeMemoryMb: 2 });
  });

  test('a roll call is answered by a card that is up, and by no other', async () => {
    const { read, rig } = setup();
    rig.send({ type: 'roll.call' });
    expect(rig.to('runs')).toHaveLength(1);
    await read.answer(reading);
    rig.send({ type: 'roll.call' });
    expect(rig.to('runs')).toHaveLength(3);
  });
});
