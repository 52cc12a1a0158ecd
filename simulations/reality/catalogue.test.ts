import { describe, expect, test } from 'vitest';
import { ModelId } from '#protocol/names.ts';
import type { JobKind } from '#simulations/day/plan.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { drawCatalogue, families, imageFamilies } from './catalogue.ts';
import { gpuClasses, smallestPool, vramReserveMb } from './gpu-classes.ts';
import { drawModelSet, imageSet, largestNeedMb } from './model-set.ts';
import { drawRunMs, longestTokenRunMs, tokenRunMs } from './service-times.ts';

const size = { checkpoints: 105, loras: 400, controlnets: 24, llms: 10 };
const catalogue = drawCatalogue(seededRng(1), size);
const shares = { lora: 0.16, controlnet: 0.1 };

function sets(kind: JobKind, count: number, seed = 'sets') {
  const rng = seededRng(seed);
  return Array.from({ length: count }, () => drawModelSet(rng, kind, catalogue, shares));
}

describe('catalogue', () => {
  test('it has several hundred models, each with a name of its own that every store takes', () => {
    const ids = catalogue.models.map((model) => model.id);
    expect(ids.length).toBeGreaterThan(500);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.every((id) => ModelId.safeParse(id).success)).toBe(true);
    expect(
      catalogue.models.every(({ bytes, vramMb }) => Number.isInteger(bytes) && Number.isInteger(vramMb)),
    ).toBe(true);
  });

  test('a seed gives one catalogue, another seed another', () => {
    expect(drawCatalogue(seededRng(1), size)).toEqual(catalogue);
    expect(drawCatalogue(seededRng(2), size).models).not.toEqual(catalogue.models);
  });

  test('LoRAs have the published sizes of their family', () => {
    for (const family of imageFamilies) {
      const { from, to } = families[family].loraBytes;
      const bytes = catalogue.loras[family].items.map((lora) => lora.bytes);
      expect(Math.min(...bytes)).toBeGreaterThanOrEqual(from);
      expect(Math.max(...bytes)).toBeLessThanOrEqual(to);
    }
  });

  test('a catalogue of the least size still serves every kind', () => {
    const least = drawCatalogue(seededRng(1), { checkpoints: 1, loras: 3, controlnets: 3, llms: 1 });
    for (const kind of ['llm', 'image', 'video'] as const) {
      const set = drawModelSet(seededRng(1), kind, least, { lora: 1, controlnet: 1 });
      expect(set.models.every((model) => least.models.includes(model))).toBe(true);
      expect(set.models.length).toBeGreaterThan(0);
    }
  });
});

describe('what jobs ask for', () => {
  test('the top 1, 5, 10 and 20 base models have 31, 70, 87 and 94 % of the images', () => {
    const counts = new Map<string, number>();
    const drawn = sets('image', 30_000);
    for (const set of drawn) counts.set(set.models[0]!.id, (counts.get(set.models[0]!.id) ?? 0) + 1);
    const sorted = [...counts.values()].sort((a, b) => b - a);
    const top = (n: number) => sorted.slice(0, n).reduce((sum, count) => sum + count, 0) / drawn.length;
    expect(top(1)).toBeCloseTo(0.31, 1.5);
    expect(top(5)).toBeCloseTo(0.7, 1.5);
    expect(top(10)).toBeCloseTo(0.87, 1.5);
    expect(top(20)).toBeCloseTo(0.94, 1.5);
  });

  test('LoRAs are in 16 % of images, ControlNets in a tenth, all of the family of the base model', () => {
    const drawn = sets('image', 20_000);
    const withKind = (kind: string) => drawn.filter((set) => set.models.some((model) => model.kind === kind));
    expect(withKind('lora').length / drawn.length).toBeCloseTo(0.16, 1.5);
    expect(withKind('controlnet').length / drawn.length).toBeCloseTo(0.1, 1.5);
    const wrong = drawn.filter(
      ({ family, models }) =>
        models[0]?.kind !== 'checkpoint' ||
        models.slice(1).some((model) => !model.id.includes(`-${family}-`)) ||
        new Set(models).size < models.length,
    );
    expect(wrong).toEqual([]);
  });

  test('images are SD1.5 and SDXL about alike and Flux rarely', () => {
    const drawn = sets('image', 20_000);
    const share = (family: string) => drawn.filter((set) => set.family === family).length / drawn.length;
    expect(share('sd15')).toBeGreaterThan(0.36);
    expect(share('sd15')).toBeLessThan(0.46);
    expect(share('sdxl')).toBeGreaterThan(0.46);
    expect(share('flux')).toBeGreaterThan(0.04);
    expect(share('flux')).toBeLessThan(0.08);
  });

  test('every set fits a card of its pool with all its models in memory', () => {
    for (const kind of ['llm', 'image', 'video', 'cpu'] as const) {
      const wrong = sets(kind, 5_000).filter(({ models, vramMb, pool }) => {
        const loadedMb = models.reduce((sum, model) => sum + model.vramMb, 0);
        const freeMb = Math.min(...gpuClasses[pool].map((one) => one.vramMb)) - vramReserveMb;
        return loadedMb > vramMb || vramMb > freeMb;
      });
      expect(wrong).toEqual([]);
    }
  });

  test('Flux and most videos need 24 GB, other images 12 or less, CPU work no card at all', () => {
    const needs = (kind: JobKind, wanted: (family: string | null) => boolean) =>
      sets(kind, 5_000)
        .filter((set) => wanted(set.family))
        .map((set) => smallestPool(set.vramMb));
    expect(new Set(needs('image', (family) => family === 'flux'))).toEqual(new Set(['heavy']));
    expect(needs('image', (family) => family === 'sd15')).not.toContain('heavy');
    const videos = needs('video', () => true);
    expect(videos.filter((pool) => pool === 'heavy').length / videos.length).toBeCloseTo(0.55, 1);
    expect(sets('cpu', 3)).toEqual(Array(3).fill({ models: [], family: null, vramMb: 0, pool: 'fast-lane' }));
  });

  test('a set that no card holds is offloaded in part and asks for the largest card', () => {
    const flux = catalogue.checkpoints.items.find((one) => one.family === 'flux')!;
    const loras = catalogue.loras.flux.items.slice(0, 30);
    expect(imageSet('flux', [flux.model, ...loras])).toMatchObject({ vramMb: largestNeedMb, pool: 'heavy' });
    expect(smallestPool(largestNeedMb)).toBe('heavy');
  });
});

describe('run times', () => {
  test('every kind keeps its range, and uses all of it', () => {
    const ranges = { llm: [1, 3], cpu: [1, 3], image: [20, 60], video: [300, 600] } as const;
    for (const kind of ['llm', 'cpu', 'image', 'video'] as const) {
      const rng = seededRng(kind);
      const families = kind === 'image' ? imageFamilies : [null];
      const seconds = Array.from({ length: 3_000 }, (_, i) =>
        drawRunMs(rng, kind, families[i % families.length] ?? null),
      ).map((ms) => ms / 1000);
      const [from, to] = ranges[kind];
      expect(Math.min(...seconds)).toBeGreaterThanOrEqual(from);
      expect(Math.max(...seconds)).toBeLessThanOrEqual(to);
      expect(Math.max(...seconds)).toBeGreaterThan(from + 0.9 * (to - from));
    }
  });

  test('more tokens and larger models take longer, and no request takes longer than the limit', () => {
    const run = (prompt: number, generated: number, gb: number) =>
      tokenRunMs({ prompt, generated }, gb * 1e9);
    expect(run(2_000, 60, 4.9)).toBe(2_000);
    expect(run(0, 120, 4.9)).toBe(2_000);
    expect(run(1_000, 100, 7.3)).toBeGreaterThan(run(1_000, 100, 4.9));
    expect(run(1_000, 100, 4.9)).toBeGreaterThan(run(1_000, 100, 2));
    expect(run(0, 0, 2)).toBe(1);
    expect(run(10_000_000, 10_000_000, 7.3)).toBe(longestTokenRunMs);
  });
});
