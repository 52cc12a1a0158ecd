import { describe, expect, test } from 'vitest';
import { bad, clean, counts, type Planted, planted } from './planted-history.fixture.ts';

const accepted = () => planted().op('submit', 'a', 'ok').event('job.submitted', 'a');
const cancelled = (history: Planted) => history.event('job.cancelled', 'a').job('a', 'cancelled', null);
const failed = (history: Planted, code: string) =>
  history
    .event('job.failed', 'a', '5', { error: { code, message: 'why', retryable: false } })
    .run('a', '5', 'failed')
    .job('a', 'failed', '5');
/** Dead after these counted runs, of two attempts. */
const dead = (history: Planted, counted: number, uncounted = 0) => {
  for (let run = 1; run <= counted + uncounted; run++)
    history.run('a', String(run), run <= counted ? 'expired' : 'released', run, run <= counted);
  return history.event('job.dead', 'a').job('a', 'dead', '5', counted);
};
/** A life that a cancel ended, and the next one. */
const requeued = (history: Planted) =>
  history.event('job.cancelled', 'a').event('job.requeued', 'a', null, { fenceFloor: '9' });
const succeeded = (history: Planted) =>
  history
    .event('job.leased', 'a', '12')
    .event('job.succeeded', 'a', '12')
    .run('a', '12', 'succeeded')
    .effect('a', '12')
    .job('a', 'succeeded', '12');

const why = (history: Planted) => history.check().wrongEnds.map((finding) => finding.why);

describe('cancelled', () => {
  test('is a wrong end where nobody asked for it', () => {
    expect(counts(cancelled(accepted()).check())).toEqual({ ...bad, wrongEnds: 1 });
    expect(why(cancelled(accepted()))).toEqual(['it was cancelled, and nobody asked for that']);
  });

  test.each(['ok', 'info', null] as const)('is explained by a cancel that was answered %s', (answer) => {
    expect(counts(cancelled(accepted().op('cancel', 'a', answer)).check())).toEqual(clean);
  });

  test('is not explained by a cancel that was refused for certain, nor by one of another job', () => {
    const history = accepted().op('cancel', 'a', 'fail').op('cancel', 'b', 'ok');
    expect(why(cancelled(history))).toEqual(['it was cancelled, and nobody asked for that']);
  });

  test('of a requeued life is a wrong end without a cancel of that life', () => {
    const history = accepted().op('cancel', 'a', 'ok').op('requeue', 'a', 'ok');
    expect(why(cancelled(requeued(history)))).toEqual([
      'it was cancelled, and nobody asked for that, in life 2',
    ]);
  });

  test.each<[string, Planted]>([
    [
      'sent after the requeue was acknowledged',
      accepted().op('cancel', 'a', 'ok').op('requeue', 'a', 'ok').op('cancel', 'a', 'ok'),
    ],
    [
      'of which nobody knows, so that it may have come late',
      accepted().op('cancel', 'a', 'info').op('requeue', 'a', 'ok'),
    ],
  ])('of a requeued life is explained by a cancel %s', (_name, history) => {
    expect(counts(cancelled(requeued(history)).check())).toEqual(clean);
  });

  test('of the first life is not explained by a cancel that was sent in the second', () => {
    const history = accepted().op('requeue', 'a', 'ok').op('cancel', 'a', 'ok');
    expect(why(succeeded(requeued(history)))).toEqual(['it was cancelled, and nobody asked for that']);
  });
});

describe('failed', () => {
  test('is explained by a payload that asked for it', () => {
    const history = planted().asks({ failWith: 'permanent' }).op('submit', 'a', 'ok');
    expect(counts(failed(history, 'JOB_FAILED').check())).toEqual(clean);
  });

  test.each<[string, Planted, string]>([
    ['where the payload asked for success', accepted(), 'JOB_FAILED'],
    ['of a job that the hub had no room for', accepted(), 'INBOX_FULL'],
    [
      'with another code than was asked for',
      planted().asks({ failWith: 'permanent' }).op('submit', 'a', 'ok'),
      'INBOX_FULL',
    ],
    [
      'where a failure that passes was asked for',
      planted().asks({ failWith: 'retryable' }).op('submit', 'a', 'ok'),
      'JOB_FAILED',
    ],
    ['where the history does not tell', planted().asks({}).op('submit', 'a', 'ok'), 'INBOX_FULL'],
  ])('is a wrong end %s', (_name, history, code) => {
    const verdict = failed(history, code).check();
    expect(counts(verdict)).toEqual({ ...bad, wrongEnds: 1 });
    expect(verdict.wrongEnds[0]?.why).toContain(`it failed with ${code}`);
  });

  test('is believed of a payload where the history does not tell', () => {
    expect(counts(failed(planted().asks({}).op('submit', 'a', 'ok'), 'JOB_FAILED').check())).toEqual(clean);
  });

  test('is a wrong end after a cancel was noted, which wins', () => {
    const history = planted()
      .asks({ failWith: 'permanent' })
      .op('submit', 'a', 'ok')
      .op('cancel', 'a', 'ok', 'requested');
    expect(why(failed(history.event('job.cancel_requested', 'a'), 'JOB_FAILED'))).toEqual([
      'it failed after its cancel was noted',
    ]);
  });

  test('before a cancel was noted is what it was asked for', () => {
    const history = planted()
      .asks({ failWith: 'permanent' })
      .op('submit', 'a', 'ok')
      .op('cancel', 'a', 'info');
    expect(counts(failed(history, 'JOB_FAILED').event('job.cancel_requested', 'a').check())).toEqual(clean);
  });
});

test('a success is a wrong end where the payload asked for a failure', () => {
  const history = planted().asks({ failWith: 'permanent' }).op('submit', 'a', 'ok');
  expect(why(succeeded(history))).toEqual(['it succeeded, its payload asked for a failure']);
});

test.each(['none', 'retryable'] as const)('a success is what a payload asks for with %s', (failWith) => {
  expect(counts(succeeded(planted().asks({ failWith }).op('submit', 'a', 'ok')).check())).toEqual(clean);
});

describe('dead', () => {
  test('is explained by counted runs that used up its attempts', () => {
    expect(counts(dead(accepted(), 2).check())).toEqual(clean);
  });

  test('is a wrong end before that', () => {
    expect(counts(dead(accepted(), 1, 4).check())).toEqual({ ...bad, wrongEnds: 1 });
    expect(why(dead(accepted(), 1, 4))).toEqual(['it is dead after 1 counted runs of 2']);
  });

  test('is explained by twenty runs, counted or not', () => {
    expect(counts(dead(accepted(), 1, 19).check())).toEqual(clean);
    expect(why(dead(accepted(), 1, 18))).toHaveLength(1);
  });

  test('is a wrong end after a cancel was noted, which wins', () => {
    const history = accepted().op('cancel', 'a', 'ok', 'requested').event('job.cancel_requested', 'a');
    expect(why(dead(history, 2))).toEqual(['it is dead after its cancel was noted']);
  });

  test('of a requeued life is not explained by runs of the life before', () => {
    const history = requeued(accepted().op('cancel', 'a', 'ok').op('requeue', 'a', 'ok'));
    history.run('a', '5', 'expired', 1, true).run('a', '12', 'expired', 2, true);
    expect(why(history.event('job.dead', 'a').job('a', 'dead', '12', 1))).toEqual([
      'it is dead after 1 counted runs of 2, in life 2',
    ]);
  });

  test('takes twelve attempts where the history does not tell', () => {
    expect(why(dead(planted().asks({}).op('submit', 'a', 'ok'), 11))).toHaveLength(1);
    expect(why(dead(planted().asks({}).op('submit', 'a', 'ok'), 12))).toEqual([]);
  });
});

test('attempts that are not the counted runs of the last life are a finding', () => {
  expect(why(dead(accepted(), 2).job('a', 'dead', '5', 3))).toEqual([
    'its row says 3 attempts, 2 runs were counted',
  ]);
});

describe('a life', () => {
  test.each(['ok', 'info', null] as const)('may begin by a requeue that was answered %s', (answer) => {
    const history = requeued(accepted().op('cancel', 'a', 'ok').op('requeue', 'a', answer));
    expect(counts(succeeded(history).check())).toEqual(clean);
  });

  test.each<[string, (history: Planted) => Planted]>([
    ['nobody asked for', (history) => history],
    ['was refused', (history) => history.op('requeue', 'a', 'fail')],
  ])('may not begin by a requeue that %s', (_name, call) => {
    const history = requeued(call(accepted().op('cancel', 'a', 'ok')));
    expect(why(succeeded(history))).toEqual(['it was requeued 1 times, by 0 requests']);
  });

  test('must begin by a requeue that was acknowledged', () => {
    const history = accepted().op('cancel', 'a', 'ok').op('requeue', 'a', 'ok');
    expect(why(cancelled(history))).toEqual(['1 requeues were acknowledged, 0 took place']);
  });

  test.each(['info', 'fail', null] as const)('need not begin by a requeue that was answered %s', (answer) => {
    const history = accepted().op('cancel', 'a', 'ok').op('requeue', 'a', answer);
    expect(counts(cancelled(history).check())).toEqual(clean);
  });

  test('may not begin before the end of the one before', () => {
    const history = accepted().op('requeue', 'a', 'ok').event('job.requeued', 'a', null, { fenceFloor: '9' });
    expect(why(succeeded(history))).toEqual(['it was requeued before it had ended']);
  });

  test('may not begin after a success', () => {
    const history = accepted()
      .op('requeue', 'a', 'ok')
      .op('cancel', 'a', 'ok')
      .event('job.succeeded', 'a', '5');
    history.event('job.requeued', 'a', null, { fenceFloor: '9' });
    expect(why(cancelled(history))).toEqual(['it was requeued after it had succeeded']);
  });
});

describe('an answer that told an end', () => {
  const told = (history: Planted) => history.check().contradicted.map((finding) => finding.why);

  test('is a contradiction on a job whose requeue was refused', () => {
    const history = accepted().op('get', 'a', 'ok', 'dead').op('requeue', 'a', 'fail');
    expect(told(succeeded(history))).toEqual(['get answered dead, it ended succeeded']);
  });

  test('is a contradiction where no life had that end', () => {
    const history = accepted().op('cancel', 'a', 'ok').op('get', 'a', 'ok', 'dead').op('requeue', 'a', 'ok');
    expect(told(succeeded(requeued(history)))).toEqual(['get answered dead, it ended cancelled']);
  });

  test('is a contradiction where only a life before had that end', () => {
    const history = accepted()
      .op('cancel', 'a', 'ok')
      .op('requeue', 'a', 'ok')
      .op('get', 'a', 'ok', 'cancelled');
    expect(told(succeeded(requeued(history)))).toEqual(['get answered cancelled, it ended succeeded']);
  });

  test('is none where a requeue was refused before, and another took place after it', () => {
    const history = accepted().op('cancel', 'a', 'ok', 'requested').op('requeue', 'a', 'fail');
    history.op('get', 'a', 'ok', 'cancelled').op('requeue', 'a', 'ok');
    expect(told(succeeded(requeued(history)))).toEqual([]);
  });

  test('is held to the last life where an acknowledged requeue began none', () => {
    const history = accepted()
      .op('cancel', 'a', 'ok')
      .op('requeue', 'a', 'ok')
      .op('get', 'a', 'ok', 'cancelled');
    expect(counts(cancelled(history).check())).toEqual({ ...bad, wrongEnds: 1 });
  });

  test('may be that of either life while nobody knows whether the requeue took place', () => {
    const asked = () => accepted().op('cancel', 'a', 'ok').op('requeue', 'a', 'info');
    expect(told(succeeded(requeued(asked().op('get', 'a', 'ok', 'cancelled'))))).toEqual([]);
    expect(told(succeeded(requeued(asked().op('get', 'a', 'ok', 'succeeded'))))).toEqual([]);
  });
});

test('ends of a job that was refused are unexpected, not wrong', () => {
  const history = cancelled(planted().op('submit', 'a', 'fail'));
  expect(history.check()).toMatchObject({ unexpected: [{ jobId: 'a' }], wrongEnds: [] });
});

test('a submit that nobody knows the end of and that was accepted is held to its payload', () => {
  const history = planted().op('submit', 'a', 'info').event('job.submitted', 'a');
  expect(counts(cancelled(history).check())).toEqual({ ...bad, recovered: 1, wrongEnds: 1 });
});
