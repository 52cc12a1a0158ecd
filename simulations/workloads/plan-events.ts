import type { Rng } from '#protocol/env.ts';
import type { PlannedJob } from '#simulations/day/plan.ts';
import type { Catalogue, Checkpoint } from '#simulations/reality/catalogue.ts';
import { drawModelSet, imageSet, type ModelSet, type SetShares } from '#simulations/reality/model-set.ts';
import { drawRunMs } from '#simulations/reality/service-times.ts';
import { drawArrivals, hourMs, type Shape, shapeOf } from './arrivals.ts';
import { jobId, plannedJob } from './plan-jobs.ts';
import type { ScenarioEvent } from './scenario.ts';

interface EventDraw<Event extends ScenarioEvent = ScenarioEvent> {
  rng: Rng;
  event: Event;
  /** Begins the ids and the customers of its jobs. */
  stream: string;
  load: number;
  catalogue: Catalogue;
  shares: SetShares;
}

/** Jobs of one event, beside the everyday ones, in order of time. */
export function drawEvent(draw: EventDraw): PlannedJob[] {
  const { event } = draw;
  switch (event.kind) {
    case 'viral':
      return drawViral({ ...draw, event });
    case 'bursts':
      return drawBursts({ ...draw, event });
    case 'flood':
      return drawOneSet({ ...draw, event }, 0);
    case 'poison':
      return drawOneSet({ ...draw, event }, 'poison');
  }
}

const scaled = (jobs: number, load: number) => Math.round(jobs * load);

/** Arrivals of an event: `density` over its own span from 0 to 1. */
function eventTimes(draw: EventDraw, count: number, density: (part: number) => number): Float64Array {
  const { event, rng } = draw;
  const spanMs = event.hours * hourMs;
  const shape = shapeOf(spanMs, (atMs) => density(atMs / spanMs)) as Shape;
  const startMs = Math.round(event.atHour * hourMs);
  return drawArrivals(rng.fork('arrivals'), count, shape).map((atMs) => startMs + atMs);
}

/** The base model of a rank alone; beyond the catalogue the last one. */
function baseSet({ checkpoints: { items } }: Catalogue, rank: number): ModelSet {
  const { model, family } = items[Math.min(rank, items.length) - 1] as Checkpoint;
  return imageSet(family, [model]);
}

/** Part of its span after which a viral wave is at its highest. */
const peakPart = 0.15;

/**
 * A crowd asks for one base model that lay in the tail, by a wave that rises quickly and decays by e:
 * `x/p × e^(1 − x/p)`. Nobody in the crowd asks often.
 */
function drawViral(draw: EventDraw<Extract<ScenarioEvent, { kind: 'viral' }>>): PlannedJob[] {
  const { rng, event, stream, load, catalogue } = draw;
  const set = baseSet(catalogue, event.rank);
  const count = scaled(event.jobs, load);
  const crowd = Math.max(1, Math.round(count / 3));
  const times = eventTimes(draw, count, (part) => (part / peakPart) * Math.exp(1 - part / peakPart));
  const users = rng.fork('users');
  const runs = rng.fork('runs');
  return Array.from(times, (atMs, index) => {
    const customer = `${stream}-user-${users.int(1, crowd)}`;
    const runMs = drawRunMs(runs, 'image', set.family);
    const head = { id: jobId(stream, index), atMs, customer, kind: 'image' as const, runMs, failRuns: 0 };
    return plannedJob(head, set);
  });
}

/** One customer, one set of models, evenly over the span: a flood, or a workflow that always fails. */
function drawOneSet(
  draw: EventDraw<Extract<ScenarioEvent, { kind: 'flood' | 'poison' }>>,
  failRuns: PlannedJob['failRuns'],
): PlannedJob[] {
  const { rng, event, stream, load, catalogue, shares } = draw;
  const drawn = drawModelSet(rng.fork('models'), event.jobKind, catalogue, shares);
  const set = event.jobKind === 'image' ? baseSet(catalogue, event.rank) : drawn;
  const runs = rng.fork('runs');
  const times = eventTimes(draw, scaled(event.jobs, load), () => 1);
  return Array.from(times, (atMs, index) => {
    const runMs = drawRunMs(runs, event.jobKind, set.family);
    const head = { id: jobId(stream, index), atMs, customer: stream, kind: event.jobKind, runMs, failRuns };
    return plannedJob(head, set);
  });
}

/** Batches of like requests, each by another user; the load makes more batches, not larger ones. */
function drawBursts(draw: EventDraw<Extract<ScenarioEvent, { kind: 'bursts' }>>): PlannedJob[] {
  const { rng, event, stream, load, catalogue, shares } = draw;
  const starts = eventTimes(draw, scaled(event.bursts, load), () => 1);
  const endMs = Math.round((event.atHour + event.hours) * hourMs) - 1;
  const chance = { models: rng.fork('models'), within: rng.fork('within'), run: rng.fork('runs') };
  const jobs: PlannedJob[] = [];
  for (const [burst, startMs] of starts.entries()) {
    const set = drawModelSet(chance.models, event.jobKind, catalogue, shares);
    for (let index = 0; index < event.jobsPerBurst; index++) {
      const atMs = Math.min(endMs, Math.round(startMs + chance.within.next() * event.withinSeconds * 1000));
      const runMs = drawRunMs(chance.run, event.jobKind, set.family);
      const customer = `${stream}-user-${burst + 1}`;
      const id = jobId(stream, burst * event.jobsPerBurst + index);
      jobs.push(plannedJob({ id, atMs, customer, kind: event.jobKind, runMs, failRuns: 0 }, set));
    }
  }
  return jobs.sort((a, b) => a.atMs - b.atMs);
}
