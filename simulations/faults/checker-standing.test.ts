import { describe, expect, test } from 'vitest';
import { openSubmits } from './checker.ts';
import { bad, clean, counts, type Planted, planted } from './planted-history.fixture.ts';

/** Histories of runs that were made on a cluster which had seen runs before. */

const later = (afterSeq: number): Planted => planted().begin({ run: 2, runsBefore: 1, afterSeq });

test('events go on where those of the run before ended', () => {
  expect(counts(later(40).good('a').check())).toEqual(clean);
});

test('a first event that was taken out is a gap', () => {
  const history = later(40).good('a');
  history.lines.splice(
    history.lines.findIndex((line) => line.kind === 'event'),
    1,
  );
  expect(history.check()).toMatchObject({
    contradicted: [{ why: 'event 41 has the number 42' }],
    ok: false,
  });
});

test.each([
  ['a second completion', 'job.succeeded'],
  ['a requeue that nobody asked for', 'job.requeued'],
  ['a claim', 'job.leased'],
])('%s of a job of a run before is unexpected', (_name, type) => {
  const history = later(40).good('a').event(type, 'chaos-1-7', '5');
  expect(history.check()).toMatchObject({ unexpected: [{ jobId: 'chaos-1-7' }], ok: false });
});

test('a claim that was copied late changed nothing', () => {
  const history = later(40).good('a').event('job.leased', 'chaos-1-7', '5', { late: true });
  expect(counts(history.check())).toEqual(clean);
});

test('a late claim does not make a job of this run whole', () => {
  const history = later(40).op('submit', 'a', 'ok').event('job.leased', 'a', '5', { late: true });
  expect(counts(history.check())).toEqual({ ...bad, lost: 1 });
});

describe('a submit of the run before, without answer and row', () => {
  const carried = () => later(40).earlier('chaos-1-8');

  test('is not counted again where nothing came of it, nor taken along a second time', () => {
    const history = carried().good('a');
    expect(history.check()).toMatchObject({ submits: { attempted: 1 }, absent: 0, ok: true });
    expect(openSubmits(history.lines)).toEqual([]);
  });

  const failed = () => {
    const error = { code: 'JOB_FAILED', message: 'why', retryable: false };
    return carried().event('job.submitted', 'chaos-1-8').event('job.failed', 'chaos-1-8', '5', { error });
  };

  test('is recovered when it comes and ends', () => {
    expect(counts(failed().job('chaos-1-8', 'failed', '5').check())).toEqual({ ...clean, recovered: 1 });
  });

  test('is held to what its payload asks for, as the run before told it', () => {
    const history = failed().job('chaos-1-8', 'failed', '5');
    for (const line of history.lines) if (line.kind === 'op') line.failWith = 'none';
    expect(counts(history.check())).toEqual({ ...bad, recovered: 1, wrongEnds: 1 });
  });

  test('is lost when it comes and does not end', () => {
    const history = carried().event('job.submitted', 'chaos-1-8').job('chaos-1-8', 'waiting', null);
    expect(counts(history.check())).toEqual({ ...bad, lost: 1 });
  });
});

test('the submits that the next run must look out for are those without answer and row', () => {
  const history = planted().good('a').good('b', 'info').op('submit', 'c', null).op('submit', 'd', 'info');
  expect(openSubmits(history.op('submit', 'e', 'fail').lines).map(({ jobId }) => jobId)).toEqual(['c', 'd']);
});
