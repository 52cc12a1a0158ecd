import { afterAll, describe, expect, test } from 'vitest';
import type { ConnectorOutput } from '#protocol/connector.ts';
import { EmpError } from '#protocol/errors.ts';
import type { LinkAnswer } from '#protocol/link.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import type { ExitCause } from './job-run-base.ts';
import { overdueRuns, runsOfEndedServices } from './job-run-overdue.conformance.ts';
import { coverage, jobRunRig, name, output, uploaded } from './job-run-rig.fixture.ts';

const setup = (options?: Parameters<typeof jobRunRig>[1]) => jobRunRig(new VirtualClock(), options);

const finished = (outputs: ConnectorOutput[] = []) => ({
  type: 'run.finished',
  result: { outputs, data: { ok: true } },
});
const committed = (next: LinkAnswer<'complete'>['next'] = null): LinkAnswer<'complete'> => ({
  kind: 'committed',
  detail: null,
  next,
});
const cancel: ExitCause = { kind: 'cancel', reason: 'by request' };

describe('job-run', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test('a job without outputs runs and completes with its data', async () => {
    const run = setup();
    await run.begin();
    expect(run.work.began).toBe(1);
    run.rig.send(finished());
    run.rig.send({ type: 'ride.offer', offer: null });
    expect(run.complete.asked[0]?.input).toEqual({
      jobId: 'j1',
      token: '5',
      outputs: [],
      data: { ok: true },
      next: null,
    });
    await run.complete.answer(committed());
    expect(await run.ending()).toEqual({ kind: 'committed' });
  });

  test('models are asked for again when the cache was restarted, wherever the run is', async () => {
    const run = setup({ models: ['m1'] });
    run.rig.send({ type: 'cache.up' });
    await run.stageInputs.answer([]);
    run.rig.send({ type: 'models.ready', models: [] });
    run.rig.send({ type: 'cache.up' });
    run.rig.send({ type: 'slot.granted', device: 'cpu-0' });
    run.rig.send({ type: 'permit.granted' });
    run.rig.send({ type: 'cache.up' });
    expect(run.rig.to('cache').map((event) => event.type)).toEqual(Array(4).fill('models.want'));
  });

  test('a card whose actor is new is asked for its permit again, before the work and during it', async () => {
    const run = setup();
    run.rig.send({ type: 'device.up' });
    await run.stageInputs.answer([]);
    run.rig.send({ type: 'slot.granted', device: 'cpu-0' });
    run.rig.send({ type: 'device.up' });
    run.rig.send({ type: 'permit.granted' });
    run.rig.send({ type: 'device.up' });
    run.rig.send({ type: 'permit.granted' });
    expect(run.rig.to('gpu/cpu-0').map((event) => event.type)).toEqual(Array(3).fill('permit.ask'));
    expect(run.work.began).toBe(1);
  });

  test('an input that cannot be had fails the job with its code', async () => {
    const run = setup();
    await run.stageInputs.fail(new EmpError('INPUT_UNAVAILABLE', { detail: 'gone' }));
    expect(run.exit.asked[0]?.input.cause).toMatchObject({
      kind: 'fail',
      error: { code: 'INPUT_UNAVAILABLE', message: 'gone' },
    });
  });

  test('a hub that cannot be asked while inputs are signed is no fault of the job', async () => {
    const run = setup();
    await run.stageInputs.fail(new EmpError('LINK_CLOSED'));
    run.rig.send({ type: 'link.online' });
    expect(run.stageInputs.asked).toHaveLength(2);
    const codes = ['TIMEOUT', 'INBOX_FULL', 'RECORDS_UNAVAILABLE', 'BROKER_UNAVAILABLE', 'DRAINING'] as const;
    for (const code of codes) {
      await run.stageInputs.fail(new EmpError(code));
      await run.clock.advanceBy(2_000);
    }
    expect(run.stageInputs.asked).toHaveLength(2 + codes.length);
    expect(run.exit.asked).toHaveLength(0);
  });

  test('a model that cannot be had fails the job with its code', () => {
    const run = setup({ models: ['m1'] });
    run.rig.send({
      type: 'models.failed',
      error: { code: 'MODEL_CHECKSUM_MISMATCH', message: 'm1', retryable: true },
    });
    expect(run.exit.asked[0]?.input.cause).toMatchObject({
      kind: 'fail',
      error: { code: 'MODEL_CHECKSUM_MISMATCH' },
    });
  });

  test('no room on this disk gives the job back, and neither is its attempt used nor such work offered', async () => {
    const models = setup({ models: ['m1'] });
    models.rig.send({ type: 'models.failed', error: new EmpError('DISK_FULL'), here: true });
    const inputs = setup();
    await inputs.stageInputs.fail(new EmpError('DISK_FULL'));
    expect(inputs.rig.to('cache')).toMatchObject([{ type: 'disk.check' }]);
    for (const run of [models, inputs]) {
      expect(run.exit.asked[0]?.input.cause).toMatchObject({ kind: 'release' });
      expect(run.rig.to('parent').map((event) => event.type)).toEqual(['run.noRoom', 'run.phase']);
    }
  });

  test('a failed run is reported until the hub answers', async () => {
    const run = setup();
    await run.begin();
    run.rig.send({ type: 'run.failed', error: { code: 'JOB_FAILED', message: 'bad', retryable: false } });
    await run.exit.fail(new EmpError('LINK_CLOSED'));
    await run.clock.advanceBy(2_000);
    await run.exit.fail(new EmpError('LINK_CLOSED'));
    run.rig.send({ type: 'link.online' });
    run.rig.send({ type: 'run.end', cause: cancel });
    await run.exit.answer({ kind: 'ok' });
    expect(run.exit.asked.map((asked) => asked.input.cause.kind)).toEqual(['fail', 'fail', 'fail']);
    expect(await run.ending()).toEqual({ kind: 'exited' });
  });

  test('an execute effect that cannot even begin fails the job', async () => {
    const run = setup({ executeThrows: true });
    await run.begin();
    expect(run.exit.asked[0]?.input.cause).toMatchObject({
      kind: 'fail',
      error: { code: 'CONNECTOR_FAILED' },
    });
  });

  overdueRuns();
  runsOfEndedServices();

  describe('stopping', () => {
    test('a run without progress past its deadline fails as stalled', async () => {
      const run = setup();
      await run.begin();
      await run.clock.advanceBy(119_000);
      run.rig.send({ type: 'run.progress' });
      await run.clock.advanceBy(119_999);
      expect(run.work.aborted).toBe(0);
      await run.clock.advanceBy(1);
      expect(run.work.aborted).toBe(1);
      run.rig.send({ type: 'run.failed', error: { code: 'LEASE_LOST', message: '', retryable: true } });
      expect(run.exit.asked[0]?.input.cause).toMatchObject({ kind: 'fail', error: { code: 'JOB_STALLED' } });
    });

    test('a cancelled run keeps its slot until the service has let go', async () => {
      const run = setup();
      await run.begin();
      run.rig.send({ type: 'run.end', cause: cancel });
      expect(run.work.aborted).toBe(1);
      expect(run.phases()).toEqual(['running']);
      run.rig.send({ type: 'run.end', cause: cancel });
      run.rig.send({ type: 'run.failed', error: { code: 'LEASE_LOST', message: '', retryable: true } });
      expect(run.phases()).toEqual(['running', 'ending']);
      expect(run.exit.asked[0]?.input.cause).toEqual(cancel);
    });

    test('a dropped run stops its work and tells the hub nothing', async () => {
      const run = setup();
      await run.begin();
      run.rig.send({ type: 'run.drop', reason: 'lapsed' });
      run.rig.send(finished([output]));
      expect(await run.ending()).toEqual({ kind: 'dropped' });
      expect(run.exit.asked).toHaveLength(0);
      expect(run.complete.asked).toHaveLength(0);
    });

    test('a cancelled run that finishes is cancelled, one that fails dropped is dropped', async () => {
      const run = setup();
      await run.begin();
      run.rig.send({ type: 'run.end', cause: cancel });
      run.rig.send(finished([output]));
      expect(run.exit.asked[0]?.input.cause).toEqual(cancel);
      const other = setup();
      await other.begin();
      other.rig.send({ type: 'run.drop', reason: 'lapsed' });
      other.rig.send({ type: 'run.failed', error: { code: 'LEASE_LOST', message: '', retryable: true } });
      expect(await other.ending()).toEqual({ kind: 'dropped' });
    });

    test('a run that is dropped while it waits for its card gives back its place in the line', async () => {
      const run = setup();
      await run.stageInputs.answer([]);
      run.rig.send({ type: 'slot.granted', device: 'cpu-0' });
      run.rig.send({ type: 'run.drop', reason: 'lapsed' });
      expect(run.rig.to('gpu/cpu-0').map((event) => event.type)).toEqual(['permit.ask', 'permit.release']);
    });

    test('before any work a cancel is an exit at once, and its fetches are aborted', () => {
      const run = setup();
      run.rig.send({ type: 'run.end', cause: cancel });
      expect(run.stageInputs.asked[0]?.signal.aborted).toBe(true);
      expect(run.exit.asked[0]?.input.cause).toEqual(cancel);
    });
  });

  describe('results', () => {
    async function uploading() {
      const run = setup();
      await run.begin();
      run.rig.send(finished([output]));
      return run;
    }

    test('a failed upload is tried three times, then the job fails', async () => {
      const run = await uploading();
      for (let failure = 0; failure < 2; failure++) {
        await run.upload.fail(new EmpError('OUTPUT_MISSING'));
        await run.clock.advanceBy(2_000);
      }
      await run.upload.fail(new EmpError('OUTPUT_MISSING', { detail: 'no room in the bucket' }));
      expect(run.upload.asked).toHaveLength(3);
      expect(run.exit.asked[0]?.input.cause).toMatchObject({
        kind: 'fail',
        error: { code: 'OUTPUT_MISSING', message: 'no room in the bucket' },
      });
    });

    test('a cut link costs no try of an upload', async () => {
      const run = await uploading();
      for (let cut = 0; cut < 5; cut++) {
        await run.upload.fail(new EmpError('LINK_CLOSED'));
        run.rig.send({ type: 'link.online' });
      }
      await run.upload.answer([uploaded]);
      expect(run.complete.asked).toHaveLength(1);
    });

    test('a result that did not reach the store is uploaded again, then given up', async () => {
      const run = await uploading();
      for (let round = 0; round < 2; round++) {
        await run.upload.answer([uploaded]);
        await run.complete.answer({ kind: 'missingOutput', detail: 'out.png', next: null });
      }
      await run.upload.answer([uploaded]);
      await run.complete.answer({ kind: 'missingOutput', detail: 'out.png', next: null });
      expect(run.upload.asked).toHaveLength(3);
      expect(run.exit.asked[0]?.input.cause).toMatchObject({
        kind: 'fail',
        error: { code: 'OUTPUT_MISSING', message: 'out.png' },
      });
    });

    test('a completion without an answer is repeated, by time and by a new link', async () => {
      const run = await uploading();
      await run.upload.answer([uploaded]);
      await run.complete.fail(new EmpError('LINK_CLOSED'));
      await run.clock.advanceBy(2_000);
      await run.complete.fail(new EmpError('TIMEOUT'));
      run.rig.send({ type: 'link.online' });
      await run.complete.answer(committed());
      expect(await run.ending()).toEqual({ kind: 'committed' });
    });

    test('a result waits for a hub in trouble, whatever it says of asking again', async () => {
      const run = await uploading();
      await run.upload.answer([uploaded]);
      for (const code of ['INBOX_FULL', 'UNAUTHORIZED'] as const) {
        await run.complete.fail(new EmpError(code, { detail: 'not now', retryable: false }));
        await run.clock.advanceBy(2_000);
      }
      expect(run.exit.asked).toHaveLength(0);
      await run.complete.answer(committed());
      expect(await run.ending()).toEqual({ kind: 'committed' });
    });

    test('a completion that the hub can never take fails the job with that error', async () => {
      const run = await uploading();
      await run.upload.answer([uploaded]);
      await run.complete.fail(new EmpError('BODY_TOO_LARGE', { detail: 'data of 70000 bytes' }));
      await run.clock.advanceBy(60_000);
      expect(run.complete.asked).toHaveLength(1);
      expect(run.exit.asked[0]?.input.cause).toMatchObject({
        kind: 'fail',
        error: { code: 'BODY_TOO_LARGE', message: 'data of 70000 bytes', retryable: false },
      });
    });

    test('an exit that the hub can never take ends the run', async () => {
      const run = setup({ exit: { kind: 'release', reason: 'draining' } });
      await run.exit.fail(new EmpError('VALIDATION_FAILED'));
      expect(await run.ending()).toEqual({ kind: 'exited' });
      expect(run.exit.asked).toHaveLength(1);
    });

    test('a cancel that comes after the completion was sent does not stop it', async () => {
      const run = await uploading();
      await run.upload.answer([uploaded]);
      run.rig.send({ type: 'run.end', cause: cancel });
      await run.complete.answer(committed());
      expect(run.exit.asked).toHaveLength(0);
      expect(await run.ending()).toEqual({ kind: 'committed' });
    });

    test('a refused completion ends the run, nothing is repeated', async () => {
      const run = await uploading();
      await run.upload.answer([uploaded]);
      await run.complete.answer({ kind: 'refused', detail: null, next: null });
      expect(await run.ending()).toEqual({ kind: 'refused' });
    });

    test('a run that is fenced while it completes gives up', async () => {
      const run = await uploading();
      await run.upload.answer([uploaded]);
      run.rig.send({ type: 'run.drop', reason: 'fenced' });
      run.rig.send({ type: 'run.drop', reason: 'fenced' });
      run.rig.send({ type: 'run.end', cause: cancel });
      expect(run.complete.asked[0]?.signal.aborted).toBe(true);
      expect(await run.ending()).toEqual({ kind: 'dropped' });
    });
  });

  describe('a claim on the completion', () => {
    const offer = { requestId: 9, free: [], resident: [] };
    async function riding() {
      const run = setup();
      await run.begin();
      run.rig.send(finished());
      run.rig.send({ type: 'ride.offer', offer });
      return run;
    }

    test('is asked for before the slot is given up', async () => {
      const run = await riding();
      const order = run.rig.sent.map(({ to, event }) =>
        event.type === 'run.phase' ? `${to} ${event['phase']}` : `${to} ${event.type}`,
      );
      expect(order.indexOf('claimer ride.ask')).toBeLessThan(order.indexOf('parent ending'));
      expect(run.complete.asked[0]?.input.next).toEqual(offer);
    });

    test('its answer reaches the claimer once', async () => {
      const run = await riding();
      await run.complete.answer(committed({ kind: 'empty' }));
      await run.ending();
      expect(run.rig.to('claimer').map((event) => event.type)).toEqual(['ride.ask', 'ride.answered']);
    });

    test('without an answer it is given back', async () => {
      const run = await riding();
      await run.complete.answer({ kind: 'refused', detail: null, next: null });
      expect(run.rig.to('claimer').at(-1)).toEqual({ type: 'ride.lost', run: name });
    });

    test('a fenced run gives it back, too', async () => {
      const run = await riding();
      run.rig.send({ type: 'run.drop', reason: 'fenced' });
      expect(run.rig.to('claimer').at(-1)).toEqual({ type: 'ride.lost', run: name });
    });

    test('an offer that comes too late is given back', async () => {
      const run = setup();
      await run.begin();
      run.rig.send(finished());
      await run.clock.advanceBy(1_000);
      expect(run.complete.asked[0]?.input.next).toBeNull();
      run.rig.send({ type: 'ride.offer', offer });
      expect(run.rig.to('claimer').at(-1)).toEqual({ type: 'ride.lost', run: name });
    });

    test('a result without files that the hub misses ends the job', async () => {
      const run = await riding();
      await run.complete.answer({ kind: 'missingOutput', detail: null, next: null });
      expect(run.exit.asked[0]?.input.cause).toMatchObject({
        kind: 'fail',
        error: { code: 'OUTPUT_MISSING' },
      });
    });
  });

  test('a run that only reports its exit touches nothing else', async () => {
    const run = setup({ exit: { kind: 'release', reason: 'draining' } });
    expect(run.stageInputs.asked).toHaveLength(0);
    await run.exit.answer({ kind: 'unknown' });
    await run.cleanUp.fail(new Error('busy'));
    expect(run.rig.subject.getSnapshot().status).toBe('done');
  });

  test('words that come too late are taken without a stir', () => {
    const run = setup();
    const late =
      'link.online cache.up service.up service.ended run.progress run.failed permit.granted models.ready models.failed';
    for (const type of late.split(' ')) run.rig.send({ type });
    run.rig.send(finished());
    expect(run.rig.state()).toContain('preparing');
  });
});
