import { expect, test } from 'vitest';
import type { JobRun, JobState, JobTransition } from '#protocol/job.ts';
import { lastWait, waitedMs, waitsOf } from './job-waits.ts';

type Step = [operation: JobTransition['operation'], to: JobState, atMs: number, token?: string];

/** A job submitted at 100 whose state changed so; `runs` by token with their start. */
function waits(steps: Step[], more: { notBeforeMs?: number; runs?: Record<string, number> } = {}) {
  let from: JobState | null = null;
  const submit: Step = ['submit', more.notBeforeMs === undefined ? 'waiting' : 'scheduled', 100];
  const transitions = [submit, ...steps].map(([operation, to, atMs, token = null]): JobTransition => {
    const change = { jobId: 'j', from, to, operation, actor: 'x', reason: null, token, atMs };
    from = to;
    return change;
  });
  const runs = Object.entries(more.runs ?? {}).map(
    ([token, startedAtMs]) => ({ token, startedAtMs }) as JobRun,
  );
  return waitsOf({ job: { submittedAtMs: 100, notBeforeMs: more.notBeforeMs ?? null }, transitions, runs });
}

const wait = (sinceMs: number, untilMs: number | null = null, token: string | null = null) => ({
  sinceMs,
  untilMs,
  token,
});

test('a job waits from its submit to its claim, and has done so when it has ended', () => {
  expect(waits([])).toEqual([wait(100)]);
  expect(waits([['claim', 'leased', 150, '1']])).toEqual([wait(100, 150, '1')]);
  expect(
    waits([
      ['claim', 'leased', 150, '1'],
      ['complete', 'succeeded', 190, '1'],
    ]),
  ).toEqual([wait(100, 150, '1')]);
});

test('a requeue begins another wait, whether the life before it had a run or none', () => {
  expect(
    waits([
      ['cancel', 'cancelled', 150],
      ['requeue', 'waiting', 500],
    ]),
  ).toEqual([wait(100, 150), wait(500)]);
  expect(
    waits([
      ['claim', 'leased', 150, '1'],
      ['fail', 'failed', 160, '1'],
      ['requeue', 'waiting', 500, '1'],
      ['claim', 'leased', 510, '9'],
    ]),
  ).toEqual([wait(100, 150, '1'), wait(500, 510, '9')]);
});

test.each(['fail', 'release', 'expire'] as const)(
  'what %s puts back into line waits from then',
  (operation) => {
    expect(
      waits([
        ['claim', 'leased', 150, '1'],
        [operation, 'waiting', 300, '1'],
      ]),
    ).toEqual([wait(100, 150, '1'), wait(300)]);
  },
);

test('a try that is due later waits from when it is due', () => {
  const steps: Step[] = [
    ['claim', 'leased', 150, '1'],
    ['fail', 'scheduled', 200, '1'],
  ];
  const before = lastWait(waits(steps, { notBeforeMs: 700 }));
  expect(before).toEqual(wait(700));
  expect([waitedMs(before, 300), waitedMs(before, 710)]).toEqual([0, 10]);
  const due: Step[] = [...steps, ['promote', 'waiting', 705]];
  expect(lastWait(waits(due, { notBeforeMs: 700 }))).toEqual(wait(705));
  const again: Step[] = [...due, ['claim', 'leased', 750, '2'], ['fail', 'scheduled', 800, '2']];
  expect(waits(again, { notBeforeMs: 2_000 })).toEqual([
    wait(100, 150, '1'),
    wait(705, 750, '2'),
    wait(2_000),
  ]);
});

test('a submission with a time waits from that time, also where its promotion was not recorded', () => {
  expect(waits([['claim', 'leased', 400, '1']], { notBeforeMs: 300 })).toEqual([wait(300, 400, '1')]);
});

test.each([
  ['cancel', 'cancelled'],
  ['ttl', 'dead'],
] as const)('a job that ends by %s before it is due has not waited', (operation, state) => {
  const ended = lastWait(waits([[operation, state, 200]], { notBeforeMs: 900 }));
  expect(waitedMs(ended, 5_000)).toBe(0);
});

test('time that a limit holds a job is part of its wait, and a run that was taken back does not end it', () => {
  expect(
    waits([
      ['claim', 'leased', 150, '1'],
      ['withhold', 'held', 151, '1'],
      ['admit', 'waiting', 400],
    ]),
  ).toEqual([wait(100)]);
  expect(
    waits([
      ['claim', 'leased', 150, '1'],
      ['withhold', 'cancelled', 151, '1'],
    ]),
  ).toEqual([wait(100, 151)]);
});

test('a run whose claim was not recorded ends the wait when it began', () => {
  expect(waits([['complete', 'succeeded', 190, '1']], { runs: { 1: 170 } })).toEqual([wait(100, 170, '1')]);
  expect(waits([['fail', 'waiting', 190, '1']])).toEqual([wait(100, 190, '1'), wait(190)]);
});
