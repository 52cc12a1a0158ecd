import { afterAll, describe, expect, test } from 'vitest';
import type { Assignment, ClaimOffer, ClaimResult } from '#protocol/link.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ChartCoverage, chartRig, question } from './chart-rig.fixture.ts';
import { claimerChart } from './claimer.ts';

const coverage = new ChartCoverage(claimerChart);
const assignment = (jobId: string): Assignment => ({
  jobId,
  token: '5',
  run: 1,
  attempts: 0,
  service: 'test',
  payload: {},
  inputs: [],
  models: [],
  expectedMs: 1,
  maxRunMs: 1_000,
  traceparent: '',
});
const leased = (jobId: string, more = false): ClaimResult => ({
  kind: 'leased',
  assignment: assignment(jobId),
  more,
});
const free = (slots: number) => ({ type: 'claim.free', free: [{ service: 'test', slots }] });

function setup(
  input: { highestRequestId?: number; open?: ClaimOffer | null; scanned?: boolean; draining?: boolean } = {},
) {
  const clock = new VirtualClock();
  const claim = question<ClaimResult, { offer: ClaimOffer; deadlineMs: number }>();
  const rig = chartRig({
    chart: claimerChart.provide({ actors: { claim: claim.logic } }),
    clock,
    coverage,
    peers: ['runs', 'lease', 'supervisor', 'run/1'],
    systemId: 'claimer',
    input: {
      settings: { deadlineMs: 10_000, retry: { baseMs: 1_000, limitMs: 15_000 } },
      rng: seededRng(1),
      highestRequestId: input.highestRequestId ?? 0,
      open: input.open ?? null,
      draining: input.draining ?? false,
    },
  });
  const online = (cordoned = false) => rig.send({ type: 'link.online', welcome: { cordoned } });
  if (input.scanned ?? true) rig.send({ type: 'claim.resident', resident: [] });
  const open = (slots = 1) => {
    online();
    rig.send({ type: 'claim.held' });
    rig.send(free(slots));
  };
  return { clock, claim, rig, online, open };
}

describe('claimer', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test('it asks only with a link, a lease and a free slot', () => {
    const { claim, rig, online } = setup();
    rig.send(free(1));
    expect(claim.asked).toHaveLength(0);
    online();
    expect(claim.asked).toHaveLength(0);
    rig.send({ type: 'claim.held' });
    expect(claim.asked).toHaveLength(1);
    expect(claim.asked[0]?.input.offer).toEqual({
      requestId: 1,
      free: [{ service: 'test', slots: 1 }],
      resident: [],
    });
  });

  test('the models on disk travel with the claim', () => {
    const { claim, rig, open } = setup();
    rig.send({ type: 'claim.resident', resident: ['m1'] });
    open();
    expect(claim.asked[0]?.input.offer.resident).toEqual(['m1']);
  });

  test('it does not ask before it knows which models are on disk', () => {
    const { claim, rig, open } = setup({ scanned: false });
    open();
    expect(claim.asked).toHaveLength(0);
    rig.send({ type: 'claim.resident', resident: ['m1'] });
    expect(claim.asked[0]?.input.offer.resident).toEqual(['m1']);
  });

  test('a leased job starts, and with more work and slots the next claim follows', async () => {
    const { claim, rig, open } = setup();
    open(2);
    await claim.answer(leased('j1', true));
    expect(rig.to('runs')).toMatchObject([{ type: 'runs.start', assignment: { jobId: 'j1' } }]);
    expect(claim.asked[1]?.input.offer).toMatchObject({
      requestId: 2,
      free: [{ service: 'test', slots: 1 }],
    });
  });

  test('with a slot left it asks again although nothing more waits: an empty answer makes it known as idle', async () => {
    const { claim, open } = setup();
    open(2);
    await claim.answer(leased('j1', false));
    expect(claim.asked).toHaveLength(2);
    await claim.answer({ kind: 'empty' });
    expect(claim.asked).toHaveLength(2);
  });

  test('a leased slot is not offered again before the desk has spoken', async () => {
    const { claim, open } = setup();
    open(1);
    await claim.answer(leased('j1', true));
    expect(claim.asked).toHaveLength(1);
  });

  test('after an empty answer it rests until it is woken', async () => {
    const { claim, rig, clock, open } = setup();
    open();
    await claim.answer({ kind: 'empty' });
    await clock.advanceBy(3_600_000);
    expect(claim.asked).toHaveLength(1);
    rig.send({ type: 'claim.wanted' });
    expect(claim.asked).toHaveLength(2);
  });

  test('a wake that arrives while a claim is under way is not lost to its empty answer', async () => {
    const { claim, rig, open } = setup();
    open();
    rig.send({ type: 'claim.wanted' });
    await claim.answer({ kind: 'empty' });
    expect(claim.asked).toHaveLength(2);
  });

  test('a freed slot asks again, an unchanged one does not', async () => {
    const { claim, rig, open } = setup();
    open();
    await claim.answer({ kind: 'empty' });
    rig.send(free(1));
    expect(claim.asked).toHaveLength(1);
    rig.send(free(2));
    expect(claim.asked).toHaveLength(2);
  });

  test('R4: there is never more than one open claim', () => {
    const { claim, rig, open } = setup();
    open(4);
    rig.send({ type: 'claim.wanted' });
    rig.send(free(5));
    expect(claim.asked).toHaveLength(1);
  });

  test('an unanswered claim is repeated under its number after a wait', async () => {
    const { claim, clock, open } = setup();
    open();
    await claim.fail(new Error('TIMEOUT'));
    await clock.advanceBy(1_000);
    expect(claim.asked.map((asked) => asked.input.offer.requestId)).toEqual([1, 1]);
  });

  test('an unanswered claim waits for the link and goes out with it at once', async () => {
    const { claim, rig, clock, online, open } = setup();
    open();
    rig.send({ type: 'link.offline' });
    await claim.fail(new Error('LINK_CLOSED'));
    await clock.advanceBy(60_000);
    expect(claim.asked).toHaveLength(1);
    online();
    expect(claim.asked.map((asked) => asked.input.offer.requestId)).toEqual([1, 1]);
  });

  test('a new link ends the wait of an unanswered claim', async () => {
    const { claim, rig, online, open } = setup();
    open();
    rig.send({ type: 'link.offline' });
    await claim.fail(new Error('LINK_CLOSED'));
    online();
    expect(claim.asked).toHaveLength(2);
  });

  test('the answer to a claim counts even for a machine that drains, which claims no more', async () => {
    const { claim, rig, open } = setup();
    open();
    rig.send({ type: 'claim.drain' });
    await claim.answer(leased('j1', true));
    expect(rig.to('runs')).toHaveLength(1);
    expect(claim.asked).toHaveLength(1);
  });

  test('a claim that is open when the drain begins is not repeated', async () => {
    const { claim, rig, clock, open } = setup();
    open();
    rig.send({ type: 'claim.drain' });
    await claim.fail(new Error('TIMEOUT'));
    await clock.advanceBy(60_000);
    expect(claim.asked).toHaveLength(1);
  });

  test('a claimer that is restarted during a drain neither claims nor repeats', async () => {
    const { claim, rig, open } = setup({
      highestRequestId: 41,
      open: { requestId: 41, free: [], resident: [] },
      draining: true,
    });
    open(2);
    rig.send({ type: 'claim.wanted' });
    expect(claim.asked).toHaveLength(0);
  });

  test('a restarted claimer repeats what was open and uses no number twice', async () => {
    const { claim, rig, open } = setup({
      highestRequestId: 41,
      open: { requestId: 41, free: [], resident: [] },
    });
    open(2);
    expect(claim.asked[0]?.input.offer.requestId).toBe(41);
    await claim.answer({ kind: 'empty' });
    rig.send({ type: 'claim.wanted' });
    expect(claim.asked[1]?.input.offer.requestId).toBe(42);
  });

  test.each([
    ['a fenced machine', { type: 'claim.fenced' }, { type: 'claim.held' }],
    [
      'a cordoned machine',
      { type: 'claim.cordon', cordoned: true },
      { type: 'claim.cordon', cordoned: false },
    ],
  ])('%s does not claim until that ends', async (_, stop, go) => {
    const { claim, rig, open } = setup();
    open();
    await claim.answer({ kind: 'empty' });
    rig.send(stop);
    rig.send({ type: 'claim.wanted' });
    expect(claim.asked).toHaveLength(1);
    rig.send(go);
    expect(claim.asked).toHaveLength(2);
  });

  test('a machine that was cordoned before it joined does not claim', () => {
    const { claim, rig, online } = setup();
    online(true);
    rig.send({ type: 'claim.held' });
    rig.send(free(1));
    expect(claim.asked).toHaveLength(0);
  });

  test('cordoned, lapsed and superseded answers stop the claims', async () => {
    for (const kind of ['cordoned', 'lapsed', 'superseded'] as const) {
      const { claim, rig, open } = setup();
      open();
      await claim.answer({ kind });
      rig.send(free(2));
      expect(claim.asked).toHaveLength(1);
      expect(rig.to('lease')).toEqual(kind === 'lapsed' ? [{ type: 'lease.lapsed' }] : []);
      expect(rig.to('supervisor')).toEqual(kind === 'superseded' ? [{ type: 'machine.superseded' }] : []);
    }
  });

  test('a closed Broker is asked again after a wait, not at once', async () => {
    const { claim, clock, open } = setup();
    open();
    await claim.answer({ kind: 'closed' });
    expect(claim.asked).toHaveLength(1);
    await clock.advanceBy(15_000);
    expect(claim.asked).toHaveLength(2);
    expect(claim.asked[1]?.input.offer.requestId).toBe(2);
  });

  describe('a claim that rides on a completion', () => {
    async function riding() {
      const all = setup();
      all.open(0);
      all.rig.send({ type: 'ride.ask', run: 'run/1', service: 'test' });
      return all;
    }

    test('counts the slot of that run as free', async () => {
      const { rig } = await riding();
      expect(rig.to('run/1')).toEqual([
        { type: 'ride.offer', offer: { requestId: 1, free: [{ service: 'test', slots: 1 }], resident: [] } },
      ]);
    });

    test('is the only one, even when the slot comes free meanwhile', async () => {
      const { claim, rig } = await riding();
      rig.send(free(1));
      expect(claim.asked).toHaveLength(0);
      rig.send({ type: 'ride.ask', run: 'run/2', service: 'test' });
      expect(rig.to('run/1')).toHaveLength(1);
    });

    test('its answer counts like any other', async () => {
      const { claim, rig } = await riding();
      rig.send({ type: 'ride.answered', run: 'run/1', result: leased('j2') });
      expect(rig.to('runs')).toMatchObject([{ type: 'runs.start', assignment: { jobId: 'j2' } }]);
      rig.send(free(1));
      expect(claim.asked[0]?.input.offer.requestId).toBe(2);
    });

    test('an empty answer stands when its slot comes free; the next slot that does is news', async () => {
      const { claim, rig } = await riding();
      rig.send({ type: 'ride.answered', run: 'run/1', result: { kind: 'empty' } });
      rig.send(free(1));
      expect(claim.asked).toHaveLength(0);
      rig.send(free(0));
      rig.send(free(1));
      expect(claim.asked).toHaveLength(1);
    });

    test('its slot may come free before the answer; two slots are more than it asked for', async () => {
      for (const [slots, claims] of [
        [1, 0],
        [2, 1],
      ] as const) {
        const { claim, rig } = await riding();
        rig.send(free(slots));
        rig.send({ type: 'ride.answered', run: 'run/1', result: { kind: 'empty' } });
        expect(claim.asked).toHaveLength(claims);
      }
    });

    test('one that is lost is repeated on its own under its number', async () => {
      const { claim, rig } = await riding();
      rig.send({ type: 'ride.lost', run: 'run/1' });
      expect(claim.asked[0]?.input.offer.requestId).toBe(1);
    });

    test('words of another run change nothing', async () => {
      const { claim, rig } = await riding();
      rig.send({ type: 'ride.lost', run: 'run/9' });
      rig.send({ type: 'ride.answered', run: 'run/9', result: leased('j9') });
      expect(claim.asked).toHaveLength(0);
      expect(rig.to('runs')).toEqual([]);
    });

    test('is refused for a service that is shut, though its slot comes free', () => {
      const { rig, online } = setup();
      online();
      rig.send({ type: 'claim.held' });
      rig.send({ ...free(0), shut: ['test'] });
      rig.send({ type: 'ride.ask', run: 'run/1', service: 'test' });
      expect(rig.to('run/1')).toEqual([{ type: 'ride.offer', offer: null }]);
    });

    test('is refused where a job is prepared for the slot already', () => {
      const { rig, online } = setup();
      online();
      rig.send({ type: 'claim.held' });
      rig.send({ ...free(0), staged: ['test'] });
      rig.send({ type: 'ride.ask', run: 'run/1', service: 'test' });
      rig.send({ ...free(0), staged: [] });
      rig.send({ type: 'ride.ask', run: 'run/1', service: 'test' });
      expect(rig.to('run/1')).toMatchObject([
        { type: 'ride.offer', offer: null },
        { type: 'ride.offer', offer: { requestId: 1 } },
      ]);
    });

    test('is refused while another is open, or the machine drains', async () => {
      const { rig, open } = setup();
      open();
      rig.send({ type: 'ride.ask', run: 'run/1', service: 'test' });
      expect(rig.to('run/1')).toEqual([{ type: 'ride.offer', offer: null }]);
    });
  });
});
