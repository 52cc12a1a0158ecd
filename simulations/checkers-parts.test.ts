import { describe, expect, test } from 'vitest';
import { cardsHold } from './check-card.ts';
import { deadClaimNothing } from './check-dead.ts';
import { limitsHold } from './check-limits.ts';
import { modelsStay } from './check-models.ts';
import { slotsHold } from './check-slots.ts';
import { wakesArrive } from './check-wakes.ts';
import type { Checker, Observation } from './observation.ts';

/** The message of the breach that the history ends with; null where there is none. */
function judge(checker: Checker, history: Observation[]): string | null {
  try {
    for (const seen of history) checker.observe?.(seen);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

const service = (
  change: 'began' | 'ended',
  jobId: string,
  rest: { models?: string[]; missing?: string[] } = {},
) =>
  ({
    kind: 'service',
    process: 'm1#1',
    change,
    jobId,
    token: '5',
    slots: 2,
    models: [],
    missing: [],
    ...rest,
  }) satisfies Observation;
const evicted = (modelId: string): Observation => ({ kind: 'evicted', process: 'm1#1', modelId });
const broker = (method: string, args: object, answer: object) =>
  ({ kind: 'broker', process: 'hub-1', method, args: [args], answer }) as unknown as Observation;
const m1 = { machineId: 'm1', incarnation: 1 };
const claimed = (ref: object) =>
  broker('claim', ref, { kind: 'leased', lease: { jobId: 'j1', token: '5' }, wake: null });

describe('a card', () => {
  test('that carries as many runs as it has slots passes, and one more after another has ended', () => {
    expect(
      judge(cardsHold(), [
        service('began', 'a'),
        service('began', 'b'),
        service('ended', 'a'),
        service('began', 'c'),
      ]),
    ).toBeNull();
  });
  test('I6: a run beyond its slots is a breach, and so is one that begins twice', () => {
    expect(
      judge(cardsHold(), [service('began', 'a'), service('began', 'b'), service('began', 'c')]),
    ).toContain('works on 3 runs with 2 slots');
    expect(judge(cardsHold(), [service('began', 'a'), service('began', 'a')])).toContain('began a.5 twice');
  });
});

describe('a model', () => {
  test('that is evicted after its run passes', () => {
    const history = [
      service('began', 'a', { models: ['x'] }),
      evicted('y'),
      service('ended', 'a'),
      evicted('x'),
    ];
    expect(judge(modelsStay(), history)).toBeNull();
  });
  test('evicted under a run, or gone before it began, is a breach', () => {
    expect(judge(modelsStay(), [service('began', 'a', { models: ['x'] }), evicted('x')])).toContain(
      'evicted x, with which a.5 is at work',
    );
    expect(judge(modelsStay(), [service('began', 'a', { models: ['x'], missing: ['x'] })])).toContain(
      'without x',
    );
  });
});

describe('a dead incarnation', () => {
  const enrolled = (incarnation: number) => broker('enrol', { ...m1, incarnation }, { kind: 'ok' });
  test('claims of the newest one pass, and of an older one after a loss of the Broker', () => {
    expect(
      judge(deadClaimNothing(), [enrolled(1), claimed(m1), enrolled(2), claimed({ ...m1, incarnation: 2 })]),
    ).toBeNull();
    expect(judge(deadClaimNothing(), [enrolled(2), { kind: 'brokerLost' }, claimed(m1)])).toBeNull();
  });
  test('a claim of an older one, or of one that has left, is a breach', () => {
    expect(judge(deadClaimNothing(), [enrolled(2), claimed(m1)])).toContain(
      'after incarnation 2 had enrolled',
    );
    const left = broker('leave', m1, { leases: [] });
    expect(judge(deadClaimNothing(), [enrolled(1), left, claimed(m1)])).toContain('after it had left');
    expect(judge(deadClaimNothing(), [enrolled(1), left, enrolled(1), claimed(m1)])).toBeNull();
  });
});

describe('a wake', () => {
  function setup() {
    const clock = { nowMs: 0 };
    const checker = wakesArrive({ nowMs: () => clock.nowMs, limitMs: 5_000, calmAfterMs: 1_000 });
    const at = (nowMs: number, seen: Observation) => {
      clock.nowMs = nowMs;
      return judge(checker, [seen]);
    };
    return at;
  }
  const submit = broker('submit', {}, { kind: 'ok', answers: [{ kind: 'added', wake: m1 }] });
  const anything = broker('stats', {}, {});
  test('that is followed by a claim, or passed on, passes', () => {
    const at = setup();
    at(0, { kind: 'healed' });
    at(2_000, submit);
    at(3_000, broker('claim', m1, { kind: 'empty' }));
    at(4_000, submit);
    at(5_000, broker('passWake', m1, { wake: null }));
    expect(at(60_000, anything)).toBeNull();
  });
  test('I8: that nobody heard of is a breach after the heal, and only then', () => {
    const early = setup();
    early(0, submit);
    expect(early(60_000, anything)).toBeNull();
    const at = setup();
    at(0, { kind: 'healed' });
    at(2_000, submit);
    expect(at(7_000, anything)).toBeNull();
    expect(at(7_001, anything)).toContain('m1/1 was to be woken 5001 ms ago');
  });
});

describe('a request that arrives twice', () => {
  const up = (twice: boolean): Observation => ({
    kind: 'frame',
    machine: 'm1',
    direction: 'up',
    twice,
    text: JSON.stringify({ v: 1, id: 7, type: 'claim', body: { free: [{ service: 's', slots: 1 }] } }),
  });
  const down = (jobId: string): Observation => ({
    kind: 'frame',
    machine: 'm1',
    direction: 'down',
    text: JSON.stringify({
      v: 1,
      re: 7,
      body: { kind: 'leased', assignment: { jobId, token: '1', service: 's' } },
    }),
  });
  test('I6: may be granted twice, one that arrives once may not', () => {
    expect(judge(slotsHold(), [up(true), down('a'), down('b')])).toBeNull();
    expect(judge(slotsHold(), [up(false), down('a'), down('a')])).toContain(
      'had offered no slot in that request',
    );
    expect(judge(slotsHold(), [up(true), down('a'), down('b'), down('c')])).toContain('had offered no slot');
  });
});

describe('limits', () => {
  const one = { customer: 'acme', pool: 'standard', model: '-' };
  const limit = (concurrent: number, more: object = { customer: 'acme' }): Observation =>
    ({
      kind: 'records',
      process: 'hub-1',
      method: 'putLimit',
      args: [{}],
      answer: { name: 'l', reason: '', concurrent, ...more },
    }) as unknown as Observation;
  const admitted = (id: string, limited = true, work = one): Observation =>
    ({
      kind: 'records',
      process: 'hub-1',
      method: 'admitJobs',
      args: [{ ...work, limit: 1 }],
      answer: { jobs: [{ id, limited }], nextAtMs: null },
    }) as unknown as Observation;
  const exited = (jobId: string, state: string): Observation =>
    ({
      kind: 'records',
      process: 'hub-1',
      method: 'exitJob',
      args: [{ jobId }],
      answer: { kind: 'ok', applied: true, state },
    }) as unknown as Observation;
  const paused = (method: 'putPause' | 'endPause'): Observation =>
    ({
      kind: 'records',
      process: 'hub-1',
      method,
      args: [{ kind: 'customer', name: 'acme' }],
      answer: method === 'putPause' ? { kind: 'customer', name: 'acme' } : true,
    }) as unknown as Observation;

  test('one more than may be under way is found, whatever let the others in', () => {
    expect(judge(limitsHold(), [limit(2), admitted('a'), admitted('b')])).toBeNull();
    expect(judge(limitsHold(), [limit(2), admitted('a'), admitted('b'), admitted('c')])).toContain(
      'c was let in as number 3 under the limit l of 2',
    );
    const other = admitted('c', true, { ...one, customer: 'birch' });
    expect(judge(limitsHold(), [limit(1), admitted('a'), other])).toBeNull();
    expect(judge(limitsHold(), [limit(1, { pool: 'standard' }), admitted('a'), other])).toContain('number 2');
    expect(judge(limitsHold(), [limit(1, { customer: '*' }), admitted('a'), other])).toBeNull();
  });

  test('what has left makes room, and what only failed once and waits again does not', () => {
    const first = [limit(1), admitted('a')];
    for (const state of ['held', 'dead', 'cancelled'])
      expect(judge(limitsHold(), [...first, exited('a', state), admitted('b')])).toBeNull();
    expect(judge(limitsHold(), [...first, exited('a', 'waiting'), admitted('b')])).toContain('number 2');
  });

  test('nobody of a paused customer may be let in', () => {
    expect(judge(limitsHold(), [paused('putPause'), admitted('a', false)])).toContain('who is paused');
    expect(judge(limitsHold(), [paused('putPause'), paused('endPause'), admitted('a', false)])).toBeNull();
  });
});
