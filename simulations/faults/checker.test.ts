import { describe, expect, test } from 'vitest';
import { bad, clean, counts, type Planted, planted } from './planted-history.fixture.ts';

test('a history in which everything ended once is clean', () => {
  const verdict = planted().good('a').good('b').check();
  expect(counts(verdict)).toEqual(clean);
  expect(verdict).toMatchObject({
    submits: { attempted: 2, acknowledged: 2, refused: 0, unknown: 0 },
    states: { succeeded: 2 },
    wastedRuns: 0,
  });
});

describe('lost', () => {
  test.each<[string, Planted]>([
    ['an acknowledged job without a row', planted().op('submit', 'a', 'ok')],
    [
      'one that never ended',
      planted().op('submit', 'a', 'ok').event('job.submitted', 'a').job('a', 'waiting', null),
    ],
    ['an end that no event tells', planted().op('submit', 'a', 'ok').job('a', 'cancelled', null)],
    [
      'a success without a run',
      planted()
        .op('submit', 'a', 'ok')
        .event('job.succeeded', 'a', '5')
        .effect('a', '5')
        .job('a', 'succeeded', '5'),
    ],
    [
      'a result whose file is not there',
      planted()
        .op('submit', 'a', 'ok')
        .event('job.succeeded', 'a', '5')
        .run('a', '5', 'succeeded')
        .job('a', 'succeeded', '5'),
    ],
    [
      'a requeued job that did not end again',
      planted()
        .op('submit', 'a', 'ok')
        .op('cancel', 'a', 'ok', 'requested')
        .op('requeue', 'a', 'ok')
        .event('job.cancelled', 'a')
        .event('job.requeued', 'a', null, { fenceFloor: '9' })
        .job('a', 'cancelled', null),
    ],
  ])('%s', (_name, history) => {
    expect(counts(history.check())).toEqual({ ...bad, lost: 1 });
  });
});

test.each<[string, Planted]>([
  ['a job that nobody submitted', planted().event('job.submitted', 'a').job('a', 'cancelled', null)],
  ['files of a job that nobody submitted', planted().effect('a', '5')],
  ['a job whose submit was refused', planted().op('submit', 'a', 'fail').event('job.submitted', 'a')],
  ['files of a job without a row', planted().op('submit', 'a', 'info').effect('a', '5')],
])('unexpected: %s', (_name, history) => {
  expect(history.check()).toMatchObject({ unexpected: [{ jobId: 'a' }], ok: false });
});

test('duplicated: two completions of one job', () => {
  const verdict = planted().good('a').event('job.succeeded', 'a', '5').check();
  expect(counts(verdict)).toEqual({ ...bad, duplicated: 1 });
});

test('duplicated: two runs that succeeded', () => {
  expect(counts(planted().good('a').run('a', '6', 'succeeded', 2).check())).toEqual({
    ...bad,
    duplicated: 1,
  });
});

test('duplicated: an end after an end without a requeue', () => {
  const history = planted()
    .op('submit', 'a', 'ok')
    .op('cancel', 'a', 'info')
    .event('job.cancelled', 'a')
    .event('job.cancelled', 'a')
    .job('a', 'cancelled', null);
  expect(counts(history.check())).toEqual({ ...bad, duplicated: 1 });
});

test('recovered: a submit without an answer whose job ended; absent: one that is not there', () => {
  const verdict = planted().good('a', 'info').op('submit', 'b', 'info').op('submit', 'c', null).check();
  expect(counts(verdict)).toEqual({ ...clean, recovered: 1, absent: 2 });
});

test('a refused submit that left nothing is no finding', () => {
  expect(counts(planted().op('submit', 'a', 'fail').check())).toEqual(clean);
});

test('a submit repeated after no answer counts once, as acknowledged', () => {
  const verdict = planted().op('submit', 'a', 'info').good('a').check();
  expect(verdict).toMatchObject({ submits: { attempted: 1, acknowledged: 1, unknown: 0 }, ok: true });
});

describe('stale writes', () => {
  test('a completion under a token that an expiry had shut out', () => {
    const history = planted()
      .op('submit', 'a', 'ok')
      .event('job.leased', 'a', '5')
      .event('job.expired', 'a', '5')
      .event('job.succeeded', 'a', '5')
      .run('a', '5', 'succeeded')
      .effect('a', '5')
      .job('a', 'succeeded', '5');
    expect(counts(history.check())).toEqual({ ...bad, staleWrites: 1 });
  });

  test('a token that did not rise', () => {
    const history = planted()
      .op('submit', 'a', 'ok')
      .op('cancel', 'a', 'info')
      .event('job.leased', 'a', '7')
      .event('job.released', 'a', '7')
      .event('job.leased', 'a', '6')
      .event('job.cancelled', 'a')
      .job('a', 'cancelled', '6');
    expect(counts(history.check())).toEqual({ ...bad, staleWrites: 1 });
  });

  test('a result of files that another token made', () => {
    const history = planted()
      .op('submit', 'a', 'ok')
      .event('job.succeeded', 'a', '8')
      .run('a', '5', 'succeeded')
      .effect('a', '5')
      .job('a', 'succeeded', '5');
    expect(counts(history.check())).toEqual({ ...bad, staleWrites: 1 });
  });
});

describe('contradicted', () => {
  test('an answer that told an end which did not stay', () => {
    expect(counts(planted().good('a').op('cancel', 'a', 'ok', 'cancelled').check())).toEqual({
      ...bad,
      contradicted: 1,
    });
  });

  test('an answer before a requeue may differ from the end', () => {
    const history = planted()
      .op('submit', 'a', 'ok')
      .op('cancel', 'a', 'ok', 'requested')
      .op('get', 'a', 'ok', 'cancelled')
      .op('requeue', 'a', 'ok', 'waiting')
      .event('job.cancelled', 'a')
      .event('job.requeued', 'a', null, { fenceFloor: '9' })
      .event('job.succeeded', 'a', '12')
      .run('a', '12', 'succeeded')
      .effect('a', '12')
      .job('a', 'succeeded', '12');
    expect(counts(history.check())).toEqual(clean);
  });

  test('a gap in the numbers of events', () => {
    const history = planted().good('a');
    history.lines.splice(
      history.lines.findIndex((line) => line.kind === 'event'),
      1,
    );
    expect(counts(history.check())).toEqual({ ...bad, contradicted: 1 });
  });
});

test('a run that could not be made is not ok, and says nothing of its jobs', () => {
  const verdict = planted().op('submit', 'a', 'ok').check('failed');
  expect(counts(verdict)).toEqual(bad);
  expect(verdict).toMatchObject({ settled: false, detail: 'a reason' });
});

test('a run that did not settle is not ok', () => {
  expect(planted().good('a').check('timeout')).toMatchObject({ settled: false, ok: false });
});

test('a run whose files were not committed is counted as wasted', () => {
  expect(planted().good('a').effect('a', '4').check()).toMatchObject({ wastedRuns: 1, ok: true });
});

test('recovery is measured from the heal to the next effect and to the last end', () => {
  const history = planted().nemesis('inject', 1).nemesis('heal', 12).good('a').good('b');
  expect(history.check()).toMatchObject({ injections: 1, firstEffectMs: 18, allEndedMs: 48 });
});

test('no effect after a heal leaves no recovery time', () => {
  expect(planted().good('a').nemesis('inject', 80).nemesis('heal', 90).check()).toMatchObject({
    firstEffectMs: null,
    allEndedMs: null,
  });
});

describe('rest', () => {
  test('a run whose stores were not at rest is not ok, and says what was left', () => {
    const verdict = planted().good('a').rests(['a is leased at m/1']).check();
    expect(counts(verdict)).toEqual(bad);
    expect(verdict).toMatchObject({ atRest: false, left: ['a is leased at m/1'] });
  });

  test('a run that settled and does not tell of it is not ok', () => {
    expect(planted().good('a').rests(null).check()).toMatchObject({ atRest: false, left: [], ok: false });
  });

  test('a history of the format before does not tell, and may be clean', () => {
    const verdict = planted().begin({ format: 2 }).good('a').rests(null).check();
    expect(verdict).toMatchObject({ atRest: null, ok: true });
  });

  test('nobody looks at the stores of a run that did not settle', () => {
    expect(planted().good('a').check('timeout')).toMatchObject({ atRest: null, ok: false });
  });
});
