import { z } from 'zod';
import type { Rng } from '#protocol/env.ts';
import { JobSubmission, type JobSubmissionInput } from '#protocol/job.ts';
import { JobId } from '#protocol/names.ts';
import { chaosCustomers, drawWelcome, drawWishes } from './chaos-fleet.ts';
import { pick } from './seeded-rng.ts';
import { stockInputs, stockModels } from './world-stock.ts';

/** One job of a run, as a client submits it. */
export const PlannedJob = z.strictObject({
  /** When it is submitted, ms since the beginning; with `after` the time between that end and the submit. */
  atMs: z.int().min(0).max(3_600_000),
  /** Submitted when this job has ended, however it did; at `atMs` where the run has no such job. */
  after: JobId.nullable(),
  /** A client changes its mind so long after it began to submit; null for most jobs. */
  cancelAfterMs: z.int().min(0).max(3_600_000).nullable(),
  submission: JobSubmission.extend({ id: JobId }),
});
export type PlannedJob = z.input<typeof PlannedJob>;

/** A share of the jobs of a chaos run has one of these oddities, to reach every state and every end. */
type Oddity =
  | 'plain'
  | 'fails once'
  | 'always fails'
  | 'fails for good'
  | 'hangs'
  | 'scheduled'
  | 'short ttl'
  | 'pinned'
  | 'new group'
  | 'choosy'
  | 'one try';

const oddities: { value: Oddity; weight: number }[] = [
  { value: 'plain', weight: 60 },
  { value: 'fails once', weight: 8 },
  { value: 'always fails', weight: 3 },
  { value: 'fails for good', weight: 4 },
  { value: 'hangs', weight: 3 },
  { value: 'scheduled', weight: 8 },
  { value: 'short ttl', weight: 4 },
  { value: 'pinned', weight: 4 },
  { value: 'new group', weight: 4 },
  { value: 'choosy', weight: 20 },
  { value: 'one try', weight: 6 },
];

function drawOddity(rng: Rng): Oddity {
  let left = rng.next() * oddities.reduce((sum, each) => sum + each.weight, 0);
  for (const each of oddities) {
    left -= each.weight;
    if (left < 0) return each.value;
  }
  return 'plain';
}

/** Most jobs are short, some take half a minute, a few outlive several leases; ms. */
function drawDuration(rng: Rng): number {
  const share = rng.next();
  if (share < 0.65) return rng.int(200, 3_000);
  if (share < 0.97) return rng.int(3_000, 30_000);
  return rng.int(60_000, 120_000);
}

/** The longest run that the service takes: far beyond every deadline of a chaos run. */
const hangMs = 6 * 3_600_000;

/** Numbers of the machines of a mixed fleet, and of those that are reserved. */
interface Fleet {
  machines: readonly number[];
  reserved: readonly number[];
}

function oddFields(
  rng: Rng,
  oddity: Oddity,
  options: { durationMs: number; dueMs: number } & Fleet,
): Partial<JobSubmissionInput> {
  const { durationMs, dueMs, machines, reserved } = options;
  switch (oddity) {
    case 'plain':
      return {};
    case 'fails once':
      return { payload: { durationMs, failWith: 'retryable', failRuns: 1 } };
    case 'always fails':
      return { payload: { durationMs: Math.min(durationMs, 3_000), failWith: 'retryable' } };
    case 'fails for good':
      return { payload: { durationMs, failWith: 'permanent' } };
    case 'hangs':
      return { payload: { durationMs: hangMs }, maxRunMs: 30_000, maxAttempts: 2 };
    case 'scheduled':
      return { notBefore: new Date(dueMs + rng.int(1_000, 90_000)).toISOString() };
    case 'short ttl':
      return { ttlMs: rng.int(1_000, 20_000) };
    case 'pinned': {
      const index = pick(rng, machines);
      const { customer, requirements } = drawWelcome(rng.fork('customer'), { index, reserved });
      return { customer, requirements: { ...requirements, machineId: `machine-${index + 1}` } };
    }
    case 'new group':
      // A requirement that nobody had before: hubs learn of it in the middle of their work.
      return { requirements: { ramMb: rng.int(1, 400) * 40 } };
    case 'choosy':
      // What one machine of the fleet has, in any combination; others may have it, too.
      return drawWishes(rng.fork('wishes'), { index: pick(rng, machines), reserved });
    case 'one try':
      return { maxAttempts: 1 };
  }
}

/** Some jobs load models, bring inputs or leave results; the draws are made for all, so that none shifts another. */
function drawBody(rng: Rng, durationMs: number): Pick<JobSubmissionInput, 'payload' | 'inputs'> {
  const [share, base, lora, outputs, input] = [
    rng.next(),
    pick(rng, stockModels.slice(0, 3)),
    pick(rng, stockModels.slice(3)),
    rng.int(1, 2),
    pick(rng, stockInputs),
  ];
  const models = share < 0.15 ? [base] : share < 0.3 ? [base, lora] : [];
  const files = rng.next() < 0.3 ? { outputs, outputBytes: rng.int(0, 150_000) } : {};
  const inputs = rng.next() < 0.2 ? [{ name: 'input.png', object: input }] : [];
  return { payload: { durationMs, models, loadMs: 500, ...files }, inputs };
}

/** This share of the jobs is submitted when another has ended: chains and fans of two or three links. */
const chainedShare = 0.2;
const chainLinks = 3;

/**
 * Jobs of one run for a mixed fleet, in order of submission. Each is drawn from its own stream. `startMs` is wall time.
 * Some wait for the end of another, as the steps of a workflow do.
 */
export function drawJobs(
  rng: Rng,
  options: { count: number; spanMs: number; startMs: number } & Fleet,
): PlannedJob[] {
  const jobs: PlannedJob[] = [];
  const depths: number[] = [];
  for (let index = 0; index < options.count; index++) {
    const own = rng.fork('job');
    const [chained, parent, pauseMs] = [own.next() < chainedShare, own.next(), own.int(0, 500)];
    const before = chained && index > 0 ? Math.floor(parent * index) : null;
    const isLink = before !== null && (depths[before] ?? 0) + 1 < chainLinks;
    depths.push(isLink ? (depths[before] ?? 0) + 1 : 0);
    const atMs = own.int(0, options.spanMs);
    jobs.push({
      ...drawJob(own, { ...options, id: `job-${index}`, dueMs: options.startMs + atMs }),
      atMs: isLink ? pauseMs : atMs,
      after: isLink ? `job-${before}` : null,
    });
  }
  return jobs.sort((a, b) => a.atMs - b.atMs);
}

function drawJob(
  own: Rng,
  options: { id: string; dueMs: number } & Fleet,
): Pick<PlannedJob, 'cancelAfterMs' | 'submission'> {
  const durationMs = drawDuration(own);
  const odd = oddFields(own, drawOddity(own), { durationMs, ...options });
  const [changesMind, soon] = [own.next() < 0.08, own.next() < 0.5];
  return {
    cancelAfterMs: changesMind ? own.int(0, soon ? 20 : 10_000) : null,
    submission: {
      service: 'simulation',
      pool: pick(own, ['fast-lane', 'standard']),
      priority: own.int(0, 100),
      customer: pick(own, chaosCustomers),
      ...drawBody(own, durationMs),
      maxAttempts: own.int(2, 6),
      ...odd,
      preemptible: own.next() < 0.3,
      id: options.id,
    },
  };
}
