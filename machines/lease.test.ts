import { afterAll, describe, expect, test } from 'vitest';
import { EmpError } from '#protocol/errors.ts';
import type { LinkAnswer } from '#protocol/link.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ChartCoverage, chartRig, question } from './chart-rig.fixture.ts';
import { type BeatResult, fenceInMs, fenceMarginMs, type Holdings, leaseChart } from './lease.ts';

const coverage = new ChartCoverage(leaseChart);
const ok = (rest: Partial<Extract<LinkAnswer<'beat'>, { kind: 'ok' }>> = {}): LinkAnswer<'beat'> => ({
  kind: 'ok',
  drop: [],
  cancel: [],
  work: false,
  ...rest,
});

function setup() {
  const clock = new VirtualClock();
  const beat = question<BeatResult, Holdings & { deadlineMs: number }>();
  const rig = chartRig({
    chart: leaseChart.provide({ actors: { beat: beat.logic } }),
    clock,
    coverage,
    peers: ['runs', 'claimer', 'supervisor', 'link'],
    systemId: 'lease',
    input: { settings: { fenceMarginMs: 5_000 } },
  });
  const sentAt: number[] = [];
  return {
    clock,
    beat,
    rig,
    online: () =>
      rig.send({ type: 'link.online', welcome: { leaseTtlMs: 30_000, beatMs: 5_000, cordoned: false } }),
    /** Answers the beat that was sent `delayMs` ago. */
    answer: (answer: LinkAnswer<'beat'>, delayMs = 0) =>
      beat.answer({ answer, sentAtMs: clock.monotonic() - delayMs, answeredAtMs: clock.monotonic() }),
    sentAt,
  };
}

describe('lease', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test('nothing is sent without a link, and a beat at once with it', () => {
    const { beat, online } = setup();
    expect(beat.asked).toHaveLength(0);
    online();
    expect(beat.asked).toHaveLength(1);
  });

  test('a beat carries what is held and free at that moment', () => {
    const { beat, rig, online } = setup();
    rig.send({
      type: 'lease.holdings',
      running: [{ jobId: 'j1', token: '5' }],
      free: [{ service: 'test', slots: 2 }],
    });
    online();
    expect(beat.asked[0]?.input).toMatchObject({
      running: [{ jobId: 'j1', token: '5' }],
      free: [{ service: 'test', slots: 2 }],
    });
  });

  test('claims may begin with the first acknowledged beat, and beats follow at their interval', async () => {
    const { beat, rig, clock, online, answer } = setup();
    online();
    expect(rig.to('claimer')).toEqual([]);
    await answer(ok());
    expect(rig.to('claimer')).toEqual([{ type: 'claim.held' }]);
    await clock.advanceBy(4_999);
    expect(beat.asked).toHaveLength(1);
    await clock.advanceBy(1);
    expect(beat.asked).toHaveLength(2);
  });

  test('drops, cancels and work of an answer reach those whom they concern', async () => {
    const { rig, online, answer } = setup();
    online();
    await answer(ok({ drop: ['j1'], cancel: ['j2'], work: true }));
    expect(rig.to('runs')).toMatchObject([
      { type: 'runs.drop', jobIds: ['j1'] },
      { type: 'runs.end', jobId: 'j2' },
    ]);
    expect(rig.to('claimer')).toContainEqual({ type: 'claim.wanted' });
  });

  test('an answer with nothing in it disturbs nobody', async () => {
    const { rig, online, answer } = setup();
    online();
    await answer(ok());
    expect(rig.to('runs')).toEqual([]);
  });

  test('a machine whose beats are not answered fences itself at send time + TTL - margin', async () => {
    const { beat, rig, clock, online, answer } = setup();
    online();
    await clock.advanceBy(2_000);
    await answer(ok(), 2_000);
    // The beat left at 0: the fence stands at 25 000, however late the answer came.
    rig.send({ type: 'link.offline' });
    await clock.advanceTo(24_999);
    expect(rig.to('runs')).toEqual([]);
    await clock.advanceTo(25_000);
    expect(rig.to('runs')).toMatchObject([{ type: 'runs.dropAll' }]);
    expect(rig.to('claimer').at(-1)).toEqual({ type: 'claim.fenced' });
    expect(beat.asked).toHaveLength(1);
  });

  test('where the broker heard of it some time before, the fence stands that much earlier', async () => {
    const { rig, clock, online, answer } = setup();
    online();
    await answer(ok({ ageMs: 8_000 }));
    rig.send({ type: 'link.offline' });
    await clock.advanceTo(16_999);
    expect(rig.to('runs')).toEqual([]);
    await clock.advanceTo(17_000);
    expect(rig.to('runs')).toMatchObject([{ type: 'runs.dropAll' }]);
  });

  test('each acknowledged beat moves the fence', async () => {
    const { rig, clock, online, answer } = setup();
    online();
    for (let beats = 0; beats < 10; beats++) {
      await answer(ok());
      await clock.advanceBy(5_000);
    }
    expect(rig.to('runs')).toEqual([]);
  });

  test('a fenced machine goes on after its next acknowledged beat', async () => {
    const { rig, clock, online, answer } = setup();
    online();
    await answer(ok());
    rig.send({ type: 'link.offline' });
    await clock.advanceBy(25_000);
    online();
    await answer(ok());
    expect(rig.to('claimer').map((event) => event.type)).toEqual([
      'claim.held',
      'claim.fenced',
      'claim.held',
    ]);
  });

  test('a beat without an answer is repeated well before the fence', async () => {
    const { beat, clock, online, answer } = setup();
    online();
    await answer(ok());
    await clock.advanceBy(5_000);
    await beat.fail(new Error('TIMEOUT'));
    await clock.advanceBy(1_000);
    expect(beat.asked).toHaveLength(3);
    expect(beat.asked[0]?.input.deadlineMs).toBeLessThanOrEqual(25_000 / 3);
  });

  test('two beats in a row without a word ask for a new link, one does not', async () => {
    const { beat, rig, clock, online, answer } = setup();
    online();
    await beat.fail(new EmpError('TIMEOUT'));
    await clock.advanceBy(1_000);
    await answer(ok());
    await clock.advanceBy(5_000);
    await beat.fail(new EmpError('TIMEOUT'));
    await clock.advanceBy(1_000);
    expect(rig.to('link')).toEqual([]);
    await beat.fail(new EmpError('TIMEOUT'));
    expect(rig.to('link')).toEqual([{ type: 'link.renew' }]);
  });

  test('a hub that answers with errors is linked: its link is kept', async () => {
    const { beat, rig, clock, online } = setup();
    online();
    for (let beats = 0; beats < 4; beats++) {
      await beat.fail(new EmpError('RECORDS_UNAVAILABLE'));
      await clock.advanceBy(1_000);
    }
    expect(rig.to('link')).toEqual([]);
  });

  test('a machine that fences itself on an open link asks for a new one', async () => {
    const { rig, clock, online, answer } = setup();
    online();
    await answer(ok());
    await clock.advanceTo(25_000);
    expect(rig.to('runs')).toMatchObject([{ type: 'runs.dropAll' }]);
    expect(rig.to('link')).toEqual([{ type: 'link.renew' }]);
  });

  test('one that fences itself without a link leaves the dial alone', async () => {
    const { rig, clock, online, answer } = setup();
    online();
    await answer(ok());
    rig.send({ type: 'link.offline' });
    await clock.advanceTo(25_000);
    expect(rig.to('claimer').at(-1)).toEqual({ type: 'claim.fenced' });
    expect(rig.to('link')).toEqual([]);
  });

  test('lapsed drops everything, pauses claims and asks again soon', async () => {
    const { beat, rig, clock, online, answer } = setup();
    online();
    await answer(ok());
    await clock.advanceBy(5_000);
    await answer({ kind: 'lapsed' });
    expect(rig.to('runs')).toMatchObject([{ type: 'runs.dropAll' }]);
    expect(rig.to('claimer').at(-1)).toEqual({ type: 'claim.fenced' });
    await clock.advanceBy(1_000);
    expect(beat.asked).toHaveLength(3);
    await answer(ok());
    expect(rig.to('claimer').at(-1)).toEqual({ type: 'claim.held' });
  });

  test('a claim that was answered lapsed brings a beat at once', async () => {
    const { beat, rig, online, answer } = setup();
    online();
    await answer(ok());
    rig.send({ type: 'lease.lapsed' });
    expect(rig.to('runs')).toMatchObject([{ type: 'runs.dropAll' }]);
    expect(beat.asked).toHaveLength(2);
  });

  test('superseded ends the machine and no further beat is sent', async () => {
    const { beat, rig, clock, online, answer } = setup();
    online();
    await answer({ kind: 'superseded' });
    expect(rig.to('supervisor')).toEqual([{ type: 'machine.superseded' }]);
    await clock.advanceBy(600_000);
    expect(beat.asked).toHaveLength(1);
  });

  test('a lost link aborts the beat under way', () => {
    const { beat, rig, online } = setup();
    online();
    rig.send({ type: 'link.offline' });
    expect(beat.asked[0]?.signal.aborted).toBe(true);
  });

  test('an answer that took longer than the lease leaves no time at all', () => {
    const late = { ttlMs: 30_000, marginMs: 5_000, ageMs: 0, sentAtMs: 0, answeredAtMs: 26_000 };
    expect(fenceInMs(late)).toBe(0);
  });

  test('the margin never takes more than a sixth of a short lease', () => {
    expect(fenceMarginMs(1_000, { fenceMarginMs: 5_000 })).toBe(166);
    expect(fenceMarginMs(30_000, { fenceMarginMs: 5_000 })).toBe(5_000);
  });
});
