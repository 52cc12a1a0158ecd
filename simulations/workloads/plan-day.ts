import type { Rng } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { DayPlan, JobKind, PlannedJob, PlannedModel } from '#simulations/day/plan.ts';
import { type Catalogue, drawCatalogue } from '#simulations/reality/catalogue.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { hourMs, type Shape, scenarioShape } from './arrivals.ts';
import { autoFleet } from './plan-auto.ts';
import { drawEvent } from './plan-events.ts';
import { drawFleet } from './plan-fleet.ts';
import { drawJobs, setShares } from './plan-jobs.ts';
import { type JobTrace, replayJobs } from './replay.ts';
import { eventJobs, planLimits, type Scenario } from './scenario.ts';
import { type Lane, supplyOf } from './supply.ts';
import type { Trace } from './trace.ts';

export interface PlanOptions {
  scenario: Scenario;
  /** A whole number, 0 or more. Equal options give equal plans on every platform. */
  seed: number;
  /** Factor on the number of jobs, above 0 and at most 100. */
  load: number;
  /**
   * Recorded days. Requests take the place of the everyday jobs of their kind, events stay; spot availability takes
   * the place of drawn losses. Job traces lie on each other, lanes of spot traces are taken in turns.
   */
  traces?: readonly Trace[];
  /** Bends recorded arrivals to the shape of the scenario; false leaves them where they were. */
  warp?: boolean;
}

/**
 * Draws everything that is decided before a run: jobs, models, machines. Pure. Each part draws from a stream
 * of its own name, so that a change of one leaves the others as they are: without losses the same jobs
 * arrive, with an event the same everyday jobs.
 */
export function planDay(options: PlanOptions): DayPlan {
  const { scenario, seed, load, traces = [] } = options;
  const shape = checked(options);
  const rng = seededRng(seed).fork('day');
  const spanMs = Math.round(scenario.spanHours * hourMs);
  const catalogue = drawCatalogue(rng.fork('catalogue'), scenario.catalogue);
  const requests = traces.filter((trace) => trace.kind !== 'spot');
  const lanes = traces.flatMap((trace) => (trace.kind === 'spot' ? trace.lanes : []));
  const warpTo = options.warp === false ? null : shape;
  const replayed = requests.map((trace, index) => {
    const stream = `trace-${index + 1}`;
    return replayJobs({ rng: rng.fork(stream), trace, stream, load, warpTo, spanMs, catalogue });
  });
  const everyday = { rng: rng.fork('jobs'), scenario, load, shape, catalogue };
  const jobs = [
    ...withoutKinds(drawJobs(everyday), new Set(requests.map(kindOf))),
    ...replayed.flatMap((one) => one.jobs),
    ...eventStreams(options, catalogue),
  ].sort((a, b) => a.atMs - b.atMs);
  return {
    scenario: scenario.name,
    seed,
    load,
    spanMs,
    models: distinct([...catalogue.models, ...replayed.flatMap((one) => one.models)]),
    jobs,
    ...fleetOf(rng, options, lanes),
    originBytesPerMs: scenario.originGbps === null ? null : scenario.originGbps * 125_000,
  };
}

/** The script of the fleet, or how it is chosen while the day is played. */
function fleetOf(rng: Rng, { scenario, seed }: PlanOptions, lanes: readonly Lane[]) {
  const { auto } = scenario.fleet;
  const found = lanes.length === 0 ? null : { lanes, offsetMs: offsetInto(lanes, seed) };
  if (auto !== null) return autoFleet({ scenario, auto, seed, lanes: found });
  return drawFleet(rng.fork('fleet'), scenario, found && supplyOf(found.lanes, found.offsetMs));
}

const kindOf = (trace: JobTrace): JobKind => (trace.kind === 'images' ? 'image' : 'llm');
const withoutKinds = (jobs: PlannedJob[], kinds: ReadonlySet<JobKind>) =>
  kinds.size === 0 ? jobs : jobs.filter((job) => !kinds.has(job.kind));

function eventStreams({ scenario, seed, load }: PlanOptions, catalogue: Catalogue): PlannedJob[] {
  const rng = seededRng(seed).fork('events');
  const seen = new Map<string, number>();
  return scenario.events.flatMap((event) => {
    const nth = (seen.get(event.kind) ?? 0) + 1;
    seen.set(event.kind, nth);
    const draw = { rng: rng.fork(event.kind), event, load, catalogue, shares: setShares(scenario) };
    return drawEvent({ ...draw, stream: `${event.kind}-${nth}` });
  });
}

/** Where in spot traces the day begins: anywhere in the first of them. */
function offsetInto(lanes: readonly Lane[], seed: number): number {
  const lengthMs = lanes[0]?.lengthMs ?? 0;
  return Math.floor(seededRng(seed).fork('spot').next() * lengthMs);
}

/** A model that two traces name is one model. */
function distinct(models: PlannedModel[]): PlannedModel[] {
  return [...new Map(models.map((model) => [model.id, model])).values()];
}

/** Refuses what cannot be drawn or would not fit into memory, before anything is drawn. */
function checked({ scenario, seed, load, traces = [] }: PlanOptions): Shape {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw refused('seed', `${seed} is no whole number of 0 or more`);
  if (!(load > 0 && load <= 100)) throw refused('load', `${load} is no number above 0 and up to 100`);
  const requests = traces.reduce(
    (sum, trace) => sum + (trace.kind === 'spot' ? 0 : trace.requests.length),
    0,
  );
  const events = scenario.events.reduce((sum, event) => sum + eventJobs(event), 0);
  const jobs = Math.round((scenario.jobs.count + events + requests) * load);
  if (jobs > planLimits.jobs) {
    throw refused(
      'load',
      `${jobs} jobs are more than ${planLimits.jobs}; lower the load or the counts of jobs`,
    );
  }
  const shape = scenarioShape(scenario);
  if (shape === null) {
    throw refused(
      'fleet.wanted',
      'no machine is wanted within the span; want at least one, or lengthen the span',
    );
  }
  return shape;
}

function refused(field: string, detail: string): EmpError {
  return new EmpError('VALIDATION_FAILED', { detail: `${field}: ${detail}`, fields: { field } });
}
