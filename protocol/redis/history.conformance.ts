import type { Rng } from '#protocol/env.ts';
import { pick } from '#simulations/seeded-rng.ts';

/**
 * Random histories as data: every operation says by name what it does and never what came before it,
 * so that a failing history shrinks by leaving operations out. Tokens and floors are named by what
 * they are to the job at that moment (see differential.conformance.ts).
 */

/** A token as a caller may hold it: the entry's, one after it, an earlier one of this job, none, one far ahead. */
export type TokenName = 'current' | 'next' | 'earlier' | 'zero' | 'future';
export type FloorName = 'zero' | 'entry' | 'afterEntry' | 'afterToken' | 'token';

/** `next` starts a new incarnation, `former` is a zombie of the one before. */
export interface Machine {
  machineId: string;
  life: 'present' | 'former' | 'next';
}

export interface Entry {
  jobId: string;
  group: string;
  affinity: string;
  pool: string;
  customer: string;
  priority: number;
  costMs: number;
  attempts: number;
  runs: number;
  floor: FloorName;
  /** From now, ms; null = at once. */
  delayMs: number | null;
  body: boolean;
  lease: (Machine & { token: TokenName }) | null;
}

export interface Beat {
  machine: Machine;
  /** Leaves out what it runs where the job's number is this, modulo 4. */
  omit: number;
  extra: { jobId: string; token: TokenName } | null;
  open: boolean;
  groups: string[];
}

export interface Claim {
  machine: Machine;
  request: 'next' | 'repeat' | 'first';
  groups: { group: string; penaltyMs: number }[];
  warmLanes: { group: string; affinity: string; bonusMs: number }[];
}

export interface Completion {
  jobId: string;
  token: TokenName;
  floor: FloorName;
}

export type Operation =
  | { kind: 'submit'; identity: 'now' | 'former'; ticket: boolean; entries: Entry[] }
  | ({ kind: 'claim' } & Claim)
  /** One comes alone, several are one step. */
  | { kind: 'beat'; beats: Beat[] }
  | { kind: 'progress'; items: { jobId: string; token: TokenName; fraction: number }[] }
  | ({ kind: 'complete' } & Completion)
  | { kind: 'turns'; completions: Completion[]; claims: Claim[] }
  | {
      kind: 'exit';
      jobId: string;
      token: TokenName;
      floor: FloorName;
      state: 'waiting' | 'scheduled' | 'leased' | 'held' | 'succeeded' | 'failed' | 'cancelled' | 'dead';
      attempts: number;
      runs: number;
      delayMs: number | null;
      cancelRequested: boolean;
    }
  | { kind: 'cancel'; jobId: string; floor: FloorName }
  | { kind: 'lapsed' | 'promote'; limit: number }
  | { kind: 'enrol'; machine: Machine }
  | { kind: 'leave'; machine: Machine }
  | { kind: 'shorten'; machine: Machine; restMs: number }
  | { kind: 'passWake'; machine: Machine; groups: string[] }
  | { kind: 'events'; limit: number }
  | { kind: 'trim'; share: number; identity: 'now' | 'former' }
  | { kind: 'reconcileStart' }
  | { kind: 'reconcileFinish'; ticket: 'last' | 'former' }
  | { kind: 'advance'; ms: number }
  | { kind: 'restart' | 'loseAll' | 'mark' | 'rollback' }
  | { kind: 'stats' }
  | { kind: 'list'; after: string | null; limit: number };

const jobs = Array.from({ length: 40 }, (_, at) => `job_${String(at).padStart(2, '0')}`);
const groups = ['g1', 'g2', 'g3', 'ga.b-c'];
const affinities = ['-', 'sdxl', 'flux', 'sdxl', 'flux', 'a', 'b', 'c'];
const states = [
  'waiting',
  'scheduled',
  'leased',
  'held',
  'succeeded',
  'failed',
  'cancelled',
  'dead',
] as const;

/** How often each kind is drawn. Losses are rare, and followed by a reconcile before long. */
const weights: readonly (readonly [number, (rng: Rng) => Operation[]])[] = [
  [18, submits],
  [18, (rng) => [{ kind: 'claim', ...claim(rng) }]],
  [8, (rng) => [turns(rng)]],
  [16, (rng) => [beats(rng)]],
  [4, (rng) => [{ kind: 'progress', items: some(rng, 3, () => progressItem(rng)) }]],
  [5, (rng) => [{ kind: 'complete', ...completion(rng) }]],
  [10, (rng) => [exit(rng)]],
  [3, (rng) => [{ kind: 'cancel', jobId: job(rng), floor: floor(rng) }]],
  [3, (rng) => [{ kind: 'lapsed', limit: rng.int(1, 20) }]],
  [5, (rng) => [{ kind: 'promote', limit: rng.int(1, 20) }]],
  [5, (rng) => [{ kind: 'enrol', machine: machine(rng) }]],
  [1, (rng) => [{ kind: 'leave', machine: machine(rng) }]],
  [2, (rng) => [{ kind: 'shorten', machine: machine(rng), restMs: rng.int(0, 25_000) }]],
  [4, (rng) => [{ kind: 'passWake', machine: machine(rng), groups: someGroups(rng) }]],
  [2, (rng) => [{ kind: 'events', limit: rng.int(1, 50) }]],
  [1, (rng) => [{ kind: 'trim', share: rng.next(), identity: rng.next() < 0.9 ? 'now' : 'former' }]],
  [1, () => [{ kind: 'stats' }]],
  [1, (rng) => [{ kind: 'list', after: rng.next() < 0.5 ? null : job(rng), limit: rng.int(1, 60) }]],
  [12, (rng) => [{ kind: 'advance', ms: advance(rng) }]],
  [3, reconcile],
  [0.4, (rng) => [{ kind: rng.next() < 0.8 ? 'restart' : 'loseAll' }]],
  [0.3, () => [{ kind: 'mark' }]],
  [0.3, () => [{ kind: 'rollback' }]],
];
const weightSum = weights.reduce((sum, [weight]) => sum + weight, 0);

/** About `count` operations; the same for the same stream of chance. */
export function drawHistory(rng: Rng, count: number): Operation[] {
  const history: Operation[] = [{ kind: 'reconcileStart' }, { kind: 'reconcileFinish', ticket: 'last' }];
  while (history.length < count) {
    let at = rng.next() * weightSum;
    for (const [weight, draw] of weights) {
      at -= weight;
      if (at >= 0) continue;
      history.push(...draw(rng));
      break;
    }
  }
  return history;
}

function some<T>(rng: Rng, most: number, make: () => T): T[] {
  return Array.from({ length: rng.int(1, most) }, make);
}

const job = (rng: Rng) => pick(rng, jobs);
const group = (rng: Rng) => pick(rng, groups);

function machine(rng: Rng): Machine {
  const draw = rng.next();
  const life = draw < 0.92 ? 'present' : draw < 0.985 ? 'former' : 'next';
  return { machineId: `m${rng.int(1, 5)}`, life };
}

function token(rng: Rng): TokenName {
  return pick(rng, ['current', 'current', 'current', 'current', 'next', 'earlier', 'zero', 'future']);
}

function floor(rng: Rng): FloorName {
  return pick(rng, ['zero', 'entry', 'entry', 'afterEntry', 'afterToken', 'afterToken', 'token']);
}

function delay(rng: Rng): number | null {
  return rng.next() < 0.75 ? null : rng.int(-5_000, 40_000);
}

function someGroups(rng: Rng): string[] {
  return groups.filter(() => rng.next() < 0.6);
}

function advance(rng: Rng): number {
  const draw = rng.next();
  if (draw < 0.9) return rng.int(0, 4_000);
  return draw < 0.995 ? rng.int(4_000, 40_000) : 1_000_000;
}

function entry(rng: Rng): Entry {
  return {
    jobId: job(rng),
    group: group(rng),
    affinity: pick(rng, affinities),
    pool: pick(rng, ['fast', 'standard']),
    customer: pick(rng, ['alice', 'bob', 'carol']),
    priority: pick(rng, [0, 33, 50, 50, 50, 75, 100]),
    // Few values, so that equal ranks are met.
    costMs: pick(rng, [1_000, 1_000, 1_000, 2_000, rng.int(1, 60_000)]),
    attempts: rng.int(0, 3),
    runs: rng.int(0, 5),
    floor: floor(rng),
    delayMs: delay(rng),
    body: rng.next() < 0.5,
    lease: rng.next() < 0.15 ? { ...machine(rng), token: token(rng) } : null,
  };
}

function submits(rng: Rng): Operation[] {
  const identity = rng.next() < 0.97 ? 'now' : 'former';
  return [{ kind: 'submit', identity, ticket: rng.next() < 0.3, entries: some(rng, 4, () => entry(rng)) }];
}

function completion(rng: Rng): Completion {
  return { jobId: job(rng), token: token(rng), floor: floor(rng) };
}

/** Few of the completions, so that jobs are left; of the claims many, so that lanes and groups run empty within. */
function turns(rng: Rng): Operation {
  const completions = rng.next() < 0.5 ? [] : some(rng, 3, () => completion(rng));
  return { kind: 'turns', completions, claims: some(rng, 12, () => claim(rng)) };
}

function claim(rng: Rng): Claim {
  return {
    machine: machine(rng),
    request: pick(rng, ['next', 'next', 'next', 'next', 'next', 'repeat', 'first']),
    groups: someGroups(rng).map((name) => ({
      group: name,
      penaltyMs: pick(rng, [0, 0, 0, 1_000, 5_000, 0.5]),
    })),
    warmLanes:
      rng.next() < 0.5
        ? []
        : some(rng, 3, () => ({
            group: group(rng),
            affinity: pick(rng, affinities),
            bonusMs: pick(rng, [0, 1_000, 90_000]),
          })),
  };
}

function beats(rng: Rng): Operation {
  return { kind: 'beat', beats: rng.next() < 0.6 ? [beat(rng)] : some(rng, 5, () => beat(rng)) };
}

function beat(rng: Rng): Beat {
  return {
    machine: machine(rng),
    omit: rng.int(0, 7),
    extra: rng.next() < 0.2 ? { jobId: job(rng), token: token(rng) } : null,
    open: rng.next() < 0.3,
    groups: rng.next() < 0.3 ? [] : someGroups(rng),
  };
}

function progressItem(rng: Rng) {
  return { jobId: job(rng), token: token(rng), fraction: Math.round(rng.next() * 1_000) / 1_000 };
}

function exit(rng: Rng): Operation {
  return {
    kind: 'exit',
    jobId: job(rng),
    token: token(rng),
    floor: floor(rng),
    state: rng.next() < 0.6 ? 'waiting' : pick(rng, states),
    attempts: rng.int(0, 3),
    runs: rng.int(0, 5),
    delayMs: delay(rng),
    cancelRequested: rng.next() < 0.3,
  };
}

/** A whole reconcile, some of its steps left out now and then. */
function reconcile(rng: Rng): Operation[] {
  const steps: Operation[] = [
    { kind: 'reconcileStart' },
    { kind: 'submit', identity: 'now', ticket: true, entries: some(rng, 8, () => entry(rng)) },
    { kind: 'reconcileFinish', ticket: rng.next() < 0.9 ? 'last' : 'former' },
  ];
  return steps.filter(() => rng.next() < 0.95);
}
