import type { Rng } from '#protocol/env.ts';
import type { PlannedJob, PlannedModel } from '#simulations/day/plan.ts';
import { type Catalogue, type Checkpoint, checkpointOf, loraOf } from '#simulations/reality/catalogue.ts';
import { imageSet, llmSet } from '#simulations/reality/model-set.ts';
import { rankAt } from '#simulations/reality/popularity.ts';
import { tokenRunMs } from '#simulations/reality/service-times.ts';
import { type Shape, shapeOf, shareAt, timeAt } from './arrivals.ts';
import { jobId, plannedJob } from './plan-jobs.ts';
import type { ImageRequest, TokenRequest, Trace } from './trace.ts';

export type JobTrace = Exclude<Trace, { kind: 'spot' }>;

/** A request of a trace placed in the day: `copy` 0 is the original, the others repeat it, shifted. */
interface Placed {
  atMs: number;
  copy: number;
  row: number;
}

/** Copies of a day are shifted by this share of it each: the golden ratio keeps any number of them apart. */
const shiftShare = 0.618_033_988_749_895;

/**
 * Puts the requests of a trace into a span, `load` times as many: whole copies are the same days shifted, the
 * fraction is a random part of one more. A trace that is longer than the span is folded: its days lie on each other, so
 * order and bursts within a day stay.
 */
export function placeRequests(
  rng: Rng,
  requests: readonly { atMs: number }[],
  { spanMs, load }: { spanMs: number; load: number },
): Placed[] {
  const placed: Placed[] = [];
  const copies = Math.floor(load);
  for (let copy = 0; copy <= copies; copy++) {
    const share = copy < copies ? 1 : load - copies;
    const shiftMs = Math.round(copy * shiftShare * spanMs);
    for (const [row, { atMs }] of requests.entries()) {
      if (share < 1 && rng.next() >= share) continue;
      placed.push({ atMs: (atMs + shiftMs) % spanMs, copy, row });
    }
  }
  return placed.sort((a, b) => a.atMs - b.atMs || a.copy - b.copy || a.row - b.row);
}

/** Parts into which a recorded span is cut to learn its shape: of a day these are hours. */
const warpParts = 24;

/**
 * Stretches arrivals, in order of time, over the span of `shape` until they follow it: each moment goes to the moment by which the same
 * share of all has arrived, counted by parts of the recorded span. Within a part only the scale changes, so order and
 * bursts stay. Half an hour of traffic so becomes a whole day, thinner and with the same structure.
 */
export function warp<T extends { atMs: number }>(arrivals: readonly T[], shape: Shape): T[] {
  const firstMs = arrivals[0]?.atMs ?? 0;
  const extentMs = (arrivals.at(-1)?.atMs ?? 0) - firstMs + 1;
  const partOf = (atMs: number) => Math.floor((atMs / extentMs) * warpParts);
  const counts = new Float64Array(warpParts);
  for (const { atMs } of arrivals) counts[partOf(atMs - firstMs)] = (counts[partOf(atMs - firstMs)] ?? 0) + 1;
  const own = shapeOf(extentMs, (atMs) => counts[partOf(atMs)] ?? 0);
  if (own === null) return [];
  return arrivals.map((one) => ({ ...one, atMs: timeAt(shape, shareAt(own, one.atMs - firstMs)) }));
}

export interface Replay {
  rng: Rng;
  trace: JobTrace;
  /** Begins the ids of its jobs. */
  stream: string;
  load: number;
  /** Where arrivals are bent to; null: they stay where they are. */
  warpTo: Shape | null;
  spanMs: number;
  catalogue: Catalogue;
}

/** Jobs of one trace in order of time, and the models that it brings along. */
export function replayJobs(replay: Replay): { jobs: PlannedJob[]; models: PlannedModel[] } {
  const { rng, trace, spanMs, load, warpTo } = replay;
  const placed = placeRequests(rng.fork('thinning'), trace.requests, { spanMs, load });
  const arrivals = warpTo === null ? placed : warp(placed, warpTo);
  if (trace.kind === 'images') return imageJobs(replay, trace, arrivals);
  return { jobs: tokenJobs(replay, trace.requests, arrivals), models: [] };
}

/** Copies have users of their own: a second copy of a session is no longer session. */
const copyOf = (name: string, copy: number) => (copy === 0 ? name : `${name}-copy-${copy}`);

function imageJobs(
  { rng, stream }: Replay,
  trace: Extract<Trace, { kind: 'images' }>,
  arrivals: Placed[],
): { jobs: PlannedJob[]; models: PlannedModel[] } {
  const bases = new Map<string, Checkpoint>();
  for (const [name, family] of trace.families) bases.set(name, checkpointOf(name, family));
  const loras = drawLoras(rng, trace.requests, bases);
  const sets = trace.requests.map((request) => {
    const { model, family } = bases.get(request.base) as Checkpoint;
    return imageSet(family, [model, ...request.loras.map((lora) => loras.get(lora) as PlannedModel)]);
  });
  const jobs = arrivals.map(({ atMs, copy, row }, index) => {
    const { user, runMs } = trace.requests[row] as ImageRequest;
    const customer = copyOf(user, copy);
    const head = { id: jobId(stream, index), atMs, customer, kind: 'image' as const, runMs, failRuns: 0 };
    return plannedJob(head, sets[row] as (typeof sets)[number]);
  });
  return { jobs, models: [...[...bases.values()].map((base) => base.model), ...loras.values()] };
}

/** LoRAs by name; one is of the family of the base model that it is first used with, its size is drawn by its name. */
function drawLoras(
  rng: Rng,
  requests: ImageRequest[],
  bases: Map<string, Checkpoint>,
): Map<string, PlannedModel> {
  const loras = new Map<string, PlannedModel>();
  for (const request of requests) {
    const { family } = bases.get(request.base) as Checkpoint;
    for (const lora of request.loras) {
      if (!loras.has(lora)) loras.set(lora, loraOf(rng.fork(`lora ${lora}`), lora, family));
    }
  }
  return loras;
}

/** Users that requests without one are shared among: an assumption. */
const tokenUsers = 300;

/** These traces name neither models nor users: both are drawn, and the tokens say how long the run takes. */
function tokenJobs(
  { rng, stream, catalogue }: Replay,
  requests: TokenRequest[],
  arrivals: Placed[],
): PlannedJob[] {
  const models = rng.fork('models');
  const users = rng.fork('users');
  return arrivals.map(({ atMs, row }, index) => {
    const model = catalogue.llms.items[rankAt(catalogue.llms.popularity, models.next())] as PlannedModel;
    const customer = `${stream}-user-${users.int(1, tokenUsers)}`;
    const runMs = tokenRunMs(requests[row] as TokenRequest, model.bytes);
    const head = { id: jobId(stream, index), atMs, customer, kind: 'llm' as const, runMs, failRuns: 0 };
    return plannedJob(head, llmSet(model));
  });
}
