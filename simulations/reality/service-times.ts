import type { Rng } from '#protocol/env.ts';
import type { JobKind } from '#simulations/day/plan.ts';
import type { ImageFamily } from './catalogue.ts';
import { leaning } from './quantiles.ts';

/**
 * Run times with every model in memory on a machine of speed 1, ms. The ranges are those of the standard
 * day: 1–3 s for language models and CPU work, 20–60 s for images, 300–600 s for videos. Within its range
 * a run leans to the short end; how much, and where a family lies, are assumptions that follow GenTD26,
 * where SD1.5 is quick (median under 20 s), SDXL between and Flux slow (from 55 s on).
 */
const ranges = {
  llm: { from: 1_000, to: 3_000, lean: 1.3 },
  cpu: { from: 1_000, to: 3_000, lean: 1.6 },
  video: { from: 300_000, to: 600_000, lean: 1.5 },
  sd15: { from: 20_000, to: 40_000, lean: 1.8 },
  sdxl: { from: 20_000, to: 60_000, lean: 1.6 },
  flux: { from: 35_000, to: 60_000, lean: 1 },
} as const;

export function drawRunMs(rng: Rng, kind: JobKind, family: ImageFamily | null): number {
  const range = ranges[kind === 'image' ? (family ?? 'sdxl') : kind];
  return Math.round(leaning(rng, range));
}

/**
 * Share of jobs whose first run fails and whose second succeeds. GenTD26: 253 of 15,630 requests failed;
 * that a second try helps is an assumption.
 */
export const failShare = 0.016;

/** Tokens per second on a card of speed 1 by size of the model: assumptions, typical of 4 bits on a 12 GB card. */
const tokenRates = [
  { upToBytes: 3e9, prefill: 4_000, decode: 110 },
  { upToBytes: 6e9, prefill: 2_000, decode: 60 },
  { upToBytes: Infinity, prefill: 1_200, decode: 35 },
];

/** Longest run that a trace of tokens may ask for, ms: prompts of servers' traces are longer than such cards take. */
export const longestTokenRunMs = 600_000;

/** Run time of a request to a language model of `modelBytes`, ms. */
export function tokenRunMs(tokens: { prompt: number; generated: number }, modelBytes: number): number {
  const rate = tokenRates.find(({ upToBytes }) => modelBytes <= upToBytes) as (typeof tokenRates)[number];
  const seconds = tokens.prompt / rate.prefill + tokens.generated / rate.decode;
  return Math.min(longestTokenRunMs, Math.max(1, Math.round(seconds * 1000)));
}
