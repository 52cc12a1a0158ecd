import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ModelId } from '#protocol/names.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { hourMs, type Shape, scenarioShape } from './arrivals.ts';
import { scenarioNamed } from './builtin-scenarios.ts';
import { planDay } from './plan-day.ts';
import { placeRequests, warp } from './replay.ts';
import { Scenario } from './scenario.ts';
import type { Trace } from './trace.ts';

const spanMs = 24 * hourMs;
const shape = scenarioShape(scenarioNamed('day')) as Shape;
const at = (...times: number[]) => times.map((atMs) => ({ atMs }));

/** 100 requests for images, one a minute from minute 0 of day 3 on, by two users. */
const imageTrace: Extract<Trace, { kind: 'images' }> = {
  kind: 'images',
  file: 'images.csv',
  requests: Array.from({ length: 100 }, (_, i) => ({
    atMs: 3 * spanMs + i * 60_000,
    user: `G${i % 2}`,
    base: i % 10 === 0 ? 'M2' : 'M1',
    loras: i % 5 === 0 ? ['L1', 'L2'] : [],
    runMs: 10_000 + i,
  })),
  families: new Map([
    ['M1', 'sd15'],
    ['M2', 'flux'],
  ]),
  skipped: 0,
};
const tokenTrace: Trace = {
  kind: 'tokens',
  file: 'tokens.csv',
  requests: Array.from({ length: 200 }, (_, i) => ({ atMs: i * 1_000, prompt: 100 * i, generated: 50 })),
};
const bare = Scenario.parse({ name: 'bare', jobs: { count: 0 } });
const planned = (traces: Trace[], options: { load?: number; warp?: boolean; seed?: number } = {}) =>
  planDay({ scenario: bare, seed: 1, load: 1, traces, ...options });

describe('placing requests', () => {
  test('days lie on each other: each request keeps its time of day', () => {
    const placed = placeRequests(seededRng(1), at(5, spanMs + 3, 2 * spanMs + 4), { spanMs, load: 1 });
    expect(placed).toEqual([
      { atMs: 3, copy: 0, row: 1 },
      { atMs: 4, copy: 0, row: 2 },
      { atMs: 5, copy: 0, row: 0 },
    ]);
  });

  test('a whole load gives whole copies, shifted against each other; the original stays', () => {
    const requests = at(...Array.from({ length: 100 }, (_, i) => i * 1_000));
    const placed = placeRequests(seededRng(1), requests, { spanMs, load: 3 });
    const copies = [0, 1, 2].map((copy) => placed.filter((one) => one.copy === copy));
    expect(copies.map((copy) => copy.length)).toEqual([100, 100, 100]);
    expect(copies[0]!.map(({ atMs }) => ({ atMs }))).toEqual(requests);
    expect(copies[1]![0]!.atMs).toBe(Math.round(0.618_033_988_749_895 * spanMs));
    expect(new Set(copies.map((copy) => copy[0]!.atMs)).size).toBe(3);
  });

  test('a fraction is thinned: every request is kept by its chance, the same ones for the same seed', () => {
    const requests = at(...Array.from({ length: 10_000 }, (_, i) => i));
    const place = (seed: number) => placeRequests(seededRng(seed), requests, { spanMs, load: 0.3 });
    expect(place(1).length / 10_000).toBeCloseTo(0.3, 1.5);
    expect(place(1)).toEqual(place(1));
    expect(place(2)).not.toEqual(place(1));
    const more = placeRequests(seededRng(1), requests, { spanMs, load: 2.3 });
    expect(more.length / 10_000).toBeCloseTo(2.3, 1.5);
  });

  test('whatever the load, all come in order of time within the span', () => {
    const times = fc
      .array(fc.nat(10 * spanMs), { maxLength: 40 })
      .map((all) => at(...all.sort((a, b) => a - b)));
    fc.assert(
      fc.property(times, fc.double({ min: 0.01, max: 5, noNaN: true }), fc.nat(), (requests, load, seed) => {
        const placed = placeRequests(seededRng(seed), requests, { spanMs, load });
        const order = placed.map((one) => one.atMs);
        expect(order).toEqual([...order].sort((a, b) => a - b));
        expect(order.every((atMs) => atMs >= 0 && atMs < spanMs)).toBe(true);
        expect(placed.length).toBeGreaterThanOrEqual(Math.floor(load) * requests.length);
        expect(placed.length).toBeLessThanOrEqual(Math.ceil(load) * requests.length);
      }),
      { numRuns: 60 },
    );
  });
});

describe('bending arrivals', () => {
  test('order stays, and all lie within the span', () => {
    const times = fc.array(fc.nat(spanMs - 1), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(times, (all) => {
        const bent = warp(at(...all.sort((a, b) => a - b)), shape).map((one) => one.atMs);
        expect(bent).toEqual([...bent].sort((a, b) => a - b));
        expect(bent.every((atMs) => Number.isInteger(atMs) && atMs >= 0 && atMs < spanMs)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('the hours get the shares of the shape, however the trace was shaped', () => {
    const rng = seededRng(1);
    // Nearly everything between 1 and 3 o'clock, when the shape is at its lowest.
    const night = Array.from({ length: 20_000 }, () => Math.floor((1 + 2 * rng.next()) * hourMs)).sort(
      (a, b) => a - b,
    );
    const bent = warp(at(...night), shape);
    const noon = bent.filter((one) => one.atMs >= 12 * hourMs && one.atMs < 13 * hourMs).length / bent.length;
    expect(noon).toBeCloseTo(50 / 750, 1.7);
    const dark = bent.filter((one) => one.atMs < hourMs).length / bent.length;
    expect(dark).toBeCloseTo(10 / 750, 1.7);
  });

  test('half an hour of traffic becomes a whole day', () => {
    const evenly = Array.from(
      { length: 9_600 },
      (_, i) => 40 * 60_000 + Math.floor((i * 30 * 60_000) / 9_600),
    );
    const hours = new Array<number>(24).fill(0);
    for (const { atMs } of warp(at(...evenly), shape)) hours[Math.floor(atMs / hourMs)]! += 1;
    expect(Math.max(...hours) / 400).toBeCloseTo(1.6, 0.9);
    expect(Math.min(...hours) / 400).toBeCloseTo(0.32, 0.9);
  });

  test('a burst stays a burst', () => {
    const even = Array.from({ length: 1_440 }, (_, i) => i * 60_000);
    const burst = Array.from({ length: 50 }, (_, i) => 15 * hourMs + 500 + i * 20);
    const bent = warp(at(...[...even, ...burst].sort((a, b) => a - b)), shape).map((one) => one.atMs);
    const densest = bent.filter((atMs, index) => (bent[index + 40] ?? Infinity) - atMs < 5_000);
    expect(densest.length).toBeGreaterThan(5);
  });

  test('without any arrival nothing is bent', () => {
    expect(warp([], shape)).toEqual([]);
  });
});

describe('a day of a trace', () => {
  test('its requests are jobs with their own models, run times and users', () => {
    const plan = planned([imageTrace], { warp: false });
    expect(plan.jobs).toHaveLength(100);
    expect(plan.jobs[0]).toMatchObject({
      id: 'trace-1-000001',
      atMs: 0,
      customer: 'G0',
      kind: 'image',
      models: ['M2', 'L1', 'L2'],
      runMs: 10_000,
      pool: 'heavy',
    });
    expect(plan.jobs[1]).toMatchObject({ atMs: 60_000, customer: 'G1', models: ['M1'], pool: 'standard' });
    const models = new Map(plan.models.map((model) => [model.id, model]));
    expect(models.get('M1')).toMatchObject({ kind: 'checkpoint', bytes: 2.13e9 });
    expect(models.get('M2')).toMatchObject({ kind: 'checkpoint', bytes: 17.2e9 });
    expect(models.get('L1')).toMatchObject({ kind: 'lora' });
    expect(plan.models.every((model) => ModelId.safeParse(model.id).success)).toBe(true);
  });

  test('a LoRA has the same size in every plan of a seed, whatever else the trace holds', () => {
    const sizeIn = (trace: Trace) => planned([trace]).models.find((model) => model.id === 'L2')?.bytes;
    const shorter = { ...imageTrace, requests: imageTrace.requests.slice(0, 3) };
    expect(sizeIn(shorter)).toBe(sizeIn(imageTrace));
  });

  test('tokens become run times on drawn language models', () => {
    const { jobs, models } = planned([tokenTrace], { warp: false });
    expect(jobs).toHaveLength(200);
    expect(jobs.every((job) => job.kind === 'llm' && job.models.length === 1)).toBe(true);
    const known = new Set(models.map((model) => model.id));
    expect(jobs.every((job) => known.has(job.models[0]!))).toBe(true);
    expect(jobs.at(-1)!.runMs).toBeGreaterThan(jobs[0]!.runMs);
  });

  test('requests take the place of everyday jobs of their kind, the others and the events stay', () => {
    const scenario = Scenario.parse({
      name: 'mixed',
      jobs: { count: 2_000 },
      events: [{ kind: 'flood', atHour: 1, hours: 1, jobs: 30 }],
    });
    const without = planDay({ scenario, seed: 1, load: 1 }).jobs;
    const { jobs } = planDay({ scenario, seed: 1, load: 1, traces: [imageTrace] });
    const everyday = (all: typeof jobs) => all.filter((job) => job.id.startsWith('day-'));
    expect(everyday(jobs)).toEqual(everyday(without).filter((job) => job.kind !== 'image'));
    expect(jobs.filter((job) => job.id.startsWith('trace-1-'))).toHaveLength(100);
    expect(jobs.filter((job) => job.id.startsWith('flood-1-'))).toHaveLength(30);
  });

  test('several traces lie on each other, each as it is alone', () => {
    const both = planned([imageTrace, tokenTrace, imageTrace]);
    expect(both.jobs).toHaveLength(400);
    expect(new Set(both.jobs.map((job) => job.id)).size).toBe(400);
    expect(new Set(both.models.map((model) => model.id)).size).toBe(both.models.length);
    const first = both.jobs.filter((job) => job.id.startsWith('trace-1-'));
    expect(first).toEqual(planned([imageTrace]).jobs);
    const times = both.jobs.map((job) => job.atMs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });

  test('copies of a load have users of their own', () => {
    const { jobs } = planned([imageTrace], { load: 2 });
    expect(jobs).toHaveLength(200);
    expect(new Set(jobs.map((job) => job.customer))).toEqual(new Set(['G0', 'G1', 'G0-copy-1', 'G1-copy-1']));
  });

  test('equal seeds give equal plans, and a trace changes no machine', () => {
    expect(planned([imageTrace, tokenTrace], { load: 1.5 })).toEqual(
      planned([imageTrace, tokenTrace], { load: 1.5 }),
    );
    expect(planned([imageTrace]).machines).toEqual(planned([]).machines);
  });

  test('too many requests times the load are refused', () => {
    const request = tokenTrace.kind === 'tokens' ? tokenTrace.requests[0]! : null;
    const many: Trace = { kind: 'tokens', file: 'many.csv', requests: Array(30_000).fill(request) };
    expect(() => planned([many], { load: 100 })).toThrow('3000000 jobs are more than 2000000');
  });

  test('spot availability takes machines and leaves the jobs', () => {
    const lanes = [{ lengthMs: spanMs, alive: [{ fromMs: 0, untilMs: 5 * hourMs }] }];
    const plan = planned([{ kind: 'spot', file: 'spot.csv', lanes }, imageTrace]);
    expect(plan.jobs).toHaveLength(100);
    const lost = plan.machines.filter((one) => one.ending === 'lost');
    expect(lost.length).toBeGreaterThan(0);
    expect(new Set(lost.map((one) => one.endMs)).size).toBe(1);
    expect(plan.machines).not.toEqual(planned([imageTrace]).machines);
  });
});
