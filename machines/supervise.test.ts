import { afterAll, describe, expect, test } from 'vitest';
import { type AnyEventObject, fromCallback, fromPromise } from 'xstate';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ChartCoverage, chartRig } from './chart-rig.fixture.ts';
import { type ChildSpec, type SuperviseInput, superviseChart } from './supervise.ts';

const coverage = new ChartCoverage(superviseChart);

/** Children that fail or finish when told to; `log` says who started and stopped, in order. */
function setup(options: Partial<SuperviseInput> & { specs?: (Partial<ChildSpec> & { id: string })[] } = {}) {
  const clock = new VirtualClock();
  const log: string[] = [];
  const child = (id: string) =>
    fromCallback<AnyEventObject>(({ receive }) => {
      log.push(`+${id}`);
      receive((event) => {
        if (event.type === 'fail') throw new Error(`${id} failed`);
      });
      return () => log.push(`-${id}`);
    });
  const specs = options.specs ?? [{ id: 'a' }, { id: 'b' }, { id: 'c' }];
  const children = specs.map((spec): ChildSpec => ({ logic: child(spec.id), restart: 'permanent', ...spec }));
  const { specs: _, ...rest } = options;
  const input: SuperviseInput = {
    children,
    strategy: 'one-for-one',
    intensity: 3,
    periodMs: 60_000,
    backoff: { baseMs: 1_000, limitMs: 8_000 },
    rng: seededRng(1),
    ...rest,
  };
  const rig = chartRig({
    chart: superviseChart,
    clock,
    coverage,
    peers: ['supervisor'],
    systemId: 'tree',
    input,
  });
  const ref = (id: string) => rig.subject.system.get(id) as { send(event: AnyEventObject): void } | undefined;
  // A child reports its failure as XState does: callbacks swallow what their receivers throw.
  const fail = (id: string) =>
    rig.send({ type: `xstate.error.actor.${id}`, actorId: id, error: new Error(`${id} failed`) });
  const finish = (id: string, output?: unknown) =>
    rig.send({ type: `xstate.done.actor.${id}`, actorId: id, output });
  return {
    clock,
    rig,
    log,
    ref,
    fail,
    finish,
    output: () => rig.subject.getSnapshot().output,
    status: () => rig.subject.getSnapshot().status,
  };
}

describe('supervise', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test('children start in order and stop in reverse', () => {
    const { rig, log } = setup();
    expect(log).toEqual(['+a', '+b', '+c']);
    rig.send({ type: 'supervise.stop' });
    expect(log.slice(3)).toEqual(['-c', '-b', '-a']);
    expect(rig.subject.getSnapshot().output).toEqual({ kind: 'stopped' });
  });

  test.each([
    ['one-for-one', ['-b', '+b']],
    ['rest-for-one', ['-c', '-b', '+b', '+c']],
    ['all-for-one', ['-c', '-b', '-a', '+a', '+b', '+c']],
  ] as const)('%s restarts those who go with the failed one', async (strategy, order) => {
    const { clock, log, fail } = setup({ strategy });
    fail('b');
    await clock.advanceBy(1_000);
    expect(log.slice(3)).toEqual(order);
  });

  test('a child restarts under its name, and its sender finds it there', async () => {
    const { clock, ref, fail } = setup();
    const before = ref('b');
    fail('b');
    expect(ref('b')).toBeUndefined();
    await clock.advanceBy(1_000);
    expect(ref('b')).toBeDefined();
    expect(ref('b')).not.toBe(before);
  });

  test('waits between restarts grow with failures in a row and are forgotten after a stable period', async () => {
    const { clock, rig, fail } = setup({ intensity: 100 });
    for (let failure = 0; failure < 3; failure++) {
      fail('a');
      await clock.advanceBy(8_000);
    }
    expect(rig.context()['tries']).toMatchObject({ a: 3 });
    await clock.advanceBy(60_000);
    expect(rig.context()['tries']).toMatchObject({ a: 0 });
  });

  test('waits are drawn from the run’s own chance: equal seeds wait equally', async () => {
    const waits = await Promise.all(
      [7, 7, 8].map(async (seed) => {
        const { clock, log, fail } = setup({
          rng: seededRng(seed),
          backoff: { baseMs: 100_000, limitMs: 100_000 },
        });
        fail('a');
        while (!log.includes('+a', 3)) await clock.advanceTo(clock.nextMs ?? 0);
        return clock.monotonic();
      }),
    );
    expect(waits[0]).toBe(waits[1]);
    expect(waits[0]).not.toBe(waits[2]);
  });

  test('more failures than the intensity in one period: it gives up and stops everyone', async () => {
    const { clock, log, fail, output } = setup({ intensity: 2 });
    for (let failure = 0; failure < 3; failure++) {
      await clock.advanceBy(8_000);
      fail('a');
    }
    expect(output()).toEqual({ kind: 'escalated', child: 'a', detail: 'a failed' });
    expect(log.slice(-3)).toEqual(['-c', '-b', '-a']);
  });

  test('the same number of failures spread over periods is borne', async () => {
    const { clock, fail, status } = setup({ intensity: 2 });
    for (let failure = 0; failure < 6; failure++) {
      await clock.advanceBy(30_001);
      fail('a');
    }
    expect(status()).toBe('active');
  });

  test('a child that fails before it is initialised counts double', async () => {
    const { clock, fail, output } = setup({ intensity: 3, specs: [{ id: 'a', initMs: 5_000 }] });
    fail('a');
    await clock.advanceBy(1_000);
    fail('a');
    expect(output()).toMatchObject({ kind: 'escalated' });
    const later = setup({ intensity: 3, specs: [{ id: 'a', initMs: 5_000 }] });
    for (let failure = 0; failure < 3; failure++) {
      await later.clock.advanceBy(8_000);
      later.fail('a');
    }
    expect(later.status()).toBe('active');
  });

  test('a child that throws as it starts is a failure of initialisation', async () => {
    let starts = 0;
    const logic = fromCallback(() => {
      starts++;
      throw new Error('no library');
    });
    const { clock, output } = setup({ intensity: 3, specs: [{ id: 'a', logic }] });
    await clock.advanceBy(60_000);
    expect(starts).toBe(2);
    expect(output()).toEqual({ kind: 'escalated', child: 'a', detail: 'no library' });
  });

  test('transient children run again after a failure alone, temporary ones never, permanent ones always', async () => {
    const { clock, log, finish } = setup({
      intensity: 10,
      specs: [{ id: 'p' }, { id: 't', restart: 'transient' }, { id: 'x', restart: 'temporary' }],
    });
    for (const id of ['p', 't', 'x']) finish(id);
    await clock.advanceBy(8_000);
    expect(log.filter((entry) => entry.startsWith('+'))).toEqual(['+p', '+t', '+x', '+p']);
    const failing = setup({
      intensity: 10,
      specs: [
        { id: 't', restart: 'transient' },
        { id: 'x', restart: 'temporary' },
      ],
    });
    failing.fail('t');
    failing.fail('x');
    await failing.clock.advanceBy(8_000);
    expect(failing.log.filter((entry) => entry.startsWith('+'))).toEqual(['+t', '+x', '+t']);
  });

  test('a temporary child never escalates, however often such fail', () => {
    const { fail, status } = setup({ intensity: 0, specs: [{ id: 'x', restart: 'temporary' }] });
    fail('x');
    expect(status()).toBe('active');
  });

  test.each(['failed', 'finished'] as const)(
    'the end of a significant child that %s ends its supervisor',
    (how) => {
      const { fail, finish, output } = setup({
        specs: [{ id: 'gpu', restart: 'temporary', significant: true }, { id: 'b' }],
      });
      if (how === 'failed') fail('gpu');
      else finish('gpu');
      expect(output()).toEqual({ kind: 'significantEnded', child: 'gpu' });
    },
  );

  test('a supervisor below that gives up is a failed child here', async () => {
    const { clock, finish, log, output } = setup({ intensity: 3 });
    for (let failure = 0; failure < 4; failure++) {
      await clock.advanceBy(10_000);
      finish('b', { kind: 'escalated', child: 'b1', detail: 'gone' });
    }
    expect(log.filter((entry) => entry === '+b')).toHaveLength(4);
    expect(output()).toEqual({ kind: 'escalated', child: 'b', detail: 'b1: gone' });
  });

  test('the end of an actor that is none of its children is not its business', () => {
    const { rig, log } = setup();
    rig.send({ type: 'xstate.done.actor.stranger', actorId: 'stranger', output: undefined });
    expect(log).toEqual(['+a', '+b', '+c']);
  });

  test('each end is told, with its reason', () => {
    const { rig, fail } = setup();
    fail('b');
    expect(rig.to('supervisor')).toEqual([
      { type: 'child.ended', child: 'b', detail: 'b failed', failed: true, again: true },
    ]);
  });

  test('input that is a function is asked at each start', async () => {
    const inputs: unknown[] = [];
    let number = 0;
    const logic = fromCallback<AnyEventObject, unknown>(({ input }) => void inputs.push(input));
    const { clock, fail } = setup({ specs: [{ id: 'a', logic, input: () => ++number }] });
    fail('a');
    await clock.advanceBy(1_000);
    expect(inputs).toEqual([1, 2]);
  });

  test('children that end leave no entry behind', async () => {
    const logic = fromPromise(async () => undefined);
    const { rig, clock } = setup({ specs: [{ id: 'once', logic, restart: 'temporary' }] });
    await clock.settle();
    expect(Object.keys(rig.subject.getSnapshot().children)).toEqual([]);
  });

  test('more than 99 siblings are refused', () => {
    const { rig } = setup({ specs: Array.from({ length: 100 }, (_, index) => ({ id: `c${index}` })) });
    expect(rig.subject.getSnapshot()).toMatchObject({
      status: 'error',
      error: expect.objectContaining({ message: expect.stringContaining('at most 99') }),
    });
  });
});
