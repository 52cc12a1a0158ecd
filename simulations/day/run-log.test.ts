import { describe, expect, test } from 'vitest';
import { logOf, planOf, ranOnce } from './figures-fixture.ts';
import { DayLog } from './run-log.ts';

const plan = planOf({
  jobs: [{ id: 'j1' }, { id: 'j2' }],
  machines: [{ id: 'm1' }, { id: 'm2' }],
  models: [{ id: 'sdxl', kind: 'checkpoint', bytes: 1_000, vramMb: 8_000 }],
});

describe('DayLog', () => {
  test('a job that is claimed again has lost its open execution', () => {
    const log = logOf(
      plan,
      [
        { atMs: 0, tell: 'up', machine: 'm1' },
        { atMs: 0, tell: 'up', machine: 'm2' },
        { atMs: 0, tell: 'accepted', job: 'j1' },
        { atMs: 1, tell: 'claimed', job: 'j1', machine: 'm1' },
        { atMs: 9, tell: 'claimed', job: 'j1', machine: 'm2' },
      ],
      10,
    );
    expect(log.jobs[0]!.executions.map((run) => [run.machine.planned.id, run.endedMs, run.outcome])).toEqual([
      ['m1', 9, 'lost'],
      ['m2', null, null],
    ]);
  });

  test('a run that starts has its models ready', () => {
    const log = logOf(
      plan,
      [
        { atMs: 0, tell: 'up', machine: 'm1' },
        ...ranOnce('j1', 'm1', { atMs: 0, claimedMs: 2, readyMs: 5, endMs: 9 }),
      ],
      10,
    );
    expect(log.jobs[0]!.executions[0]).toMatchObject({ modelsReadyMs: 5, startedMs: 5, endedMs: 9 });
  });

  test('what a machine says after it lost the job is counted and changes nothing', () => {
    const log = logOf(
      plan,
      [
        { atMs: 0, tell: 'up', machine: 'm1' },
        { atMs: 0, tell: 'accepted', job: 'j1' },
        { atMs: 1, tell: 'claimed', job: 'j1', machine: 'm1' },
        { atMs: 5, tell: 'runLost', job: 'j1', outcome: 'released' },
        { atMs: 7, tell: 'ranOut', job: 'j1', machine: 'm1', outcome: 'succeeded' },
        { atMs: 8, tell: 'runLost', job: 'j1', outcome: 'lost' },
      ],
      10,
    );
    expect(log.lateWords).toBe(1);
    expect(log.jobs[0]!.executions[0]).toMatchObject({ endedMs: 5, outcome: 'released' });
  });

  test('a job that dies while it runs has lost its execution', () => {
    const log = logOf(
      plan,
      [
        { atMs: 0, tell: 'up', machine: 'm1' },
        { atMs: 0, tell: 'accepted', job: 'j1' },
        { atMs: 1, tell: 'claimed', job: 'j1', machine: 'm1' },
        { atMs: 5, tell: 'ended', job: 'j1', as: 'dead' },
      ],
      10,
    );
    expect(log.jobs[0]!.executions[0]).toMatchObject({ endedMs: 5, outcome: 'lost' });
  });

  test.each<[string, (log: DayLog) => void, RegExp]>([
    ['a job outside the plan', (log) => log.jobAccepted('j9', 1), /job j9 is not in the plan/],
    ['a job accepted twice', (log) => log.jobAccepted('j1', 1), /job j1 was accepted twice/],
    ['a job never accepted', (log) => log.claimed('j2', 'm1', 1), /job j2 was never accepted/],
    ['a machine outside the plan', (log) => log.machineStarted('m9', 1), /machine m9 is not in the plan/],
    ['a machine started twice', (log) => log.machineStarted('m1', 1), /machine m1 started twice/],
    [
      'a claim by a machine that never started',
      (log) => log.claimed('j1', 'm2', 1),
      /machine m2 never started/,
    ],
    ['a run without a claim', (log) => log.runStarted('j1', 'm1', 1), /job j1 was never claimed/],
    ['a model outside the plan', (log) => log.modelLoaded('m1', 'flux', 1), /model flux is not in the plan/],
    [
      'two ends of a job',
      (log) => {
        log.jobEnded('j1', 1, 'cancelled');
        log.jobEnded('j1', 1, 'succeeded');
      },
      /job j1 ended twice, cancelled and succeeded/,
    ],
    [
      'a claim after the end',
      (log) => {
        log.jobEnded('j1', 1, 'cancelled');
        log.claimed('j1', 'm1', 1);
      },
      /job j1 was claimed after its end/,
    ],
    [
      'two ends of a machine',
      (log) => {
        log.machineEnded('m1', 1, 'lost');
        log.machineEnded('m1', 1, 'lost');
      },
      /machine m1 ended twice/,
    ],
    ['time that goes back', (log) => log.machineDraining('m1', -1), /went back from 0 to -1 ms/],
    [
      'a word after the close',
      (log) => {
        log.close(2);
        log.claimed('j1', 'm1', 3);
      },
      /the log is closed/,
    ],
  ])('%s is refused', (_name, act, message) => {
    const log = new DayLog(plan);
    log.machineStarted('m1', 0);
    log.jobAccepted('j1', 0);
    expect(() => act(log)).toThrow(message);
  });
});
