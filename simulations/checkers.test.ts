import { describe, expect, test } from 'vitest';
import type { BrokerStats, BrokerView } from '#protocol/broker.ts';
import type { Job, JobState } from '#protocol/job.ts';
import { storesAgree } from './check-agreement.ts';
import { attemptsCounted } from './check-attempts.ts';
import { drainingClaimsNothing } from './check-draining.ts';
import { noJobNowhere } from './check-nowhere.ts';
import { oneHolder } from './check-one-holder.ts';
import { noStaleWrite } from './check-stale-writes.ts';
import { terminalStays } from './check-terminal.ts';
import { tokensRise } from './check-tokens.ts';
import { CheckerSet } from './checkers.ts';
import type { AuditView, Checker, Observation } from './observation.ts';

const jobId = 'j1';

const claim = (token: string, machineId = 'm1') =>
  ({
    kind: 'broker',
    process: 'hub-1',
    method: 'claim',
    args: [{ machineId, incarnation: 1 }],
    answer: { kind: 'leased', lease: { jobId, token } },
  }) as unknown as Observation;

const exit = (
  token: string,
  options: {
    cause: string;
    fenceFloor: string;
    attempts: number;
    state?: JobState;
    applied?: boolean;
    retryable?: boolean;
  },
) =>
  ({
    kind: 'records',
    process: 'hub-1',
    method: 'exitJob',
    args: [{ jobId, token, cause: { kind: options.cause, error: { retryable: options.retryable ?? true } } }],
    answer: {
      kind: 'ok',
      applied: options.applied ?? true,
      state: options.state ?? 'waiting',
      fenceFloor: options.fenceFloor,
      attempts: options.attempts,
    },
  }) as unknown as Observation;

const complete = (token: string, kind: 'committed' | 'staleLease' = 'committed') =>
  ({
    kind: 'records',
    process: 'hub-1',
    method: 'completeJob',
    args: [{ jobId, token }],
    answer: { kind, fenceFloor: token },
  }) as unknown as Observation;

/** A page of open rows, as the reconciler reads it. */
const read = (state: JobState, process = 'hub-1') =>
  ({
    kind: 'records',
    process,
    method: 'openJobs',
    args: [{ after: null, limit: 1_000 }],
    answer: [{ id: jobId, state, fenceFloor: '1' }],
  }) as unknown as Observation;

const drive = (options: { ticket?: true } = {}) =>
  ({
    kind: 'broker',
    process: 'hub-1',
    method: 'submit',
    args: [{ entries: [{ jobId }], ...(options.ticket ? { ticket: { identity: 'i', nonce: 'n' } } : {}) }],
    answer: { kind: 'ok', answers: [{ kind: 'added', wake: null }] },
  }) as unknown as Observation;

const requeue = (fenceFloor: string) =>
  ({
    kind: 'records',
    process: 'hub-1',
    method: 'requeueJob',
    args: [{ jobId }],
    answer: { kind: 'requeued', job: { fenceFloor } },
  }) as unknown as Observation;

const job = (state: JobState, rest: Partial<Job> = {}) =>
  ({ id: jobId, state, attempts: 0, fenceFloor: '0', token: null, ...rest }) as Job;

const view = (
  jobs: Job[],
  entries: Partial<BrokerView>[] = [],
  rest: Partial<AuditView> = {},
): AuditView => ({
  jobs,
  broker: new Map(entries.map((entry) => [entry.jobId ?? jobId, entry as BrokerView])),
  stats: { waiting: 0, delayed: 0, leased: 0, groups: [], tombstones: 0 } as unknown as BrokerStats,
  brokerOpen: true,
  atRest: true,
  indexProblems: [],
  timelines: new Map(),
  events: 0,
  ...rest,
});

/** The message of the breach that the history ends with; null where there is none. */
function judge(checker: Checker, history: Observation[], audit?: AuditView): string | null {
  try {
    for (const seen of history) checker.observe?.(seen);
    if (audit) checker.audit?.(audit);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

describe('tokens rise', () => {
  test('a later claim with a higher token passes, the same answer again too', () => {
    expect(
      judge(tokensRise(), [
        claim('5'),
        claim('5'),
        exit('5', { cause: 'release', fenceFloor: '6', attempts: 0 }),
        claim('9'),
      ]),
    ).toBeNull();
  });
  test('I4: a claim with a lower token is a breach, also after a loss of the Broker', () => {
    expect(judge(tokensRise(), [claim('5'), { kind: 'brokerLost' }, claim('4')])).toContain(
      'claimed with 4 after 5',
    );
  });
  test('I4: a falling fence floor is a breach', () => {
    const history = [exit('5', { cause: 'expire', fenceFloor: '6', attempts: 1 })];
    expect(judge(tokensRise(), history, view([job('waiting', { fenceFloor: '3' })]))).toContain(
      'fell from 6 to 3',
    );
  });
});

describe('one holder', () => {
  test('a claim after a committed exit passes', () => {
    expect(
      judge(oneHolder(), [
        claim('5'),
        exit('5', { cause: 'expire', fenceFloor: '6', attempts: 1 }),
        claim('9', 'm2'),
      ]),
    ).toBeNull();
  });
  test('I3: a claim while another holds the job is a breach', () => {
    expect(judge(oneHolder(), [claim('5'), claim('9', 'm2')])).toContain('while m1/1 holds it');
  });
  test('I3: one token for two machines is a breach', () => {
    expect(judge(oneHolder(), [claim('5'), claim('5', 'm2')])).toContain('hold j1 with one token');
  });
  test('a Broker that lost its leases may hand out again', () => {
    expect(judge(oneHolder(), [claim('5'), { kind: 'brokerLost' }, claim('9', 'm2')])).toBeNull();
  });
});

describe('no stale write', () => {
  test('a completion at the floor with a granted token passes', () => {
    expect(
      judge(noStaleWrite(), [
        claim('5'),
        exit('5', { cause: 'fail', fenceFloor: '6', attempts: 1 }),
        claim('6'),
        complete('6'),
      ]),
    ).toBeNull();
  });
  test('I3: a completion below the floor is a breach', () => {
    expect(
      judge(noStaleWrite(), [
        claim('5'),
        exit('5', { cause: 'expire', fenceFloor: '6', attempts: 1 }),
        complete('5'),
      ]),
    ).toContain('below its floor 6');
  });
  test('I3: two completions of one job are a breach', () => {
    expect(judge(noStaleWrite(), [claim('5'), complete('5'), complete('5')])).toContain('after it had ended');
  });
  test('I3: a completion with a token that no claim granted is a breach', () => {
    expect(judge(noStaleWrite(), [claim('5'), complete('7')])).toContain('no claim granted');
  });
});

describe('terminal stays terminal', () => {
  test('an end and an audit that agrees pass, a requeue leaves the end', () => {
    const cancelled = exit('5', { cause: 'cancel', fenceFloor: '6', attempts: 0, state: 'cancelled' });
    expect(judge(terminalStays(), [cancelled, requeue('7')], view([job('waiting')]))).toBeNull();
  });
  test('I1: a job that ended twice in different ways is a breach', () => {
    const dead = exit('5', { cause: 'expire', fenceFloor: '6', attempts: 3, state: 'dead' });
    expect(judge(terminalStays(), [dead, complete('5')])).toContain('ended as dead and is succeeded now');
  });
  test('I1: a row that came back to life is a breach, and so is a requeue of a success', () => {
    expect(judge(terminalStays(), [complete('5')], view([job('waiting')]))).toContain(
      'ended as succeeded and is waiting now',
    );
    expect(judge(terminalStays(), [complete('5'), requeue('7')])).toContain('had succeeded and was requeued');
  });
  test('a row that was read before its end may still be driven, by who read it', () => {
    const history = [read('waiting'), complete('5'), drive()];
    expect(judge(terminalStays(), history)).toBeNull();
    const byAnother = [read('waiting', 'hub-2'), complete('5'), drive()];
    expect(judge(terminalStays(), byAnother)).toContain('ended as succeeded and was driven again');
  });
  test('I1: a row that had ended when it was read must not be driven, except in a reconcile', () => {
    expect(judge(terminalStays(), [read('waiting'), complete('5'), read('succeeded'), drive()])).toContain(
      'ended as succeeded and was driven again',
    );
    expect(judge(terminalStays(), [complete('5'), drive({ ticket: true })])).toBeNull();
  });
});

describe('attempts', () => {
  const release = exit('5', { cause: 'release', fenceFloor: '6', attempts: 0 });
  test('expiry counts once, release and late exits do not, a requeue starts anew', () => {
    const history = [
      release,
      exit('7', { cause: 'expire', fenceFloor: '8', attempts: 1 }),
      exit('7', { cause: 'fail', fenceFloor: '8', attempts: 1, applied: false }),
      requeue('9'),
      exit('10', { cause: 'fail', fenceFloor: '11', attempts: 1 }),
    ];
    expect(judge(attemptsCounted(), history, view([job('waiting', { attempts: 1 })]))).toBeNull();
  });
  test('a counted release, a counted late exit and an uncounted expiry are breaches', () => {
    expect(
      judge(attemptsCounted(), [exit('5', { cause: 'release', fenceFloor: '6', attempts: 1 })]),
    ).toContain('release of j1');
    expect(
      judge(attemptsCounted(), [
        release,
        exit('5', { cause: 'fail', fenceFloor: '6', attempts: 1, applied: false }),
      ]),
    ).toContain('late fail');
    expect(
      judge(attemptsCounted(), [exit('5', { cause: 'expire', fenceFloor: '6', attempts: 0 })]),
    ).toContain('expected 1');
  });
  test('an error that ends the job counts no attempt', () => {
    const failed = { cause: 'fail', fenceFloor: '6', state: 'failed', retryable: false } as const;
    expect(judge(attemptsCounted(), [exit('5', { ...failed, attempts: 0 })])).toBeNull();
    expect(judge(attemptsCounted(), [exit('5', { ...failed, attempts: 1 })])).toContain('expected 0');
  });
  test('a row that disagrees with its exits is a breach', () => {
    expect(judge(attemptsCounted(), [release], view([job('waiting', { attempts: 1 })]))).toContain(
      'the row of j1 says 1',
    );
  });
});

describe('no job is nowhere', () => {
  const accepted: Observation = { kind: 'accepted', jobId };
  const entry = { jobId, state: 'waiting' } as const;
  test('a row for each accepted job and for each entry passes', () => {
    expect(judge(noJobNowhere(), [accepted], view([job('waiting')], [entry]))).toBeNull();
  });
  test('I1: an accepted job without a row is a breach at any time', () => {
    expect(judge(noJobNowhere(), [accepted], view([], [], { atRest: false }))).toContain(
      'accepted and has no row',
    );
  });
  test('I2: an entry without a row is a breach at any time', () => {
    expect(judge(noJobNowhere(), [], view([], [entry], { atRest: false }))).toContain(
      'is in the Broker and has no row',
    );
  });
});

describe('both stores', () => {
  test('that agree pass', () => {
    const leased = view([job('leased', { token: '5' })], [{ jobId, state: 'leased', token: '5' }]);
    expect(judge(storesAgree(), [], leased)).toBeNull();
    expect(judge(storesAgree(), [], view([job('succeeded')]))).toBeNull();
  });
  test('I11: a job that the Broker does not know, or knows otherwise, is a breach at rest only', () => {
    const missing = view([job('waiting')]);
    expect(judge(storesAgree(), [], { ...missing, atRest: false })).toBeNull();
    expect(judge(storesAgree(), [], missing)).toContain('unknown to the Broker');
    const revived = view([job('succeeded')], [{ jobId, state: 'waiting' }]);
    expect(judge(storesAgree(), [], revived)).toContain('succeeded in Records and waiting');
    const other = view([job('leased', { token: '5' })], [{ jobId, state: 'leased', token: '7' }]);
    expect(judge(storesAgree(), [], other)).toContain('leased with 5 in Records and with 7');
    expect(judge(storesAgree(), [], view([], [], { brokerOpen: false }))).toContain('still closed');
  });
});

describe('a draining machine', () => {
  const frame = (id: number, type: string, body: object): Observation => ({
    kind: 'frame',
    machine: 'm1',
    direction: 'up',
    text: JSON.stringify({ v: 1, id, type, body }),
  });
  const draining = frame(1, 'beat', { report: { state: 'draining' } });
  const claimOf = (id: number, requestId: number) => frame(id, 'claim', { requestId });
  test('beats, completions without an offer and repeats of an open request pass, and a new process may claim', () => {
    const history = [
      claimOf(1, 7),
      draining,
      frame(2, 'beat', { report: { state: 'draining' } }),
      frame(3, 'complete', { next: null }),
      claimOf(4, 7),
      frame(1, 'hello', { incarnation: null }),
      claimOf(2, 8),
    ];
    expect(judge(drainingClaimsNothing(), history)).toBeNull();
  });
  test('a new claim or a completion with a new offer is a breach', () => {
    expect(judge(drainingClaimsNothing(), [claimOf(1, 7), draining, claimOf(2, 8)])).toContain(
      'sent claim with the new request 8',
    );
    const completion = frame(2, 'complete', { next: { requestId: 2 } });
    expect(judge(drainingClaimsNothing(), [draining, completion])).toContain('sent complete');
  });
});

describe('checker set', () => {
  test('the first breach waits for the driver instead of reaching the code under test', () => {
    const set = new CheckerSet([tokensRise()]);
    set.observe(claim('5'));
    set.throwIfBroken();
    set.observe(claim('4'));
    set.observe(claim('3'));
    expect(() => set.throwIfBroken()).toThrow('claimed with 4 after 5');
    expect(set.observations).toBe(3);
  });
});
