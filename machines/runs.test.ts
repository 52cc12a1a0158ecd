import { afterAll, describe, expect, test } from 'vitest';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { runName } from './runs.ts';
import { coverage, runsRig } from './runs-rig.fixture.ts';

const setup = (options?: Parameters<typeof runsRig>[1]) => runsRig(new VirtualClock(), options);

const slots = (count: number) => [{ service: 'test', slots: count }];

describe('runs', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test('slots are free once their service and their card are up, and not before', () => {
    const { rig, free } = setup({ slots: 2, up: false });
    rig.send({ type: 'service.up', service: 'test' });
    expect(free()).toEqual(slots(0));
    rig.send({ type: 'device.usable', device: 'cpu-0', usable: true });
    expect(free()).toEqual(slots(2));
    rig.send({ type: 'device.usable', device: 'cpu-0', usable: false });
    expect(free()).toEqual(slots(0));
    rig.send({ type: 'service.down', service: 'test' });
    expect(free()).toEqual([]);
  });

  test('a new desk asks everyone whether they are up', () => {
    const { rig } = setup({ up: false });
    expect(rig.to('connector/test')).toEqual([{ type: 'roll.call' }]);
    expect(rig.to('cache')).toEqual([{ type: 'roll.call' }]);
  });

  test('a job takes a slot, is named as held and counted, until it is done', async () => {
    const { rig, free, held, start, work, executing, finish, complete, clock } = setup();
    start('j1');
    expect(free()).toEqual(slots(0));
    expect(held()).toEqual(['j1']);
    expect(rig.to('supervisor').at(-1)).toEqual({ type: 'runs.count', count: 1 });
    await work('j1');
    expect(executing).toEqual(['j1']);
    finish('j1');
    expect(free()).toEqual(slots(1));
    expect(held()).toEqual(['j1']);
    await clock.advanceBy(1_000);
    await complete.answer({ kind: 'committed', detail: null, next: null });
    await clock.settle();
    expect(held()).toEqual([]);
    expect(rig.to('supervisor').at(-1)).toEqual({ type: 'runs.count', count: 0 });
  });

  test('finished runs leave nothing behind', async () => {
    const { rig, start, work, finish, complete, clock } = setup({ leadMs: 300 });
    const timers = clock.pending;
    for (let job = 0; job < 20; job++) {
      start(`j${job}`, { expectedMs: 5_000 });
      await work(`j${job}`);
      finish(`j${job}`);
      await clock.advanceBy(1_000);
      await complete.answer({ kind: 'committed', detail: null, next: null });
      await clock.settle();
    }
    expect(Object.keys(rig.subject.getSnapshot().children)).toEqual([]);
    expect(rig.context()['runs']).toEqual({});
    expect(clock.pending).toBe(timers);
  });

  test('nothing is told twice that has not changed, except to a claimer that has just handed in a job', () => {
    const { rig, start } = setup({ slots: 2 });
    const told = () => rig.sent.filter(({ to }) => to === 'claimer' || to === 'supervisor').length;
    const before = told();
    rig.send({ type: 'service.up', service: 'test' });
    expect(told()).toBe(before);
    start('elsewhere', { service: 'other' });
    expect(rig.to('claimer').at(-1)).toEqual({ type: 'claim.free', free: slots(2), shut: [], staged: [] });
    const claims = rig.to('claimer').length;
    start('elsewhere', { service: 'other' });
    expect(rig.to('claimer')).toHaveLength(claims + 1);
  });

  test('an assignment that comes twice runs once', async () => {
    const { start, work, executing } = setup({ slots: 2 });
    start('j1');
    start('j1');
    await work('j1');
    expect(executing).toEqual(['j1']);
  });

  test('a newer lease of a job drops its older run', async () => {
    const { start, work, executing, run } = setup({ slots: 2 });
    start('j1', { token: '5' });
    await work('j1');
    start('j1', { token: '6' });
    expect(JSON.stringify(run('j1', '5')?.getSnapshot().value)).toContain('stopping');
    await work('j1', '6');
    expect(executing).toEqual(['j1', 'j1']);
  });

  test('cancel and drop reach the run of that job alone', async () => {
    const { rig, start, held, exit, run } = setup({ slots: 3 });
    start('j1');
    start('j2');
    start('j3');
    rig.send({ type: 'runs.end', jobId: 'j1', cause: { kind: 'cancel', reason: 'by request' } });
    rig.send({ type: 'runs.drop', jobIds: ['j2', 'unknown'], reason: 'lapsed' });
    expect(exit.asked.map(({ input }) => [input.jobId, input.cause.kind])).toEqual([['j1', 'cancel']]);
    expect(held()).toEqual(['j1', 'j3']);
    expect(JSON.stringify(run('j3')?.getSnapshot().value)).toContain('preparing');
  });

  test('a dropped run is not named any more, though its work is still stopping', async () => {
    const { rig, start, work, held, free, executing } = setup();
    start('j1');
    await work('j1');
    rig.send({ type: 'runs.dropAll', reason: 'fenced' });
    expect(held()).toEqual([]);
    expect(executing).toEqual(['j1']);
    expect(free()).toEqual(slots(0));
  });

  test('a draining machine offers nothing and releases what still arrives', () => {
    const { rig, start, free, exit } = setup({ slots: 2 });
    rig.send({ type: 'runs.drain' });
    expect(free()).toEqual(slots(0));
    start('late');
    expect(exit.asked[0]?.input).toMatchObject({ jobId: 'late', cause: { kind: 'release' } });
  });

  test('a desk that is restarted during a drain drains', async () => {
    const { start, free, exit } = setup({ slots: 2, draining: true });
    expect(free()).toEqual(slots(0));
    start('late');
    expect(exit.asked[0]?.input).toMatchObject({ jobId: 'late', cause: { kind: 'release' } });
  });

  test('a service whose job found no room is offered again when the disk has some, or the cache is new', () => {
    const { rig, start, free } = setup({ slots: 2 });
    for (const type of ['disk.roomy', 'cache.up']) {
      start('j1');
      rig.send({ type: 'run.noRoom', run: 'run/gone.1' });
      expect(free()).toEqual(slots(1));
      rig.send({ type: 'run.noRoom', run: runName({ jobId: 'j1', token: '5' }) });
      expect(free()).toEqual(slots(0));
      rig.send({ type });
      expect(free()).toEqual(slots(1));
    }
  });

  test('releaseAll gives back every run', async () => {
    const { rig, start, exit, clock } = setup({ slots: 2 });
    start('j1');
    start('j2');
    await clock.settle();
    rig.send({ type: 'runs.releaseAll', reason: 'reclaimed' });
    expect(exit.asked.map(({ input }) => input.cause)).toEqual(
      Array(2).fill({ kind: 'release', reason: 'reclaimed' }),
    );
  });

  test('a service that this machine does not offer is released, not failed', () => {
    const { start, exit } = setup();
    start('j1', { service: 'other' });
    expect(exit.asked[0]?.input.cause.kind).toBe('release');
  });

  test('shortly before a run should end one more job is claimed, and takes the slot when it comes free', async () => {
    const { start, work, free, executing, finish, clock } = setup({ leadMs: 300 });
    start('j1', { expectedMs: 1_000 });
    await work('j1');
    await clock.advanceBy(699);
    expect(free()).toEqual(slots(0));
    await clock.advanceBy(1);
    expect(free()).toEqual(slots(1));
    start('j2');
    expect(free()).toEqual(slots(0));
    await work('j2');
    expect(executing).toEqual(['j1']);
    finish('j1');
    await clock.settle();
    await work('j2');
    expect(executing).toEqual(['j2']);
  });

  test('nothing is claimed ahead of a run that goes on past its expected end', async () => {
    const { start, work, free, clock } = setup({ leadMs: 300 });
    start('j1', { expectedMs: 1_000 });
    await work('j1');
    await clock.advanceBy(1_300);
    expect(free()).toEqual(slots(0));
  });

  test('a prepared job whose slot does not come free is given back', async () => {
    const { start, work, clock, exit } = setup({ leadMs: 300 });
    start('j1', { expectedMs: 1_000 });
    await work('j1');
    await clock.advanceBy(700);
    start('j2');
    await clock.advanceBy(29_999);
    expect(exit.asked).toEqual([]);
    await clock.advanceBy(1);
    expect(exit.asked.map(({ input }) => [input.jobId, input.cause.kind])).toEqual([['j2', 'release']]);
  });

  test('a run that dies of a bug is reported as failed, and its claim is given back', async () => {
    const { rig, start, work, exit, run } = setup();
    start('j1');
    await work('j1');
    // An event without what its type promises: the action that reads it throws.
    run('j1')?.send({ type: 'run.finished' });
    expect(exit.asked[0]?.input).toMatchObject({
      jobId: 'j1',
      cause: { kind: 'fail', error: { code: 'INTERNAL' } },
    });
    expect(rig.to('claimer')).toContainEqual({ type: 'ride.lost', run: 'run/j1.5' });
    expect(rig.state()).toBe('"open"');
  });

  test('the service on which a run died of a bug is ended, and its slots are not offered before', async () => {
    const { rig, start, work, run, free } = setup();
    start('j1');
    await work('j1');
    run('j1')?.send({ type: 'run.finished' });
    expect(rig.to('connector/test').at(-1)).toEqual({ type: 'connector.stuck', run: 'run/j1.5' });
    expect(free()).toEqual([]);
    rig.send({ type: 'service.up', service: 'test' });
    expect(free()).toEqual(slots(1));
  });

  test('a run that its service does not let go of keeps its slot, and neither beats nor a drain name it', async () => {
    const { rig, start, work, exit, free, held, clock } = setup();
    const counted = () => rig.to('supervisor').at(-1);
    start('j1');
    await work('j1');
    rig.send({ type: 'runs.end', jobId: 'j1', cause: { kind: 'cancel', reason: 'by request' } });
    await clock.advanceBy(1_000);
    expect([held(), free(), counted()]).toEqual([['j1'], slots(0), { type: 'runs.count', count: 1 }]);
    await exit.answer({ kind: 'ok' });
    expect([held(), free(), counted()]).toEqual([[], slots(0), { type: 'runs.count', count: 0 }]);
    rig.send({ type: 'service.up', service: 'other' });
    rig.send({ type: 'service.ended', service: 'other' });
    expect(free()).toEqual(slots(0));
    rig.send({ type: 'service.ended', service: 'test' });
    await clock.settle();
    expect(free()).toEqual(slots(1));
    expect(rig.context()['runs']).toEqual({});
  });

  test('a lingering run that dies of a bug takes its slot and its service with it', async () => {
    const { rig, start, work, run, free, clock } = setup();
    start('j1');
    await work('j1');
    rig.send({ type: 'runs.dropAll', reason: 'fenced' });
    await clock.advanceBy(1_000);
    run('j1')?.send({
      type: 'slot.granted',
      get device(): string {
        throw new Error('bug');
      },
    });
    expect(rig.context()['runs']).toEqual({});
    expect(free()).toEqual([]);
  });

  test('runs at work name themselves to a service that comes up', async () => {
    const { rig, start, work } = setup();
    start('j1');
    await work('j1');
    rig.send({ type: 'service.up', service: 'test' });
    expect(rig.to('connector/test').map((event) => event.type)).toEqual([
      'roll.call',
      'connector.began',
      'connector.began',
    ]);
  });

  test('a run that dies while it only reports is left to the hub', async () => {
    const { rig, start, run, held } = setup();
    rig.send({ type: 'runs.drain' });
    start('j1');
    run('j1')?.send({
      type: 'slot.granted',
      get device(): string {
        throw new Error('bug');
      },
    });
    expect(held()).toEqual([]);
  });

  test('news of link and cache reach every run', async () => {
    const { rig, start } = setup();
    start('j1', { models: ['m1'] });
    rig.send({ type: 'link.online', welcome: {} });
    rig.send({ type: 'link.offline' });
    rig.send({ type: 'cache.up' });
    expect(rig.to('cache').filter((event) => event.type === 'models.want')).toHaveLength(2);
  });

  test('a card that is up again is told to the runs on it, and to no other', async () => {
    const { rig, start, clock } = setup();
    start('j1');
    await clock.settle();
    rig.send({ type: 'device.usable', device: 'cpu-0', usable: false });
    rig.send({ type: 'device.usable', device: 'cpu-9', usable: true });
    const asks = () => rig.to('gpu/cpu-0').filter((event) => event.type === 'permit.ask');
    expect(asks()).toHaveLength(1);
    rig.send({ type: 'device.usable', device: 'cpu-0', usable: true });
    expect(asks()).toHaveLength(2);
  });

  test('a word about a run that is gone changes nothing', () => {
    const { rig, held } = setup();
    rig.send({ type: 'run.phase', run: 'run/gone.1', phase: 'running' });
    expect(held()).toEqual([]);
  });
});
