import { describe, expect, test } from 'vitest';
import { drawFaults, type FaultWorld, faultKinds } from './fault-script.ts';
import { seededRng } from './seeded-rng.ts';
import { Sometimes } from './sometimes.ts';

const world: FaultWorld = { machines: 6, hubs: 2, jobs: 100, leaseTtlMs: 30_000, spanMs: 300_000 };

describe('fault scripts', () => {
  test('a seed gives the same script, in order of time and within its span', () => {
    const draw = (seed: number) => drawFaults(seededRng(seed), world, 30);
    expect(draw(4)).toEqual(draw(4));
    expect(draw(5)).not.toEqual(draw(4));
    const times = draw(4).map((fault) => fault.atMs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(times.every((atMs) => atMs >= 0 && atMs <= world.spanMs)).toBe(true);
  });

  test('a script is data: it survives JSON', () => {
    const script = drawFaults(seededRng(1), world, 50);
    expect(JSON.parse(JSON.stringify(script))).toEqual(script);
  });

  test('seeds leave kinds out, and over some seeds every kind is drawn', () => {
    const kindsOf = (seed: number) =>
      new Set(drawFaults(seededRng(seed), world, 60).map((fault) => fault.kind));
    const perSeed = Array.from({ length: 30 }, (_, seed) => kindsOf(seed));
    expect(perSeed.every((kinds) => kinds.size < faultKinds.length)).toBe(true);
    expect(new Set(perSeed.flatMap((kinds) => [...kinds])).size).toBe(faultKinds.length);
  });
});

describe('sometimes', () => {
  test('what never happened is named, and an undeclared name is refused', () => {
    const one = new Sometimes(['lease expired', 'broker lost']);
    one.seen('lease expired');
    expect(one.missing()).toEqual(['broker lost']);
    expect(() => one.seen('lease expird')).toThrow('not declared');
    const two = new Sometimes(['lease expired', 'broker lost']);
    two.seen('broker lost', 3);
    one.add(two);
    expect(one.missing()).toEqual([]);
    expect(one.counts()).toEqual({ 'lease expired': 1, 'broker lost': 3 });
  });
});
