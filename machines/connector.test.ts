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
    rig.send({ type: 'connector.ended' });
    await up();
    rig.send({ type: 'connector.began' });
    rig.send({ type: 'connector.began' });
    rig.send({ type: 'connector.ended' });
    expect(rig.state()).toContain('busy');
    rig.send({ type: 'connector.ended' });
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

  test('a suspicion is probed at once', async () => {
    const { rig, probe, up } = setup();
    rig.send({ type: 'connector.suspect', detail: 'early' });
    await up();
    rig.send({ type: 'connector.suspect', detail: 'a run did not stop' });
    expect(probe.asked).toHaveLength(2);
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
