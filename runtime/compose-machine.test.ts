import { describe, expect, test } from 'vitest';
import { sha256, type TestHub } from './machine-hub.fixture.ts';
import { machineRig as setup } from './machine-rig.fixture.ts';
import type { MachineSettings } from './machine-settings.ts';

const states = (hub: TestHub) => hub.bodies('beat').map((beat) => beat.report.state);

describe('a machine on a link', () => {
  test('claims, runs, uploads and completes a job', async () => {
    const { hub, runs, began } = await setup();
    hub.objects.set('inputs/in.txt', Buffer.from('hello'));
    await hub.saw('claim');
    hub.submit({
      jobId: 'j1',
      payload: { output: 'result' },
      inputs: [{ name: 'in.txt', object: 'inputs/in.txt' }],
    });
    await began(1);
    expect(runs[0]?.inputs).toMatchObject([{ name: 'in.txt', bytes: 5 }]);
    runs[0]?.finish();
    const completed = await hub.saw('complete');
    expect(completed).toMatchObject({
      jobId: 'j1',
      outputs: [{ name: 'out.txt', bytes: 6, sha256: sha256(Buffer.from('result')) }],
    });
    expect(hub.objects.get(completed.outputs[0]?.object as string)?.toString()).toBe('result');
  });

  test('a job without files is completed and the next one claimed in the same call', async () => {
    const { hub } = await setup();
    await hub.saw('claim');
    for (let job = 1; job <= 5; job++)
      hub.submit({ jobId: `j${job}`, payload: { auto: true } }, { wake: job === 5 });
    await hub.saw('complete', (body) => body.jobId === 'j5');
    const completions = hub.bodies('complete');
    expect(completions.map((body) => body.jobId)).toEqual(['j1', 'j2', 'j3', 'j4', 'j5']);
    expect(completions.every((body) => body.next !== null)).toBe(true);
    // One claim at the start, one after the wake; the other four rode on completions.
    expect(hub.bodies('claim')).toHaveLength(2);
  });

  test('slots run side by side, and no more jobs than slots', async () => {
    const { hub, runs, began } = await setup({ slots: 3 });
    await hub.saw('claim');
    for (let job = 1; job <= 5; job++) hub.submit({ jobId: `j${job}` }, { wake: job === 5 });
    await began(3);
    await hub.saw('beat', (body) => body.running.length === 3);
    // Each prepares its folder on the disk first: which of three that were claimed together begins first is open.
    expect(runs.map((run) => run.jobId).toSorted()).toEqual(['j1', 'j2', 'j3']);
    expect(hub.queue).toHaveLength(2);
    runs[1]?.finish();
    await began(4);
    expect(runs[3]?.jobId).toBe('j4');
  });

  test('beats name what is held and say what is free', async () => {
    const { hub, runs, began } = await setup({ slots: 2 });
    await hub.saw('claim');
    const { token } = hub.submit({ jobId: 'j1' });
    await began(1);
    const beat = await hub.saw('beat', (body) => body.running.length === 1);
    expect(beat.running).toEqual([{ jobId: 'j1', token }]);
    expect(beat.free).toEqual([{ service: 'test', slots: 1 }]);
    runs[0]?.finish();
    await hub.saw('beat', (body) => body.running.length === 0 && body.highestRequestId > 1);
  });

  test('an idle machine asks once and then waits to be woken', async () => {
    const { hub } = await setup();
    for (let beats = 1; beats <= 4; beats++) await hub.saw('beat', () => hub.bodies('beat').length >= beats);
    expect(hub.bodies('claim')).toHaveLength(1);
  });

  test('a beat that tells of work brings a claim, without any wake', async () => {
    const { hub, began } = await setup();
    await hub.saw('claim');
    hub.submit({ jobId: 'j1' }, { wake: false });
    hub.handlers.beat = () => ({ kind: 'ok', drop: [], cancel: [], work: true });
    await began(1);
  });

  test('progress reaches the hub, the newest of each job', async () => {
    const { hub, runs, began } = await setup();
    await hub.saw('claim');
    hub.submit({ jobId: 'j1' });
    await began(1);
    for (let step = 1; step <= 50; step++)
      runs[0]?.progress({ fraction: step / 50, message: `step ${step}` });
    await hub.saw('beat', () => hub.notices.some((notice) => notice.type === 'progress'));
    const told = hub.notices.filter((notice) => notice.type === 'progress');
    expect(told.at(-1)?.body).toMatchObject({ items: [{ jobId: 'j1', fraction: 1, message: 'step 50' }] });
    expect(told.length).toBeLessThan(5);
  });
});

describe('a draining machine', () => {
  async function running(settings: Partial<MachineSettings> = {}) {
    const all = await setup({ slots: 2, settings });
    await all.hub.saw('claim');
    all.hub.submit({ jobId: 'j1', payload: { output: 'result' } });
    await all.began(1);
    return all;
  }

  test('finishes what runs, claims nothing more, says goodbye and ends with 0', async () => {
    const { hub, machine, runs } = await running();
    machine.drain('SIGTERM', 60_000);
    const claims = hub.bodies('claim').length;
    hub.submit({ jobId: 'j2' });
    await hub.saw('beat', (body) => body.report.state === 'draining');
    runs[0]?.finish();
    expect(await machine.stopped).toEqual({ code: 0, reason: 'SIGTERM' });
    expect(hub.bodies('complete').map((body) => body.jobId)).toEqual(['j1']);
    expect(hub.bodies('claim')).toHaveLength(claims);
    expect(hub.bodies('leave')).toEqual([{ reason: 'SIGTERM' }]);
    expect(hub.queue).toHaveLength(1);
  });

  test('gives back at the deadline what would not end', async () => {
    const { hub, machine, runs } = await running();
    machine.drain('reclaimed', 50);
    expect(await machine.stopped).toMatchObject({ code: 0 });
    expect(hub.bodies('exit')).toMatchObject([
      { jobId: 'j1', cause: { kind: 'release', reason: 'reclaimed' } },
    ]);
    expect(runs[0]?.signal.aborted).toBe(true);
    expect(hub.asked.findIndex((asked) => asked.type === 'exit')).toBeLessThan(
      hub.asked.findIndex((asked) => asked.type === 'leave'),
    );
  });

  test('may be told so by its hub', async () => {
    const { hub, machine } = await running();
    hub.notify('drain', { deadlineMs: 50, reason: 'scale in' });
    expect(await machine.stopped).toEqual({ code: 0, reason: 'scale in' });
  });

  test('ends although no hub answers', async () => {
    const { hub, machine } = await running({ supervisor: { releaseMs: 50, leaveMs: 50 } });
    hub.refuseUpgrade = true;
    hub.cut();
    machine.drain('SIGTERM', 50);
    expect(await machine.stopped).toMatchObject({ code: 0 });
  });

  test('is not ready, and live', async () => {
    const { hub, machine } = await running();
    machine.drain('SIGTERM', 60_000);
    expect(machine.health()).toMatchObject({ state: 'draining', ready: false, linked: true, runs: 1 });
    expect(states(hub)).toContain('ready');
  });
});

describe('what a machine is told wrongly', () => {
  test('frames that are no frames are counted, and the machine lives on', async () => {
    const { hub, machine, began } = await setup();
    await hub.saw('claim');
    for (const text of [
      '{',
      '[]',
      '{"v":9,"type":"wake","body":{}}',
      '{"v":1,"type":"unknown","body":{}}',
      '{"v":1,"type":"cancel","body":{"jobId":7}}',
      '{"v":1,"re":99999,"body":{}}',
    ])
      hub.raw(text);
    hub.submit({ jobId: 'j1' });
    await began(1);
    expect(machine.health().deadLetters).toMatchObject({ decode: 5, 'unknown-address': 1 });
    expect(machine.health().state).toBe('ready');
  });

  test('nothing that actors tell each other in a day’s work is lost', async () => {
    const { hub, machine, runs, began } = await setup({ slots: 2 });
    await hub.saw('claim');
    hub.submit({ jobId: 'j1', payload: { output: 'a' } });
    hub.submit({ jobId: 'j2' });
    await began(2);
    hub.notify('cancel', { jobId: 'j2', reason: 'by request' });
    hub.cut();
    await hub.saw('hello', () => hub.bodies('hello').length === 2);
    // Each makes its folder first, so that either may begin before the other.
    runs.find(({ jobId }) => jobId === 'j1')?.finish();
    await hub.saw('complete');
    machine.drain('SIGTERM', 1_000);
    await machine.stopped;
    expect(machine.inspect.deadLetters().map(({ reason, to, event }) => `${reason} ${to} ${event}`)).toEqual(
      [],
    );
    expect(machine.inspect.counters()).toEqual({
      observerErrors: 0,
      orphansStopped: 0,
      depths: { requests: 0, sendBufferBytes: 0, notices: 0 },
    });
  });
});
