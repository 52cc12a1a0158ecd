import type { Rng } from '#protocol/env.ts';
import { type JobKind, jobKinds, type PlannedJob } from '#simulations/day/plan.ts';
import type { Catalogue } from '#simulations/reality/catalogue.ts';
import { drawModelSet, type ModelSet, type SetShares } from '#simulations/reality/model-set.ts';
import { coincidence, rankAt, weighted } from '#simulations/reality/popularity.ts';
import { drawRunMs } from '#simulations/reality/service-times.ts';
import { drawArrivals, type Shape } from './arrivals.ts';
import type { Scenario } from './scenario.ts';
import { Sessions } from './sessions.ts';

/** What names and places a job, beside what it needs. */
export interface JobHead {
  id: string;
  atMs: number;
  customer: string;
  kind: JobKind;
  runMs: number;
  failRuns: PlannedJob['failRuns'];
}

export function plannedJob(head: JobHead, set: ModelSet): PlannedJob {
  const { pool, vramMb } = set;
  return { ...head, pool, priority: 50, models: set.models.map((model) => model.id), vramMb };
}

/** Id of the n-th job of one stream of a plan; streams are numbered apart, so that one never renames another. */
export const jobId = (stream: string, index: number) => `${stream}-${String(index + 1).padStart(6, '0')}`;

export const setShares = ({ jobs }: Scenario): SetShares => ({
  lora: jobs.loraShare,
  controlnet: jobs.controlnetShare,
});

/**
 * The everyday requests of a scenario, in order of time. Each aspect has a stream of chance of its own: another share
 * of failures, say, leaves arrivals, users and models as they are.
 */
export function drawJobs(options: {
  rng: Rng;
  scenario: Scenario;
  /** On the number of jobs, and of users alike: twice the load is twice as many users, who are as busy. */
  load: number;
  shape: Shape;
  catalogue: Catalogue;
}): PlannedJob[] {
  const { rng, scenario, load, shape, catalogue } = options;
  const { kinds, sessions, failShare } = scenario.jobs;
  const customers = Math.ceil(scenario.jobs.customers * load);
  const kindOf = weighted(jobKinds.map((kind) => kinds[kind]));
  const repeat = repeatChances(catalogue, setShares(scenario), sessions.sameModels);
  const users = new Sessions(rng.fork('sessions'), { customers, sameHour: sessions.sameHour, repeat });
  const chance = {
    kind: rng.fork('kinds'),
    models: rng.fork('models'),
    run: rng.fork('runs'),
    failure: rng.fork('failures'),
  };
  const times = drawArrivals(rng.fork('arrivals'), Math.round(scenario.jobs.count * load), shape);
  return Array.from(times, (atMs, index) => {
    const kind = jobKinds[rankAt(kindOf, chance.kind.next())] as JobKind;
    const user = users.next(atMs, kind);
    const set = user.set ?? drawModelSet(chance.models, kind, catalogue, setShares(scenario));
    users.remember(user.customer, kind, set);
    const runMs = drawRunMs(chance.run, kind, set.family);
    const failRuns = chance.failure.next() < failShare ? 1 : 0;
    return plannedJob({ id: jobId('day', index), atMs, customer: user.customer, kind, runMs, failRuns }, set);
  });
}

/**
 * Chance that a user takes the last set again without drawing, so that with draws that happen to give the same set
 * the published share comes out: the top base model alone has 31 % of all draws.
 */
function repeatChances(from: Catalogue, shares: SetShares, sameModels: number): Record<JobKind, number> {
  const repeat = (byChance: number) => {
    if (byChance >= 1) return 0;
    return Math.min(1, Math.max(0, (sameModels - byChance) / (1 - byChance)));
  };
  return {
    image: repeat(coincidence(from.checkpoints.popularity) * (1 - shares.lora) ** 2),
    llm: repeat(coincidence(from.llms.popularity)),
    video: repeat(coincidence(from.videoSets.popularity)),
    cpu: 0,
  };
}
