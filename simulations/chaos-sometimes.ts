import { machineKey } from '#protocol/names.ts';
import type { Requirements } from '#protocol/requirements.ts';
import { compareTokens } from '#protocol/token.ts';
import { type BuggifySite, buggifySites } from './buggify.ts';
import { type FaultKind, faultKinds } from './fault-script.ts';
import { frameOf, type Observation } from './observation.ts';
import { Sometimes } from './sometimes.ts';

/** What a set of chaos runs must have gone through, or it has shown too little. */
export const chaosMarks = [
  'a lease expired',
  'a lease was released',
  'a run was given back for an urgent job',
  'a run failed and was tried again',
  'a job failed for good',
  'a job died of its attempts',
  'a waiting job was cancelled',
  'a running job was cancelled',
  'a cancel came too late',
  'a job was requeued',
  'a ttl ended a job',
  'a run was overdue',
  'a delayed job was promoted',
  'a stale completion was refused',
  'a completion met an ended job',
  'a completion was repeated',
  'an exit came late',
  'a claim met a closed broker',
  'a claim was answered again',
  'a lapsed machine beat',
  'beats of several machines were one step',
  'completions and claims were one step',
  'a beat dropped work',
  'two beats left a lease out',
  'an older incarnation was refused',
  'running work was adopted after a loss',
  'a rebuilt lease was given back',
  'a reconcile opened the broker',
  'a reconcile started again',
  'a submit met another server',
  'a submit met a closed broker',
  'a submit met a tombstone',
  'a singleton moved',
  'a machine left',
  'a link closed and its lease was shortened',
  'a wake was passed on',
  'a chain went on',
  'a limit let a held job in',
  'a limit had no room for a held job',
  'a limit held a job that had failed or was given back',
  'a run that a limit forbids was given back',
  'a job of a paused customer was held',
  'a submission was refused because too many waited',
  'a submission was refused for good because nothing may wait',
  'a refused submission was accepted later',
  'an accepted submission was repeated beside refused ones',
  'a job with several requirements was claimed',
  'a job of one customer alone was claimed',
  'a reserved machine claimed a job',
  'a machine was cordoned',
  'a model was evicted',
  'a model was refused for its hash',
  'a download was given a wrong byte',
  'a service was killed under its runs',
  'a machine was degraded',
  'a link was closed at a limit',
] as const;
type Mark = (typeof chaosMarks)[number];

/** Everything that a set of runs is asked for: marks, each kind of fault, each site. */
export const allMarks: readonly string[] = [
  ...chaosMarks,
  ...faultKinds.map((kind) => `fault: ${kind}`),
  ...buggifySites.map((site) => `site: ${site}`),
];

/** Below so many seeds nothing is asked: a handful cannot meet everything. */
export const marksFromSeeds = 25;
/** What one run in fifty or so meets is asked of so many seeds. */
export const rareFromSeeds = 150;
export const rareMarks: readonly string[] = [
  'a submit met a tombstone',
  'a claim was answered again',
  'a completion met an ended job',
  'a lapsed machine beat',
  'a machine left',
  'a link was closed at a limit',
  'a model was refused for its hash',
];

/** What so many seeds should have reached and did not. */
export function missingMarks(sum: Readonly<Record<string, number>>, seeds: number): string[] {
  if (seeds < marksFromSeeds) return [];
  const asked = seeds >= rareFromSeeds ? allMarks : allMarks.filter((mark) => !rareMarks.includes(mark));
  return asked.filter((mark) => (sum[mark] ?? 0) === 0);
}

/** Adds up what a set of runs went through. */
export function sumMarks(runs: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum = new Sometimes(allMarks);
  for (const counts of runs) for (const [mark, count] of Object.entries(counts)) sum.seen(mark, count);
  return sum.counts();
}

interface Reached {
  faults: Partial<Record<FaultKind, number>>;
  sites: Partial<Record<BuggifySite, number>>;
}

/** Counts the marks from what is observed. One per run: some marks need to know what came before. */
export function watchMarks(): {
  observe: (seen: Observation) => void;
  counts: (reached: Reached) => Record<string, number>;
} {
  const sometimes = new Sometimes(allMarks);
  const mark = (name: Mark, when: boolean) => {
    if (when) sometimes.seen(name);
  };
  const memory: Memory = {
    tokens: new Map(),
    holders: new Map(),
    wishes: new Map(),
    reserved: new Set(),
    refused: new Set(),
    accepted: new Set(),
  };
  return {
    observe(seen) {
      if (seen.kind === 'broker') markBroker(seen, mark, memory);
      if (seen.kind === 'records') markRecords(seen, mark, memory);
      if (seen.kind === 'frame') markFrame(seen, mark);
      if (seen.kind === 'answered') markAnswer(seen, mark, memory);
      mark('a model was evicted', seen.kind === 'evicted');
      if (seen.kind === 'noted')
        mark(seen.what as Mark, (chaosMarks as readonly string[]).includes(seen.what));
    },
    counts({ faults, sites }) {
      for (const [kind, times] of Object.entries(faults)) sometimes.seen(`fault: ${kind}`, times);
      for (const [site, times] of Object.entries(sites)) sometimes.seen(`site: ${site}`, times);
      return sometimes.counts();
    },
  };
}

const hints = /"type":"(incident|cordon)"/;

function markFrame(seen: Extract<Observation, { kind: 'frame' }>, mark: Marker): void {
  mark('a machine was degraded', seen.direction === 'up' && seen.text.includes('"state":"degraded"'));
  if (!hints.test(seen.text)) return;
  const { type, body } = frameOf(seen);
  mark('a machine was cordoned', type === 'cordon' && body?.['cordoned'] === true);
  mark('a model was refused for its hash', type === 'incident' && body?.['kind'] === 'model.refused');
}

function markAnswer(
  { jobId, refusal }: Extract<Observation, { kind: 'answered' }>,
  mark: Marker,
  { refused, accepted }: Memory,
): void {
  mark('a submission was refused because too many waited', refusal?.code === 'QUEUE_FULL');
  mark(
    'a submission was refused for good because nothing may wait',
    refusal?.code === 'QUEUE_FULL' && !refusal.retryable,
  );
  if (refusal?.code === 'QUEUE_FULL') refused.add(jobId);
  if (refusal !== null) return;
  mark('a refused submission was accepted later', refused.has(jobId));
  refused.delete(jobId);
  mark('an accepted submission was repeated beside refused ones', accepted.has(jobId) && refused.size > 0);
  accepted.add(jobId);
}

type Marker = (name: Mark, when: boolean) => void;

/**
 * What came before, by job id, role or incarnation: tokens of claims, holders of roles, requirements,
 * reserved machines; submissions that were refused because too many waited, and those that were accepted.
 */
interface Memory {
  tokens: Map<string, string>;
  holders: Map<string, string>;
  wishes: Map<string, Requirements>;
  reserved: Set<string>;
  refused: Set<string>;
  accepted: Set<string>;
}

function markBroker(
  seen: Extract<Observation, { kind: 'broker' }>,
  mark: Marker,
  { tokens, wishes, reserved }: Memory,
): void {
  switch (seen.method) {
    case 'claim': {
      const { answer } = seen;
      mark('a claim met a closed broker', answer.kind === 'closed');
      mark('an older incarnation was refused', answer.kind === 'superseded');
      if (answer.kind !== 'leased') return;
      mark('a claim was answered again', tokens.get(answer.lease.jobId) === answer.lease.token);
      tokens.set(answer.lease.jobId, answer.lease.token);
      const wished = wishes.get(answer.lease.jobId) ?? {};
      mark('a job with several requirements was claimed', Object.keys(wished).length >= 3);
      mark('a job of one customer alone was claimed', wished.isolation === 'strict');
      mark('a reserved machine claimed a job', reserved.has(machineKey(seen.args[0])));
      return;
    }
    case 'beats': {
      for (const answer of seen.answer.answers) {
        mark('a lapsed machine beat', answer.kind === 'lapsed');
        mark('an older incarnation was refused', answer.kind === 'superseded');
        mark('a beat dropped work', answer.kind === 'ok' && answer.drop.length > 0);
        mark('two beats left a lease out', answer.kind === 'ok' && answer.unnamed.length > 0);
      }
      mark('beats of several machines were one step', seen.args[0].length > 1);
      return;
    }
    case 'turns': {
      const [{ completions, claims }] = seen.args;
      mark('completions and claims were one step', completions.length > 0 && claims.length > 0);
      return;
    }
    case 'submit': {
      const { answer } = seen;
      mark('a submit met another server', answer.kind === 'identityChanged');
      mark('a submit met a closed broker', answer.kind === 'closed');
      mark('a reconcile started again', seen.args[0].ticket !== undefined && answer.kind !== 'ok');
      mark(
        'a submit met a tombstone',
        answer.kind === 'ok' && answer.answers.some((each) => each.kind === 'tombstoned'),
      );
      return;
    }
    case 'cancel':
      mark('a waiting job was cancelled', seen.answer.kind === 'removed');
      mark('a running job was cancelled', seen.answer.kind === 'requested');
      return;
    case 'lapsed':
      mark(
        'a rebuilt lease was given back',
        seen.answer.kind === 'ok' && seen.answer.leases.some((lease) => lease.rebuilt),
      );
      return;
    case 'reconcileFinish':
      mark('a reconcile opened the broker', seen.answer.kind === 'open');
      mark('a reconcile started again', seen.answer.kind === 'changed');
      return;
    case 'events':
      mark(
        'running work was adopted after a loss',
        seen.answer.events.some((event) => event.kind === 'adopted'),
      );
      return;
    case 'promote':
      mark('a delayed job was promoted', seen.answer.promoted.length > 0);
      return;
    case 'leave':
      mark('a machine left', true);
      return;
    case 'shorten':
      mark('a link closed and its lease was shortened', true);
      return;
    case 'passWake':
      mark('a wake was passed on', seen.answer.wake !== null);
      return;
    default:
  }
}

function markRecords(
  seen: Extract<Observation, { kind: 'records' }>,
  mark: Marker,
  { holders, wishes, reserved }: Memory,
): void {
  switch (seen.method) {
    case 'submitJobs':
      for (const { id, requirements } of seen.args[0]) wishes.set(id, requirements);
      return;
    case 'enrolMachine':
      if (seen.args[0].machineClass.reservedFor) reserved.add(machineKey(seen.answer));
      return;
    case 'exitJob': {
      const { answer } = seen;
      const { cause, token } = seen.args[0];
      if (answer.kind !== 'ok') return;
      mark('an exit came late', !answer.applied && compareTokens(token, answer.fenceFloor) < 0);
      if (!answer.applied) return;
      mark('a lease expired', cause.kind === 'expire' && cause.reason.includes('fell silent'));
      mark('a run was overdue', cause.kind === 'expire' && cause.reason.includes('maxRunMs'));
      mark('a lease was released', cause.kind === 'release');
      mark(
        'a run was given back for an urgent job',
        cause.kind === 'release' && cause.reason.startsWith('preempted'),
      );
      const isHeld = answer.state === 'held';
      mark('a limit held a job that had failed or was given back', isHeld && cause.kind !== 'withhold');
      mark('a run that a limit forbids was given back', isHeld && cause.kind === 'withhold');
      mark(
        'a job of a paused customer was held',
        isHeld && cause.kind === 'withhold' && cause.reason.includes('is paused'),
      );
      mark(
        'a run failed and was tried again',
        cause.kind === 'fail' && (answer.state === 'waiting' || answer.state === 'scheduled'),
      );
      mark('a job failed for good', answer.state === 'failed');
      mark('a job died of its attempts', answer.state === 'dead');
      return;
    }
    case 'completeJob': {
      const { answer } = seen;
      mark('a stale completion was refused', answer.kind === 'staleLease');
      mark('a completion met an ended job', answer.kind === 'terminal' && !answer.same);
      mark('a completion was repeated', answer.kind === 'terminal' && answer.same);
      return;
    }
    case 'admitJobs': {
      const { jobs } = seen.answer;
      mark(
        'a limit let a held job in',
        jobs.some((job) => job.limited),
      );
      mark('a limit had no room for a held job', jobs.length === 0);
      return;
    }
    case 'requestCancel':
      mark('a cancel came too late', seen.answer.kind === 'tooLate');
      return;
    case 'requeueJob':
      mark('a job was requeued', seen.answer.kind === 'requeued');
      return;
    case 'expireTtl':
      mark('a ttl ended a job', seen.answer.kind === 'ok' && seen.answer.value.length > 0);
      return;
    case 'holdSingleton': {
      if (seen.answer === null) return;
      const before = holders.get(seen.answer.name);
      mark('a singleton moved', before !== undefined && before !== seen.answer.holder);
      holders.set(seen.answer.name, seen.answer.holder);
      return;
    }
    default:
  }
}
