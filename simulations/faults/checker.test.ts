import { describe, expect, test } from 'vitest';
import { checkHistory, type Verdict } from './checker.ts';
import { type HistoryLine, historyFormat, parseHistory } from './history.ts';

/** Planted histories: each count is seen above zero once, because a checker that cannot fail is worse than none. */

const meta: HistoryLine = {
  kind: 'meta',
  format: historyFormat,
  fault: 'planted',
  run: 1,
  seed: 1,
  jobs: 1,
  startedAtMs: 0,
  versions: {},
  settings: {},
};

type Answer = 'ok' | 'fail' | 'info';

class Planted {
  readonly lines: HistoryLine[] = [meta];
  #seq = 0;
  #call = 0;

  op(op: 'submit' | 'get' | 'cancel' | 'requeue', jobId: string, type: Answer | null, state?: string): this {
    this.#call += 1;
    const base = { kind: 'op', tMs: this.#call, client: 'c', call: this.#call, op, jobId } as const;
    this.lines.push({ ...base, type: 'invoke', ...(op === 'submit' ? { outputs: 1 } : {}) });
    if (type !== null) this.lines.push({ ...base, type, ...(state === undefined ? {} : { state }) });
    return this;
  }

  event(type: string, jobId: string, token: string | null = null, extra: Record<string, string> = {}): this {
    this.#seq += 1;
    const data = { ...(token === null ? {} : { token }), ...extra };
    this.lines.push({
      kind: 'event',
      seq: this.#seq,
      type,
      jobId,
      machineId: null,
      atMs: this.#seq * 10,
      data,
    });
    return this;
  }

  run(jobId: string, token: string, outcome: string, run = 1): this {
    this.lines.push({ kind: 'run', jobId, run, token, machineId: 'm', outcome, counted: false });
    return this;
  }

  effect(jobId: string, token: string): this {
    this.lines.push({ kind: 'effect', jobId, token, name: 'output-0.bin', bytes: 1, atMs: 0 });
    return this;
  }

  job(jobId: string, state: 'succeeded' | 'waiting' | 'cancelled' | 'dead', token: string | null): this {
    const outputs =
      state === 'succeeded' && token !== null ? [`results/${jobId}/${token}/output-0.bin`] : null;
    this.lines.push({
      kind: 'job',
      jobId,
      state,
      apiState: state,
      attempts: 0,
      runs: 1,
      token,
      fenceFloor: '0',
      outputs,
      reason: null,
    });
    return this;
  }

  /** A job that was accepted and succeeded as it should. */
  good(jobId: string, submit: Answer = 'ok'): this {
    return this.op('submit', jobId, submit)
      .event('job.submitted', jobId)
      .event('job.leased', jobId, '5')
      .event('job.succeeded', jobId, '5')
      .run(jobId, '5', 'succeeded')
      .effect(jobId, '5')
      .job(jobId, 'succeeded', '5');
  }

  nemesis(action: 'inject' | 'heal', atMs: number): this {
    this.lines.push({ kind: 'nemesis', tMs: 0, atMs, action, number: 1, detail: 'x' });
    return this;
  }

  check(outcome: 'settled' | 'timeout' = 'settled'): Verdict {
    const end = { kind: 'end', tMs: 9, atMs: 9, outcome, detail: '', lines: this.lines.length } as const;
    // Through text, as a published file would come.
    const content = [...this.lines, end].map((line) => JSON.stringify(line)).join('\n');
    return checkHistory(parseHistory(content));
  }
}

const planted = () => new Planted();

/** Numbers of findings by count. */
const counts = ({
  lost,
  unexpected,
  duplicated,
  staleWrites,
  contradicted,
  recovered,
  absent,
  ok,
}: Verdict) => ({
  lost: lost.length,
  unexpected: unexpected.length,
  duplicated: duplicated.length,
  staleWrites: staleWrites.length,
  contradicted: contradicted.length,
  recovered,
  absent,
  ok,
});
const clean = {
  lost: 0,
  unexpected: 0,
  duplicated: 0,
  staleWrites: 0,
  contradicted: 0,
  recovered: 0,
  absent: 0,
  ok: true,
};
const bad = { ...clean, ok: false };

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
    ['an end that no event tells', planted().op('submit', 'a', 'ok').job('a', 'dead', null)],
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
    .event('job.cancelled', 'a')
    .event('job.dead', 'a')
    .job('a', 'dead', null);
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
      .op('get', 'a', 'ok', 'dead')
      .op('requeue', 'a', 'ok')
      .event('job.dead', 'a')
      .event('job.requeued', 'a', null, { fenceFloor: '9' })
      .event('job.cancelled', 'a')
      .job('a', 'cancelled', null);
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

describe('a file that is no history is refused by line', () => {
  const text = (lines: unknown[]) => lines.map((line) => JSON.stringify(line)).join('\n');
  const end = { kind: 'end', tMs: 1, atMs: 1, outcome: 'settled', detail: '', lines: 1 };
  test.each([
    ['nothing', '', 'line 1 is not a meta line'],
    ['no JSON', '{', 'line 1 is not JSON'],
    ['no end', text([meta]), 'line 1 is not an end line'],
    ['an unknown kind', text([meta, { kind: 'rumour' }, end]), 'line 2'],
    ['a wrong field', text([{ ...meta, seed: 'x' }, end]), 'line 1/seed'],
    ['another format', text([{ ...meta, format: 2 }, end]), 'line 1/format'],
    ['lines taken out', text([meta, { ...end, lines: 3 }]), 'line 2/lines says 3'],
  ])('%s', (_name, content, message) => {
    expect(() => parseHistory(content)).toThrow(message);
  });
});
