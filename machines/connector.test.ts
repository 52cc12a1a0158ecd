import { afterAll, describe, expect, test } from 'vitest';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ChartCoverage, chartRig, question } from './chart-rig.fixture.ts';
import { connectorChart } from './connector.ts';

const coverage = new ChartCoverage(connectorChart);

function setup() {
  const clock = new VirtualClock();
  const start = question<void, { service: string; limitMs: number }>();
  const probe = question<void, { service: string; limitMs: number }>();
  const stop = question<void, { service: string }>();
  const rig = chartRig({
    chart: connectorChart.provide({ actors: { start: start.logic, probe: probe.logic, stop: stop.logic } }),
    clock,
    coverage,
    peers: ['runs', 'supervisor'],
    systemId: 'connector/test',
    input: {
      service: 'test',
      settings: {
        startMs: 1_000,
        probeMs: 100,
        probeEveryMs: 5_000,
        probesLimit: 3,
        restart: { baseMs: 1_000, limitMs: 8_000 },
        restartsLimit: 3,
        stableMs: 300_000,
      },
      rng: seededRng(1),
    },
  });
  const up = async () => {
    await start.answer();
    await probe.answer();
  };
  return { clock, start, probe, stop, rig, up };
}

describe('connector', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test('its slots are offered after its first good probe', async () => {
    const { rig, start, probe } = setup();
    await start.answer();
    expect(rig.to('runs')).toEqual([{ type: 'service.down', service: 'test' }]);
    await probe.answer();
    expect(rig.to('runs').at(-1)).toEqual({ type: 'service.up', service: 'test' });
  });

  test('it is busy while runs are at work', async () => {
    const { rig, up } = setup();
    const say = (type: string, run: string) => rig.send({ type: `connector.${type}`, run });
    say('ended', 'run/j1.5');
    await up();
    for (const run of ['run/j1.5', 'run/j2.5', 'run/j1.5']) say('began', run);
    say('ended', 'run/j1.5');
    expect(rig.state()).toContain('busy');
    say('ended', 'run/j2.5');
    expect(rig.state()).toContain('ready');
  });

  test('three failed probes in a row make it unhealthy, two and a good one do not', async () => {
    const { rig, clock, probe, stop, up } = setup();
    await up();
    await clock.advanceBy(5_000);
    await probe.fail(new Error('no answer'));
    await probe.fail(new Error('no answer'));
    await probe.answer();
    expect(rig.state()).toContain('trusted');
    await clock.advanceBy(5_000);
    for (let failure = 0; failure < 3; failure++) await probe.fail(new Error('no answer'));
    expect(rig.state()).toBe('"unhealthy"');
    expect(rig.to('runs').at(-1)).toEqual({ type: 'service.down', service: 'test' });
    expect(rig.to('supervisor').at(-1)).toEqual({
      type: 'machine.degraded',
      reason: 'connector/test',
      detail: 'no answer',
    });
    expect(stop.asked).toHaveLength(1);
  });

  describe('a run that does not stop', () => {
    const stuck = { type: 'connector.stuck', run: 'run/j1.5' };

    test('makes it unhealthy at once, and its end is told before it starts again', async () => {
      const { rig, clock, start, probe, stop, up } = setup();
      await up();
      rig.send({ type: 'connector.began', run: 'run/j1.5' });
      rig.send(stuck);
      expect(rig.state()).toBe('"unhealthy"');
      expect(rig.to('runs').at(-1)).toEqual({ type: 'service.down', service: 'test' });
      expect(rig.to('supervisor').at(-1)).toMatchObject({
        type: 'machine.degraded',
        detail: 'run/j1.5 did not stop when it was told to',
      });
      expect([stop.asked.length, probe.asked.length]).toEqual([1, 1]);
      await stop.answer();
      expect(rig.to('runs').at(-1)).toEqual({ type: 'service.ended', service: 'test' });
      await clock.advanceBy(1_000);
      await start.answer();
      await probe.answer();
      expect(rig.to('runs').at(-1)).toEqual({ type: 'service.up', service: 'test' });
    });

    test('has it stopped also while it starts, waits or is left alone', async () => {
      const { rig, clock, start, stop } = setup();
      rig.send(stuck);
      expect(start.asked[0]?.signal.aborted).toBe(true);
      rig.send(stuck);
      expect(stop.asked).toHaveLength(1);
      await stop.answer();
      expect(rig.state()).toBe('"backoff"');
      rig.send(stuck);
      expect(stop.asked).toHaveLength(2);
      await stop.answer();
      await clock.advanceBy(2_000);
      expect(rig.state()).toBe('"starting"');
    });

    test('has a stop that fails repeated, and nothing is started beside it', async () => {
      const { rig, clock, start, stop, up } = setup();
      await up();
      rig.send(stuck);
      await stop.fail(new Error('it does not die'));
      expect(rig.to('runs').map((event) => event.type)).not.toContain('service.ended');
      await clock.advanceBy(1_000);
      expect([start.asked.length, stop.asked.length]).toEqual([1, 2]);
      await stop.fail(new Error('it does not die'));
      rig.send({ type: 'connector.ended', run: 'run/j1.5' });
      await clock.advanceBy(2_000);
      expect([start.asked.length, stop.asked.length]).toEqual([2, 2]);
    });

    test('has it stopped, not started, when an operator resets it', async () => {
      const { rig, clock, start, stop, up } = setup();
      await up();
      rig.send(stuck);
      for (let failure = 0; failure < 4; failure++) {
        await stop.fail(new Error('it does not die'));
        await clock.advanceBy(8_000);
      }
      expect(rig.state()).toBe('"quarantined"');
      rig.send({ type: 'connector.reset' });
      expect(rig.state()).toBe('"unhealthy"');
      await stop.answer();
      await clock.advanceBy(1_000);
      expect(start.asked).toHaveLength(2);
    });
  });

  test('a new desk that calls the roll of a service at work has it ended: those runs are lost', async () => {
    const { rig, stop, up } = setup();
    await up();
    rig.send({ type: 'connector.began', run: 'run/j1.5' });
    rig.send({ type: 'roll.call' });
    expect(rig.to('runs').at(-1)).toEqual({ type: 'service.down', service: 'test' });
    await stop.answer();
    expect(rig.context()['runs']).toEqual([]);
  });

  test('a service that does not start is stopped, waits, and starts again', async () => {
    const { rig, clock, start, probe, stop } = setup();
    await start.fail(new Error('port taken'));
    await stop.answer();
    expect(rig.state()).toBe('"backoff"');
    await clock.advanceBy(1_000);
    await start.answer();
    await probe.fail('still loading');
    await stop.fail(new Error('stuck'));
    await clock.advanceBy(2_000);
    expect(start.asked).toHaveLength(3);
    expect(rig.to('supervisor').at(-1)).toMatchObject({ detail: 'still loading' });
  });

  test('restarted too often it is left alone until an operator says otherwise', async () => {
    const { rig, clock, start, stop, up } = setup();
    for (let failure = 0; failure < 4; failure++) {
      await start.fail(new Error('no such file'));
      if (failure % 2 === 0) await stop.answer();
      else await stop.fail(new Error('stuck'));
      await clock.advanceBy(8_000);
    }
    expect(rig.state()).toBe('"quarantined"');
    await clock.advanceBy(3_600_000);
    expect(start.asked).toHaveLength(4);
    rig.send({ type: 'connector.reset' });
    await up();
    expect(rig.to('supervisor').at(-1)).toMatchObject({ type: 'machine.recovered' });
  });

  test('quarantine comes whether or not the stop succeeds', async () => {
    const { rig, clock, start, stop } = setup();
    for (let failure = 0; failure < 4; failure++) {
      await start.fail(new Error('no such file'));
      await stop.answer();
      await clock.advanceBy(8_000);
    }
    expect(rig.state()).toBe('"quarantined"');
  });

  test('a stable time forgets earlier restarts', async () => {
    const { rig, clock, start, stop, up } = setup();
    await start.fail(new Error('once'));
    await stop.answer();
    await clock.advanceBy(1_000);
    await up();
    expect(rig.context()['restarts']).toBe(1);
    await clock.advanceBy(5_000);
    // The probe under way belongs to the stable time, too.
    await clock.advanceBy(295_000);
    expect(rig.context()['restarts']).toBe(0);
  });

  test('a roll call is answered while it is up, and by no other', async () => {
    const { rig, up } = setup();
    rig.send({ type: 'roll.call' });
    rig.send({ type: 'connector.reset' });
    expect(rig.to('runs')).toHaveLength(1);
    await up();
    rig.send({ type: 'roll.call' });
    expect(rig.to('runs')).toHaveLength(3);
  });
});
