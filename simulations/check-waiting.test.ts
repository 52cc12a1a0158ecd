import { describe, expect, test } from 'vitest';
import type { Job, JobState } from '#protocol/job.ts';
import { waitingBounded } from './check-waiting.ts';
import type { AuditView, Observation } from './observation.ts';

/** One history, told step by step: times are ms, and each step is judged as it is told. */
class History {
  nowMs = 0;
  #asks = 0;
  readonly #checker = waitingBounded({ nowMs: () => this.nowMs });

  tell(seen: object): this {
    this.#checker.observe?.(seen as Observation);
    return this;
  }

  pass(ms: number): this {
    this.nowMs += ms;
    return this;
  }

  records(process: string, method: string, args: unknown[], answer: unknown): this {
    return this.tell({ kind: 'records', process, method, args, answer });
  }

  limit(waiting: number | undefined, over: object = { customer: 'acme' }): this {
    return this.records('hub-1', 'putLimit', [{}], { name: 'l', waiting, ...over });
  }

  /** Returns its number through `numbers`. */
  ask(jobId: string, over: { process?: string; run?: string } = {}): number {
    const { process = 'hub-1', run = `${process}-1` } = over;
    this.tell({ kind: 'asked', ask: this.#asks, jobId, process, run });
    return this.#asks++;
  }

  count(answer: number, over: { process?: string; limit?: number; counted?: object } = {}): this {
    const { process = 'hub-1', limit = 100, counted = { customer: 'acme', pool: null, model: null } } = over;
    return this.records(process, 'countWaiting', [[{ ...counted, limit }]], [answer]);
  }

  stored(jobId: string, over: { process?: string; customer?: string } = {}): this {
    const { process = 'hub-1', customer = 'acme' } = over;
    const row = { id: jobId, customer, pool: 'p', affinity: '-' };
    return this.records(process, 'submitJobs', [[row], 0], [{ kind: 'created', job: row }]);
  }

  answered(ask: number, jobId: string, code: string | null = null): this {
    return this.tell({
      kind: 'answered',
      ask,
      jobId,
      refusal: code === null ? null : { code, retryable: true },
    });
  }

  /** Asked, stored and answered at once. */
  accept(jobId: string, over: { process?: string; run?: string; customer?: string } = {}): this {
    const ask = this.ask(jobId, over);
    return this.stored(jobId, over).answered(ask, jobId);
  }

  audit(jobs: { id: string; state: JobState }[], entries: string[] = []): this {
    const rows = jobs.map((job) => ({ ...job, customer: 'acme', pool: 'p', affinity: '-' })) as Job[];
    const broker = new Map(entries.map((id) => [id, {}]));
    this.#checker.audit?.({ jobs: rows, broker } as unknown as AuditView);
    return this;
  }
}

const known = (waiting: number) => new History().limit(waiting).pass(3_000);

describe('what a limit lets wait', () => {
  test('may be stored by each hub, as its own count has room', () => {
    expect(() => known(3).count(1).accept('a').accept('b')).not.toThrow();
    const two = known(3).count(1).count(1, { process: 'hub-2' });
    expect(() =>
      two.accept('a').accept('b').accept('c', { process: 'hub-2' }).accept('d', { process: 'hub-2' }),
    ).not.toThrow();
  });

  test('is exceeded by one row more of the same hub', () => {
    expect(() => known(3).count(1).accept('a').accept('b').accept('c')).toThrow(
      'hub-1 stored c under l, which lets 3 wait, with counts of 4',
    );
  });

  test('is exceeded where nothing was counted, or only something else, or too little', () => {
    const nothing = 'nothing that it has counted';
    expect(() => known(3).accept('a')).toThrow(nothing);
    expect(() => known(3).count(0, { process: 'hub-2' }).accept('a')).toThrow(nothing);
    const counted = { customer: 'birch', pool: null, model: null };
    expect(() => known(3).count(0, { counted }).accept('a')).toThrow(nothing);
    expect(() => known(3).count(2, { limit: 2 }).accept('a')).toThrow(nothing);
  });

  test('goes by a count of the second before the submission, not by an older one', () => {
    expect(() => known(3).count(0).pass(1_000).accept('a')).not.toThrow();
    expect(() => known(3).count(0).pass(1_001).accept('a')).toThrow('nothing that it has counted');
    const slow = known(3).count(0);
    const ask = slow.ask('a');
    expect(() => slow.pass(60_000).stored('a').answered(ask, 'a')).not.toThrow();
  });

  test('concerns what the limit counts only', () => {
    expect(() => known(0).accept('a', { customer: 'birch' })).not.toThrow();
    expect(() =>
      known(0)
        .records('hub-1', 'removeLimit', [{ name: 'l' }], true)
        .accept('a'),
    ).not.toThrow();
    expect(() => known(0).limit(undefined).pass(3_000).accept('a')).not.toThrow();
  });

  test('binds nobody who cannot know of it yet, and what was stored so takes no room of the others', () => {
    expect(() => new History().limit(0).pass(2_999).accept('a')).not.toThrow();
    const late = new History().limit(1).pass(2_000);
    const ask = late.ask('a');
    late.pass(1_000).count(0);
    expect(() => late.stored('a').answered(ask, 'a').accept('b')).not.toThrow();
    expect(() => late.accept('c')).toThrow('counts of 2');
  });

  test('is no matter of a process that has ended: what it still stores is not in the count of the next', () => {
    const fresh = known(1);
    fresh.ask('a', { run: 'hub-1-1' });
    expect(() => fresh.count(0).stored('a').accept('b', { run: 'hub-1-2' })).not.toThrow();
    const both = known(0);
    both.ask('a', { run: 'hub-1-1' });
    both.ask('a', { run: 'hub-1-2' });
    expect(() => both.stored('a')).not.toThrow();
  });
});

describe('a count', () => {
  test('of less than what waits for certain is found', () => {
    const two = () => new History().stored('a').stored('b');
    expect(() => two().count(2)).not.toThrow();
    expect(() => two().count(1)).toThrow('was told 1, and at least 2 wait');
    expect(() => two().count(1, { limit: 1 })).not.toThrow();
  });

  test('may leave out what was claimed or has ended, and must not leave out what came back', () => {
    const events = [{ kind: 'claimed', jobId: 'a' }];
    const claimed = () =>
      new History().stored('a').records('hub-1', 'recordBrokerEvents', [{ events }], { kind: 'ok' });
    expect(() => claimed().count(0)).not.toThrow();
    const back = (state: JobState, applied = true) =>
      claimed().records('hub-1', 'exitJob', [{ jobId: 'a' }], { kind: 'ok', applied, state });
    expect(() => back('waiting').count(0)).toThrow('at least 1 wait');
    expect(() => back('held').count(0)).toThrow('at least 1 wait');
    expect(() => back('dead').count(0)).not.toThrow();
    expect(() => back('waiting', false).count(0)).not.toThrow();
  });

  test('is held against what an audit has seen', () => {
    const seen = new History().audit([
      { id: 'a', state: 'scheduled' },
      { id: 'b', state: 'leased' },
    ]);
    expect(() => seen.count(1)).not.toThrow();
    expect(() => seen.count(0)).toThrow('at least 1 wait');
  });
});

describe('a refusal', () => {
  const refused = (history: History, jobId = 'a') =>
    history.answered(history.ask(jobId), jobId, 'QUEUE_FULL');

  test('leaves neither a row nor an entry of the broker', () => {
    expect(() => refused(new History()).audit([])).not.toThrow();
    expect(() => refused(new History()).audit([{ id: 'a', state: 'waiting' }])).toThrow(
      'refused and is there',
    );
    expect(() => refused(new History()).audit([], ['a'])).toThrow('refused and is there');
    expect(() => refused(new History()).stored('a')).toThrow('nobody waits for its answer');
    const history = new History();
    const ask = history.ask('a');
    expect(() => history.stored('a').answered(ask, 'a', 'QUEUE_FULL')).toThrow('that was refused');
  });

  test('of what another submission has stored is none where that was accepted before', () => {
    expect(() => refused(new History().accept('a'))).toThrow('accepted, and its repeat was refused');
    const beside = new History();
    const [first, second] = [beside.ask('a'), beside.ask('a', { process: 'hub-2' })];
    beside.stored('a').answered(first, 'a').answered(second, 'a', 'QUEUE_FULL');
    expect(() => beside.audit([{ id: 'a', state: 'waiting' }])).not.toThrow();
  });

  test('may be followed by an acceptance', () => {
    const history = refused(new History()).accept('a');
    expect(() => history.audit([{ id: 'a', state: 'succeeded' }])).not.toThrow();
  });

  test('for another reason says nothing of the row: its answer may have been lost', () => {
    const history = new History();
    const ask = history.ask('a');
    history.stored('a').answered(ask, 'a', 'RECORDS_UNAVAILABLE');
    expect(() => history.audit([{ id: 'a', state: 'waiting' }])).not.toThrow();
  });
});
