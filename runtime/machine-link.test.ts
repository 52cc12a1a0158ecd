import { describe, expect, test } from 'vitest';
import { EmpError } from '#protocol/errors.ts';
import { sha256 } from './machine-hub.fixture.ts';
import { machineRig as setup } from './machine-rig.fixture.ts';
import { type MachineSettings, machineSettings } from './machine-settings.ts';

describe('a job that must end otherwise', () => {
  async function running(options: Parameters<typeof setup>[0] = {}) {
    const all = await setup(options);
    await all.hub.saw('claim');
    const job = all.hub.submit({ jobId: 'j1', payload: { output: 'result' } });
    await all.began(1);
    return { ...all, job };
  }

  test('a cancelled run stops its work and reports the cancel', async () => {
    const { hub, runs, job } = await running();
    hub.notify('cancel', { jobId: 'j1', reason: 'by request' });
    const exit = await hub.saw('exit');
    expect(exit).toEqual({ jobId: 'j1', token: job.token, cause: { kind: 'cancel', reason: 'by request' } });
    expect(runs[0]?.signal.aborted).toBe(true);
    expect(hub.bodies('complete')).toEqual([]);
  });

  test('a cancel by the answer to a beat does the same', async () => {
    const { hub } = await running();
    hub.handlers.beat = () => ({ kind: 'ok', drop: [], cancel: ['j1'], work: false });
    expect((await hub.saw('exit')).cause.kind).toBe('cancel');
  });

  test.each(['notice', 'beat'])(
    'a run dropped by %s stops without a word, and its slot is free again',
    async (by) => {
      const { hub, runs, began } = await running();
      if (by === 'notice') hub.notify('drop', { jobId: 'j1' });
      else
        hub.handlers.beat = (body) => ({
          kind: 'ok',
          drop: body.running.map((held) => held.jobId),
          cancel: [],
          work: false,
        });
      await hub.saw(
        'beat',
        (body) => body.running.length === 0 && body.free[0]?.slots === 1 && runs[0]?.signal.aborted === true,
      );
      hub.handlers = {};
      hub.submit({ jobId: 'j2' });
      await began(2);
      expect(hub.bodies('exit')).toEqual([]);
      expect(hub.bodies('complete')).toEqual([]);
    },
  );

  test('a lapsed machine drops everything and goes on', async () => {
    const { hub, runs, began } = await running();
    let lapses = 1;
    hub.handlers.beat = () =>
      lapses-- > 0 ? { kind: 'lapsed' } : { kind: 'ok', drop: [], cancel: [], work: false };
    hub.submit({ jobId: 'j2' }, { wake: false });
    await began(2);
    expect(runs[0]?.signal.aborted).toBe(true);
    expect(hub.bodies('exit')).toEqual([]);
  });

  test('a superseded machine stops for good with its own exit code', async () => {
    const { hub, machine, runs } = await running();
    hub.handlers.beat = () => ({ kind: 'superseded' });
    expect(await machine.stopped).toMatchObject({ code: 3 });
    expect(runs[0]?.signal.aborted).toBe(true);
    expect(hub.bodies('exit')).toEqual([]);
  });

  test('a late completion is refused, its run ends, and the machine takes the next job', async () => {
    const { hub, runs, began } = await running();
    hub.handlers.complete = (body) => ({
      kind: 'refused',
      detail: 'another run came first',
      next: body.next === null ? null : hub.nextClaim(),
    });
    runs[0]?.finish();
    await hub.saw('complete');
    hub.submit({ jobId: 'j2' });
    await began(2);
    expect(hub.bodies('complete')).toHaveLength(1);
  });

  test('R21: a run that fails reports its code', async () => {
    const { hub, runs } = await running();
    runs[0]?.fail(new EmpError('JOB_FAILED', { detail: 'no such colour' }));
    expect((await hub.saw('exit')).cause).toEqual({
      kind: 'fail',
      error: { code: 'JOB_FAILED', message: 'no such colour', retryable: false },
    });
  });

  test('a stalled run fails as stalled', async () => {
    const { hub } = await running({ settings: { jobRun: { ...machineSettings.jobRun, stallMs: 1 } } });
    expect((await hub.saw('exit')).cause).toMatchObject({ kind: 'fail', error: { code: 'JOB_STALLED' } });
  });

  test('an input with another hash than uploaded is refused', async () => {
    const { hub } = await setup({
      hub: (testHub) => {
        testHub.handlers.sign = () => ({
          kind: 'signed',
          manifest: null,
          files: [
            {
              name: 'in.txt',
              object: 'inputs/in.txt',
              urls: [testHub.objectUrl('inputs/in.txt')],
              bytes: 5,
              sha256: sha256(Buffer.from('other')),
              mime: 'text/plain',
            },
          ],
        });
      },
    });
    hub.objects.set('inputs/in.txt', Buffer.from('hello'));
    await hub.saw('claim');
    hub.submit({ jobId: 'j1', inputs: [{ name: 'in.txt', object: 'inputs/in.txt' }] });
    expect((await hub.saw('exit')).cause).toMatchObject({
      kind: 'fail',
      error: { code: 'INPUT_UNAVAILABLE' },
    });
  });
});

describe('a link that is cut', () => {
  const quick: Partial<MachineSettings> = {
    link: { reconnect: { baseMs: 20, limitMs: 100 }, dialMs: 2_000, stableMs: 10_000 },
  };

  test('in the middle of a job costs nothing: the same incarnation goes on', async () => {
    const { hub, machine, runs, began } = await setup({ settings: quick });
    await hub.saw('claim');
    hub.submit({ jobId: 'j1', payload: { output: 'result' } });
    await began(1);
    hub.cut();
    await hub.saw('hello', (body) => body.incarnation === 1);
    await hub.saw('beat', (body) => body.running.length === 1 && hub.bodies('hello').length === 2);
    runs[0]?.finish();
    expect(await hub.saw('complete')).toMatchObject({ jobId: 'j1' });
    expect(runs[0]?.signal.aborted).toBe(false);
    expect(machine.health()).toMatchObject({ incarnation: 1, linked: true });
  });

  test('R27: before the completion was answered: it is repeated until it is', async () => {
    const { hub, runs, began } = await setup({ settings: quick });
    await hub.saw('claim');
    hub.submit({ jobId: 'j1', payload: { output: 'result' } });
    await began(1);
    hub.handlers.complete = () => {
      hub.handlers = {};
      hub.cut();
      return 'silence';
    };
    runs[0]?.finish();
    await hub.saw('complete', () => hub.bodies('complete').length === 2);
    await hub.saw('beat', (body) => body.running.length === 0 && hub.bodies('complete').length === 2);
    expect(hub.bodies('exit')).toEqual([]);
  });

  test('while a claim is open: it is repeated under its number, and its lease is taken', async () => {
    const { hub, began } = await setup({
      settings: quick,
      hub: (testHub) => {
        testHub.handlers.claim = () => {
          testHub.handlers = {};
          testHub.cut();
          return 'silence';
        };
      },
    });
    hub.submit({ jobId: 'j1' }, { wake: false });
    await began(1);
    expect(hub.bodies('claim').map((claim) => claim.requestId)).toEqual([1, 1]);
  });

  test('T24: for longer than the lease fences the machine, which goes on afterwards', async () => {
    const { hub, runs, began } = await setup({
      settings: { ...quick, lease: { fenceMarginMs: 300 } },
      hub: (testHub) => (testHub.leaseTtlMs = 600),
    });
    await hub.saw('claim');
    hub.submit({ jobId: 'j1' });
    await began(1);
    const fenced = new Promise((resolve) => runs[0]?.signal.addEventListener('abort', resolve));
    hub.refuseUpgrade = true;
    hub.cut();
    await fenced;
    hub.refuseUpgrade = false;
    hub.submit({ jobId: 'j2' }, { wake: false });
    await began(2);
    expect(hub.bodies('complete')).toEqual([]);
    expect(hub.bodies('exit')).toEqual([]);
  });

  test('by a hub that is closing brings the machine back at once', async () => {
    const { hub } = await setup({ settings: quick });
    await hub.saw('claim');
    hub.notify('closing', {});
    await hub.saw('hello', () => hub.bodies('hello').length === 2);
  });
});
