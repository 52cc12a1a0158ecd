import { afterAll, describe, expect, test } from 'vitest';
import { type AnyEventObject, fromCallback } from 'xstate';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ChartCoverage, chartRig, question } from './chart-rig.fixture.ts';
import { type BootResult, supervisorChart } from './supervisor.ts';

const coverage = new ChartCoverage(supervisorChart);

function setup(options: { lettersThrow?: boolean; planThrows?: boolean } = {}) {
  const clock = new VirtualClock();
  const boot = question<BootResult, undefined>();
  const leave = question<void, { reason: string; deadlineMs: number }>();
  const shutDown = question<void, undefined>();
  const told: string[] = [];
  const child = (id: string) =>
    fromCallback<AnyEventObject>(({ receive }) => receive((event) => told.push(`${id} ${event.type}`)));
  const deadLetters = fromCallback<AnyEventObject, undefined>(() => {
    if (options.lettersThrow) throw new Error('no box');
  });
  const rig = chartRig({
    chart: supervisorChart.provide({
      actors: {
        boot: boot.logic,
        leave: leave.logic,
        shutDown: shutDown.logic,
        deadLetters: deadLetters as never,
      },
    }),
    clock,
    coverage,
    peers: ['reporter'],
    systemId: 'supervisor',
    input: {
      settings: { releaseMs: 10_000, leaveMs: 3_000 },
      plan: () => {
        if (options.planThrows) throw new Error('no plan');
        const children = ['claimer', 'runs'].map((id) => ({
          id,
          logic: child(id),
          restart: 'permanent' as const,
        }));
        return {
          strategy: 'one-for-one' as const,
          intensity: 0,
          periodMs: 60_000,
          backoff: { baseMs: 1, limitMs: 1 },
          rng: seededRng(1),
          children,
        };
      },
    },
  });
  const booted = () => boot.answer({ devices: [{ uuid: 'cpu-0', kind: 'cpu', name: 'cpu', memoryMb: 1 }] });
  return {
    clock,
    rig,
    boot,
    leave,
    shutDown,
    told,
    booted,
    async ready() {
      await booted();
      rig.send({ type: 'link.online' });
    },
    drain: (deadlineMs: number) => rig.send({ type: 'machine.drain', deadlineMs, reason: 'SIGTERM' }),
    end: () => rig.subject.getSnapshot().output,
  };
}

describe('supervisor', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test('it boots, enrols with the link, and is ready', async () => {
    const { rig, booted } = setup();
    expect(rig.state()).toBe('"booting"');
    await booted();
    expect(rig.state()).toBe('{"working":"enrolling"}');
    rig.send({ type: 'link.online' });
    expect(rig.state()).toBe('{"working":"ready"}');
    expect(rig.context()).toMatchObject({ linked: true });
  });

  test('a link that comes and goes leaves it ready, and known as unlinked', async () => {
    const { rig, ready } = setup();
    await ready();
    rig.send({ type: 'link.offline' });
    expect(rig.context()).toMatchObject({ linked: false });
    rig.send({ type: 'link.online' });
    expect(rig.state()).toBe('{"working":"ready"}');
  });

  test('problems degrade it until the last one is over, and each is reported once', async () => {
    const { rig, ready } = setup();
    await ready();
    rig.send({ type: 'machine.degraded', reason: 'disk', detail: 'full' });
    rig.send({ type: 'machine.degraded', reason: 'gpu/1', detail: 'lost' });
    rig.send({ type: 'machine.recovered', reason: 'disk', detail: '' });
    expect(rig.state()).toBe('{"working":"degraded"}');
    rig.send({ type: 'machine.recovered', reason: 'gpu/1', detail: '' });
    expect(rig.state()).toBe('{"working":"ready"}');
    expect(rig.to('reporter')).toMatchObject([
      { type: 'incident', kind: 'machine.degraded', path: 'disk', detail: 'full' },
      { type: 'incident', kind: 'machine.degraded', path: 'gpu/1' },
    ]);
  });

  test('a problem that is there before the link degrades it as soon as it has one', async () => {
    const { rig, booted } = setup();
    await booted();
    rig.send({ type: 'machine.degraded', reason: 'connector/x', detail: 'down' });
    rig.send({ type: 'link.online' });
    expect(rig.state()).toBe('{"working":"degraded"}');
  });

  test('ended actors are counted as restarts where they run again', async () => {
    const { rig, ready } = setup();
    await ready();
    rig.send({ type: 'child.ended', child: 'gpu/1', detail: 'bug', failed: true, again: true });
    rig.send({ type: 'child.ended', child: 'run/1', detail: 'bug', failed: true, again: false });
    expect(rig.context()).toMatchObject({ restarts: 1 });
    expect(rig.to('reporter')).toHaveLength(2);
  });

  test('a drain stops claims, waits for the runs, says goodbye, stops the services', async () => {
    const { rig, ready, drain, leave, shutDown, told, end } = setup();
    await ready();
    rig.send({ type: 'runs.count', count: 1 });
    drain(60_000);
    expect(told).toEqual(['claimer claim.drain', 'runs runs.drain']);
    expect(leave.asked).toHaveLength(0);
    rig.send({ type: 'runs.count', count: 0 });
    expect(leave.asked[0]?.input).toEqual({ reason: 'SIGTERM', deadlineMs: 3_000 });
    await leave.answer();
    await shutDown.answer();
    expect(end()).toEqual({ code: 0, reason: 'SIGTERM' });
  });

  test('runs that would not end are released at the deadline, and left to the hub after that', async () => {
    const { rig, clock, ready, drain, leave, told } = setup();
    await ready();
    rig.send({ type: 'runs.count', count: 1 });
    drain(60_000);
    await clock.advanceBy(60_000);
    expect(told.at(-1)).toBe('runs runs.releaseAll');
    await clock.advanceBy(10_000);
    expect(leave.asked).toHaveLength(1);
  });

  test('released runs end the drain at once', async () => {
    const { rig, clock, ready, drain, leave } = setup();
    await ready();
    rig.send({ type: 'runs.count', count: 1 });
    drain(1_000);
    await clock.advanceBy(1_000);
    rig.send({ type: 'runs.count', count: 0 });
    expect(leave.asked).toHaveLength(1);
  });

  test('a second drain may only shorten the first', async () => {
    const { rig, clock, ready, drain, told } = setup();
    await ready();
    rig.send({ type: 'runs.count', count: 1 });
    drain(60_000);
    drain(600_000);
    drain(5_000);
    await clock.advanceBy(5_000);
    expect(told.at(-1)).toBe('runs runs.releaseAll');
  });

  test('a hub that does not take the goodbye does not keep it', async () => {
    const { ready, drain, leave, shutDown, end } = setup();
    await ready();
    drain(0);
    await leave.fail(new Error('LINK_CLOSED'));
    await shutDown.fail(new Error('stuck'));
    expect(end()).toMatchObject({ code: 0 });
  });

  test('a drain before it has booted ends it', async () => {
    const { drain, shutDown, end } = setup();
    drain(60_000);
    await shutDown.answer();
    expect(end()).toEqual({ code: 0, reason: 'SIGTERM' });
  });

  test('a stop ends it from anywhere without a goodbye', async () => {
    const { rig, ready, leave, shutDown, end } = setup();
    await ready();
    rig.send({ type: 'machine.stop', reason: 'twice' });
    for (const type of ['machine.drain', 'machine.stop', 'machine.superseded']) rig.send({ type });
    await shutDown.answer();
    expect(leave.asked).toHaveLength(0);
    expect(end()).toEqual({ code: 0, reason: 'twice' });
  });

  test('superseded ends it with its own code', async () => {
    const { rig, ready, shutDown, end } = setup();
    await ready();
    rig.send({ type: 'machine.superseded' });
    await shutDown.answer();
    expect(end()).toMatchObject({ code: 3 });
  });

  test('a boot that fails ends it with the reason', async () => {
    const { boot, shutDown, end } = setup();
    await boot.fail(new Error('no driver'));
    await shutDown.answer();
    expect(end()).toEqual({ code: 1, reason: 'no driver' });
  });

  test('a tree that gives up ends it', async () => {
    const { rig, ready, shutDown, end } = setup();
    await ready();
    const tree = rig.subject.system.get('tree') as { send(event: AnyEventObject): void };
    tree.send({ type: 'xstate.error.actor.runs', actorId: 'runs', error: new Error('bug') });
    await shutDown.answer();
    expect(end()).toEqual({ code: 1, reason: 'runs failed too often: bug' });
  });

  test('a tree that dies of a bug ends it, too', async () => {
    const { rig, ready, shutDown, end } = setup();
    await ready();
    rig.send({ type: 'xstate.error.actor.tree', actorId: 'tree', error: 'bug' });
    await shutDown.answer();
    expect(end()).toEqual({ code: 1, reason: 'bug' });
  });

  test('a dead letter box that fails costs its letters, not the machine', async () => {
    const { rig, ready } = setup({ lettersThrow: true });
    await ready();
    expect(rig.state()).toBe('{"working":"ready"}');
  });
});
