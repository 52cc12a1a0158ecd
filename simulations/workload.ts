import type { Rng } from '#protocol/env.ts';
import type { JobSubmissionInput } from '#protocol/job.ts';
import { pick } from './seeded-rng.ts';
import { stockInputs, stockModels } from './world-stock.ts';

export interface PlannedJob {
  atMs: number;
  /** A client changes its mind so long after it began to submit; null for most jobs. */
  cancelAfterMs: number | null;
  submission: JobSubmissionInput & { id: string };
}

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

/** Most jobs are short, some take a minute, a few outlive several leases; ms. */
function drawDuration(rng: Rng): number {
  const share = rng.next();
  if (share < 0.6) return rng.int(200, 3_000);
  if (share < 0.96) return rng.int(5_000, 60_000);
  return rng.int(60_000, 200_000);
}

/** The longest run that the service takes: far beyond every deadline of a chaos run. */
const hangMs = 6 * 3_600_000;

function oddFields(
  rng: Rng,
  oddity: Oddity,
  options: { durationMs: number; dueMs: number; machines: string[] },
): Partial<JobSubmissionInput> {
  const { durationMs, dueMs, machines } = options;
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
      return { payload: { durationMs: hangMs }, maxRunMs: 60_000, maxAttempts: 2 };
    case 'scheduled':
      return { notBefore: new Date(dueMs + rng.int(1_000, 90_000)).toISOString() };
    case 'short ttl':
      return { ttlMs: rng.int(1_000, 20_000) };
    case 'pinned':
      return { requirements: { machineId: pick(rng, machines) } };
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

/** Jobs of one run, in order of submission. Each is drawn from its own stream. `startMs` is wall time. */
export function drawJobs(
  rng: Rng,
  options: { count: number; spanMs: number; startMs: number; machines: string[] },
): PlannedJob[] {
  const jobs: PlannedJob[] = [];
  for (let index = 0; index < options.count; index++) {
    const own = rng.fork('job');
    const atMs = own.int(0, options.spanMs);
    const durationMs = drawDuration(own);
    const odd = oddFields(own, drawOddity(own), {
      durationMs,
      dueMs: options.startMs + atMs,
      machines: options.machines,
    });
    const [changesMind, soon] = [own.next() < 0.08, own.next() < 0.5];
    const cancelAfterMs = changesMind ? own.int(0, soon ? 20 : 10_000) : null;
    jobs.push({
      atMs,
      cancelAfterMs,
      submission: {
        service: 'simulation',
        pool: pick(own, ['fast-lane', 'standard']),
        priority: own.int(0, 100),
        customer: pick(own, ['amber', 'birch', 'cedar']),
        ...drawBody(own, durationMs),
        maxAttempts: own.int(2, 6),
        ...odd,
        id: `job-${index}`,
      },
    });
  }
  return jobs.sort((a, b) => a.atMs - b.atMs);
}
