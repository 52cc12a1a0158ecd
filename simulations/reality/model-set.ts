import type { Rng } from '#protocol/env.ts';
import type { JobKind, PlannedModel } from '#simulations/day/plan.ts';
import type { Catalogue, Choice, ImageFamily } from './catalogue.ts';
import { families, llmWorkMb } from './catalogue.ts';
import { type PoolName, smallestPool } from './gpu-classes.ts';
import { rankAt } from './popularity.ts';

/** What a job needs of a machine, and where it would rather run. */
export interface ModelSet {
  /** The base model first; empty for jobs that need none. */
  models: PlannedModel[];
  /** Of images only. */
  family: ImageFamily | null;
  vramMb: number;
  pool: PoolName;
}

export interface SetShares {
  /** Images with at least one LoRA; GenTD26: 16 %. */
  lora: number;
  /** Images with a ControlNet: the trace has only their loads, so the share is an assumption. */
  controlnet: number;
}

/** How many LoRAs an image with LoRAs has. Source: GenTD26, its first part: 2 366, 63 and 29 of 2 465, at most 6. */
const loraCounts = [
  { below: 0.96, count: 1 },
  { below: 0.988, count: 2 },
  { below: 1, count: 3 },
];

const noModels: ModelSet = { models: [], family: null, vramMb: 0, pool: 'fast-lane' };

/** Draws the models that a fresh request asks for. */
export function drawModelSet(rng: Rng, kind: JobKind, from: Catalogue, shares: SetShares): ModelSet {
  if (kind === 'cpu') return noModels;
  if (kind === 'llm') return llmSet(pickFrom(from.llms, rng));
  if (kind === 'video') {
    const { models, vramMb } = pickFrom(from.videoSets, rng);
    return { models, family: null, vramMb, pool: 'heavy' };
  }
  return drawImageSet(rng, from, shares);
}

/** Language models run in a second or three, so they belong on the fast lane where a card of it holds them. */
export function llmSet(model: PlannedModel): ModelSet {
  const vramMb = model.vramMb + llmWorkMb;
  return { models: [model], family: null, vramMb, pool: smallestPool(vramMb) ?? 'heavy' };
}

function drawImageSet(rng: Rng, from: Catalogue, shares: SetShares): ModelSet {
  const { model, family } = pickFrom(from.checkpoints, rng);
  const withLora = rng.next() < shares.lora;
  const draw = rng.next();
  const count = withLora ? (loraCounts.find(({ below }) => draw < below)?.count ?? 1) : 0;
  const loras = new Set<PlannedModel>();
  for (let index = 0; index < count; index++) loras.add(pickFrom(from.loras[family], rng));
  const controlnets = rng.next() < shares.controlnet ? [pickFrom(from.controlnets[family], rng)] : [];
  return imageSet(family, [model, ...loras, ...controlnets]);
}

/**
 * An image's set with the memory of all its models and of the work itself. What no card holds is offloaded
 * in part, as ComfyUI does: such a set needs the largest card and no more. Images of 8 GB sets prefer the
 * standard pool all the same: the fast lane is for jobs of seconds.
 */
export function imageSet(family: ImageFamily, models: PlannedModel[]): ModelSet {
  const needMb = models.reduce((sum, model) => sum + model.vramMb, families[family].workMb);
  const pool = smallestPool(needMb);
  if (pool === null) return { models, family, vramMb: largestNeedMb, pool: 'heavy' };
  return { models, family, vramMb: needMb, pool: pool === 'fast-lane' ? 'standard' : pool };
}

/** Most that a job may ask for: a card of 24 GB less its reserve. */
export const largestNeedMb = 24 * 1024 - 512;

function pickFrom<T>(choice: Choice<T>, rng: Rng): T {
  return choice.items[rankAt(choice.popularity, rng.next())] as T;
}
