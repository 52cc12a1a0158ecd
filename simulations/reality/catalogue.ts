import type { Rng } from '#protocol/env.ts';
import type { PlannedModel } from '#simulations/day/plan.ts';
import { type Popularity, popularity, weighted, zipf } from './popularity.ts';
import { leaning } from './quantiles.ts';

export const imageFamilies = ['sd15', 'sdxl', 'flux'] as const;
export type ImageFamily = (typeof imageFamilies)[number];

const gb = 1e9;
const mib = 1_048_576;
const inMib = (bytes: number) => Math.ceil(bytes / mib);

/**
 * Files of a family, bytes. Sources: the model list of ComfyUI-Manager (562 entries) for checkpoints,
 * ControlNets and the sizes between which LoRAs lie; LoRAs of SD1.5 and the lean to small ones are
 * assumptions. `workMb` is what sampling and decoding take beside the weights, MiB: an assumption.
 */
export const families: Record<
  ImageFamily,
  {
    checkpointBytes: number;
    controlnetBytes: number;
    loraBytes: { from: number; to: number };
    workMb: number;
  }
> = {
  sd15: {
    checkpointBytes: 2.13 * gb,
    controlnetBytes: 0.72 * gb,
    loraBytes: { from: 0.02 * gb, to: 0.15 * gb },
    workMb: 1_500,
  },
  sdxl: {
    checkpointBytes: 6.94 * gb,
    controlnetBytes: 2.5 * gb,
    loraBytes: { from: 0.05 * gb, to: 0.8 * gb },
    workMb: 1_800,
  },
  flux: {
    checkpointBytes: 17.2 * gb,
    controlnetBytes: 1.5 * gb,
    loraBytes: { from: 0.05 * gb, to: 1.4 * gb },
    workMb: 2_500,
  },
};

/**
 * Base models: 31, 70, 87 and 94 % of all requests go to the first 1, 5, 10 and 20. Source: GenTD26, the
 * whole trace (87 base models).
 */
const checkpointAnchors = [
  { rank: 1, share: 0.31 },
  { rank: 5, share: 0.7 },
  { rank: 10, share: 0.87 },
  { rank: 20, share: 0.94 },
  { rank: 87, share: 1 },
];

/** LoRAs: the top 10 of 874 have 28 % of all uses (GenTD26); the other ranks are of its first part, where 265 appear. */
const loraAnchors = [
  { rank: 1, share: 0.05 },
  { rank: 5, share: 0.18 },
  { rank: 10, share: 0.28 },
  { rank: 50, share: 0.65 },
  { rank: 200, share: 0.96 },
  { rank: 874, share: 1 },
];

/**
 * Families of the most popular base models, in order of rank. Source: GenTD26 by median run time (under
 * 20 s SD1.5, under 55 s SDXL, else Flux): 42 % of requests SD1.5, 51 % SDXL, 6 % Flux, and of the models
 * 22, 53 and 2 of 77. The names of models are not in the trace.
 */
const firstFamilies: readonly ImageFamily[] = [
  'sd15',
  'sdxl',
  'sdxl',
  'sd15',
  'flux',
  'sdxl',
  'sdxl',
  'sdxl',
  'sdxl',
  'sdxl',
];

/** One of the sets of files that a video workflow loads. */
export interface VideoSet {
  models: PlannedModel[];
  vramMb: number;
}

export interface Choice<T> {
  items: T[];
  popularity: Popularity;
}

export interface Checkpoint {
  model: PlannedModel;
  family: ImageFamily;
}

/** Everything that jobs may ask for, each list with its popularity, most popular first. */
export interface Catalogue {
  models: PlannedModel[];
  checkpoints: Choice<Checkpoint>;
  loras: Record<ImageFamily, Choice<PlannedModel>>;
  controlnets: Record<ImageFamily, Choice<PlannedModel>>;
  llms: Choice<PlannedModel>;
  videoSets: Choice<VideoSet>;
}

export interface CatalogueSize {
  checkpoints: number;
  loras: number;
  controlnets: number;
  llms: number;
}

export function drawCatalogue(rng: Rng, size: CatalogueSize): Catalogue {
  const checkpoints = drawCheckpoints(rng.fork('checkpoints'), size.checkpoints);
  const loras = byFamily((family, share) =>
    drawLoras(rng.fork(`loras ${family}`), family, Math.max(1, Math.round(size.loras * share))),
  );
  const controlnets = byFamily((family, share) =>
    controlnetsOf(family, Math.max(1, Math.round(size.controlnets * share))),
  );
  const llms = llmsOf(size.llms);
  const videoSets = allVideoSets();
  const models = [
    ...checkpoints.items.map((one) => one.model),
    ...imageFamilies.flatMap((family) => [...loras[family].items, ...controlnets[family].items]),
    ...llms.items,
    ...new Set(videoSets.items.flatMap((set) => set.models)),
  ];
  return { models, checkpoints, loras, controlnets, llms, videoSets };
}

/** LoRAs and ControlNets by family, as the base models' requests are shared: an assumption. */
const familyShare: Record<ImageFamily, number> = { sd15: 0.4, sdxl: 0.5, flux: 0.1 };

function byFamily<T>(make: (family: ImageFamily, share: number) => T): Record<ImageFamily, T> {
  return {
    sd15: make('sd15', familyShare.sd15),
    sdxl: make('sdxl', familyShare.sdxl),
    flux: make('flux', familyShare.flux),
  };
}

const numbered = (prefix: string, index: number) => `${prefix}-${String(index + 1).padStart(3, '0')}`;

function model(id: string, kind: PlannedModel['kind'], bytes: number): PlannedModel {
  return { id, kind, bytes: Math.round(bytes), vramMb: inMib(bytes) };
}

/** A base model of a family, under a name of its own or of a trace. */
export function checkpointOf(id: string, family: ImageFamily): Checkpoint {
  return { model: model(id, 'checkpoint', families[family].checkpointBytes), family };
}

/** A LoRA of a family; its size leans to the small end of those published. */
export function loraOf(rng: Rng, id: string, family: ImageFamily): PlannedModel {
  return model(id, 'lora', leaning(rng, { ...families[family].loraBytes, lean: 1.3 }));
}

function drawCheckpoints(rng: Rng, count: number): Choice<Checkpoint> {
  const items = Array.from({ length: count }, (_, index) => {
    const draw = rng.next();
    const later = draw < 0.28 ? 'sd15' : draw < 0.97 ? 'sdxl' : 'flux';
    const family = firstFamilies[index] ?? later;
    return checkpointOf(numbered(family, index), family);
  });
  return { items, popularity: popularity(count, checkpointAnchors) };
}

function drawLoras(rng: Rng, family: ImageFamily, count: number): Choice<PlannedModel> {
  const items = Array.from({ length: count }, (_, index) =>
    loraOf(rng, numbered(`lora-${family}`, index), family),
  );
  return { items, popularity: popularity(count, loraAnchors) };
}

/** How ControlNets are shared out is in no trace: Zipf's law with exponent 1, an assumption. */
function controlnetsOf(family: ImageFamily, count: number): Choice<PlannedModel> {
  const bytes = families[family].controlnetBytes;
  const items = Array.from({ length: count }, (_, index) =>
    model(numbered(`controlnet-${family}`, index), 'controlnet', bytes),
  );
  return { items, popularity: zipf(count, 1) };
}

/**
 * Language models of 4 bits. Sizes: the tables of Ollama's README, 8B about 4.9 GB. 70B (39 GB) fits no card of the fleet
 * and is left out. The order of sizes by rank and Zipf's law with exponent 1 are assumptions.
 */
const llmSizes: readonly { name: string; bytes: number }[] = [
  { name: '8b', bytes: 4.9 * gb },
  { name: '3b', bytes: 2 * gb },
  { name: '7b', bytes: 4.1 * gb },
  { name: '13b', bytes: 7.3 * gb },
  { name: '8b', bytes: 4.9 * gb },
];

/** Memory that the context of a language model takes beside its weights, MiB: an assumption. */
export const llmWorkMb = 1_500;

function llmsOf(count: number): Choice<PlannedModel> {
  const items = Array.from({ length: count }, (_, index) => {
    const size = llmSizes[index % llmSizes.length] as (typeof llmSizes)[number];
    return model(numbered(`llm-${size.name}`, index), 'llm', size.bytes);
  });
  return { items, popularity: zipf(count, 1) };
}

/** A file of a video set. Text encoders lie in RAM while the main model computes, hence their 0 MiB. */
function videoFile(id: string, bytes: number, vramMb: number): PlannedModel {
  return { id, kind: 'video', bytes, vramMb };
}

/**
 * Video sets with the file sizes of ComfyUI-Manager's list. Weights that are larger than a card stay in
 * part in RAM, so what they take of the card is an assumption, and so are the shares: 45 % of the requests go to the set
 * that a card of 12 GB runs, the others need 24 GB.
 */
function allVideoSets(): Choice<VideoSet> {
  const encoder = videoFile('umt5-xxl-fp8', 6.74 * gb, 0);
  const wan21 = videoFile('wan-2.1-14b-fp8', 15.3 * gb, 14_600);
  const experts = ['high', 'low'].map((noise) => videoFile(`wan-2.2-14b-${noise}-fp8`, 14.3 * gb, 9_500));
  const sets = [
    { share: 0.45, vramMb: 9_000, models: [videoFile('wan-2.1-1.3b', 2.84 * gb, 2_709), encoder] },
    { share: 0.25, vramMb: 21_000, models: [wan21, encoder] },
    { share: 0.15, vramMb: 22_000, models: [...experts, encoder] },
    { share: 0.1, vramMb: 22_000, models: [videoFile('ltx-2-fp8', 27.1 * gb, 19_000)] },
    { share: 0.05, vramMb: 22_000, models: [videoFile('hunyuan-video', 25.6 * gb, 19_000)] },
  ];
  return {
    items: sets.map(({ models, vramMb }) => ({ models, vramMb })),
    popularity: weighted(sets.map((set) => set.share)),
  };
}
