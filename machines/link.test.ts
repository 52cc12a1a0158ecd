import { afterAll, describe, expect, test } from 'vitest';
import { fromCallback } from 'xstate';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ChartCoverage, chartRig, question } from './chart-rig.fixture.ts';
import { type HelloResult, linkChart, supersededCloseCode, type Welcome } from './link.ts';

const coverage = new ChartCoverage(linkChart);
const welcome: Welcome = {
  kind: 'welcome',
  incarnation: 7,
  leaseTtlMs: 30_000,
  beatMs: 5_000,
  cordoned: false,
  hubId: 'h',
};
const welcomed: HelloResult = { kind: 'welcome', welcome, sentAtMs: 0, answeredAtMs: 3 };

function setup(seed = 1) {
  const clock = new VirtualClock();
  const hello = question<HelloResult, { deadlineMs: number }>();
  const dials: { url: string; up: boolean }[] = [];
  const chart = linkChart.provide({
    actors: {
      hello: hello.logic,
      connection: fromCallback<{ type: 'none' }, { url: string }>(({ input }) => {
        const dial = { url: input.url, up: true };
        dials.push(dial);
        if (input.url === 'ws://broken') throw new Error('no such host');
        return () => {
          dial.up = false;
        };
      }),
    },
  });
  const start = (hubs = ['ws://a', 'ws://b']) =>
    chartRig({
      chart,
      clock,
      coverage,
      peers: ['lease', 'claimer', 'inbox', 'supervisor'],
      systemId: 'link',
      input: {
        hubs,
        settings: { reconnect: { baseMs: 500, limitMs: 30_000 }, dialMs: 1_000, stableMs: 10_000 },
        rng: seededRng(seed),
        listeners: ['lease', 'claimer'],
      },
    });
  return { clock, hello, dials, start };
}

async function online(options = setup()) {
  const rig = options.start();
  rig.send({ type: 'link.opened' });
  await options.hello.answer(welcomed);
  return { ...options, rig };
}

describe('link', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test('a welcome makes it online and tells every listener', async () => {
    const { rig } = await online();
    expect(rig.state()).toBe('{"linked":"online"}');
    expect(rig.to('lease')).toEqual([{ type: 'link.online', welcome, helloMs: 3 }]);
    expect(rig.to('claimer')).toHaveLength(1);
  });

  test('its end tells every listener, hangs up and dials the next hub', async () => {
    const { rig, clock, dials } = await online();
    rig.send({ type: 'link.closed', code: 1006, reason: 'cut' });
    expect(rig.to('lease').at(-1)).toEqual({ type: 'link.offline' });
    expect(dials[0]?.up).toBe(false);
    await clock.advanceBy(500);
    expect(dials[1]).toEqual({ url: 'ws://b', up: true });
  });

  test('the first reconnect comes within two seconds, whatever chance says', async () => {
    for (let seed = 0; seed < 50; seed++) {
      const options = await online(setup(seed));
      options.rig.send({ type: 'link.closed', code: 1006, reason: 'cut' });
      await options.clock.advanceBy(2_000);
      expect(options.dials.length).toBeGreaterThan(1);
    }
  });

  test('waits grow with failures and stay below thirty seconds', async () => {
    const { clock, dials, start } = setup();
    const rig = start();
    for (let round = 1; round <= 12; round++) {
      rig.send({ type: 'link.closed', code: 1006, reason: 'refused' });
      await clock.advanceBy(30_000 - 1_000 * (dials.length % 2));
      expect(dials.length).toBeGreaterThan(round);
    }
  });

  test('three failures in a row make the machine degraded, a welcome ends that', async () => {
    const { rig, clock, hello } = await online();
    for (let failure = 0; failure < 3; failure++) {
      rig.send({ type: 'link.closed', code: 4401, reason: 'no' });
      while (rig.state() === '"backoff"') await clock.advanceBy(500);
    }
    expect(rig.to('supervisor').at(-1)).toMatchObject({ type: 'machine.degraded', reason: 'link' });
    rig.send({ type: 'link.opened' });
    await hello.answer(welcomed);
    expect(rig.to('supervisor').at(-1)).toMatchObject({ type: 'machine.recovered', reason: 'link' });
  });

  test('a hub that does not answer the dial is given up', async () => {
    const { clock, dials, start } = setup();
    const rig = start();
    await clock.advanceBy(1_000);
    expect(rig.state()).toBe('"backoff"');
    expect(dials[0]?.up).toBe(false);
  });

  test('a hello that fails is tried at the next hub', async () => {
    const { clock, dials, hello, start } = setup();
    const rig = start();
    rig.send({ type: 'link.opened' });
    await hello.fail(new Error('TIMEOUT'));
    await clock.advanceBy(500);
    expect(dials.at(-1)?.url).toBe('ws://b');
    expect(rig.context()['lastProblem']).toContain('TIMEOUT');
  });

  test('a dialler that throws is a failure like any other', async () => {
    const { start } = setup();
    const rig = start(['ws://broken']);
    expect(rig.state()).toBe('"backoff"');
  });

  test('a notice goes to the inbox, also one that overtakes the welcome', async () => {
    const { start } = setup();
    const rig = start();
    rig.send({ type: 'link.opened' });
    rig.send({ type: 'link.notice', notice: { notice: 'wake', body: {} } });
    expect(rig.to('inbox')).toEqual([{ type: 'notice', notice: 'wake', body: {} }]);
  });

  test('a hub that is closing is left for the next one at once', async () => {
    const { rig, clock, dials } = await online();
    rig.send({ type: 'link.renew' });
    await clock.advanceBy(500);
    expect(dials.at(-1)?.url).toBe('ws://b');
  });

  test('after a stable time the next failure waits as short as the first', async () => {
    const { rig, clock, hello } = await online();
    rig.send({ type: 'link.closed', code: 1006, reason: 'cut' });
    await clock.advanceBy(500);
    rig.send({ type: 'link.opened' });
    await hello.answer(welcomed);
    expect(rig.context()['failures']).toBe(1);
    await clock.advanceBy(10_000);
    expect(rig.context()['failures']).toBe(0);
  });

  test('a superseded hello stops it for good and tells the supervisor', async () => {
    const { clock, dials, hello, start } = setup();
    const rig = start();
    rig.send({ type: 'link.opened' });
    await hello.answer({ kind: 'superseded' });
    await clock.advanceBy(3_600_000);
    expect(dials).toHaveLength(1);
    expect(rig.to('supervisor').at(-1)).toEqual({ type: 'machine.superseded' });
  });

  test('a link that the hub closes as superseded is not dialled again', async () => {
    const { rig, clock, dials } = await online();
    rig.send({ type: 'link.closed', code: supersededCloseCode, reason: 'newer' });
    await clock.advanceBy(3_600_000);
    expect(dials).toHaveLength(1);
    expect(rig.state()).toBe('"superseded"');
  });
});
