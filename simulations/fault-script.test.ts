import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { playScript } from './chaos.ts';
import { readScript } from './chaos-script.ts';
import { drawFaults, type FaultWorld, leastKinds } from './fault-draws.ts';
import { Fault, faultKinds } from './fault-script.ts';
import { hubFaultKinds } from './hub-faults.ts';
import { machineFaultKinds } from './machine-faults.ts';
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

  test('a script is data: every fault that is drawn survives JSON and its own schema', () => {
    for (let seed = 0; seed < 20; seed++)
      for (const fault of drawFaults(seededRng(seed), world, 50))
        expect(Fault.parse(JSON.parse(JSON.stringify(fault)))).toEqual(fault);
  });

  test('seeds leave kinds out, none has fewer than five, and over some seeds every kind is drawn', () => {
    const kindsOf = (seed: number) =>
      new Set(drawFaults(seededRng(seed), world, 36).map((fault) => fault.kind));
    const perSeed = Array.from({ length: 40 }, (_, seed) => kindsOf(seed));
    expect(perSeed.every((kinds) => kinds.size < faultKinds.length)).toBe(true);
    expect(Math.min(...perSeed.map((kinds) => kinds.size))).toBeGreaterThanOrEqual(leastKinds);
    expect(new Set(perSeed.flatMap((kinds) => [...kinds])).size).toBe(faultKinds.length);
  });

  test('each kind of machine and hub faults is one of the script, and none is both', () => {
    const handled = [...machineFaultKinds, ...hubFaultKinds];
    expect(new Set(handled).size).toBe(handled.length);
    expect(handled.every((kind) => faultKinds.includes(kind))).toBe(true);
  });

  test.each([
    [{ atMs: -1, kind: 'link.cut', machine: 0 }, 'atMs'],
    [{ atMs: 0, kind: 'link.cut', machine: 1.5 }, 'machine'],
    [{ atMs: 0, kind: 'machine.freeze', machine: 0, forMs: 1, first: 'luck' }, 'first'],
    [{ atMs: 0, kind: 'machine.melts', machine: 0 }, 'kind'],
  ])('%j is refused at its field', (fault, field) => {
    expect(Fault.safeParse(fault).error?.issues.map(({ path }) => path)).toEqual([[field]]);
  });
});

describe('a link that stalls from a completion on', () => {
  test('holds that completion until another machine has the job', async () => {
    const path = 'simulations/regressions/stale-completion-after-a-stall.json';
    const script = readScript(readFileSync(new URL(`../${path}`, import.meta.url), 'utf8'), path);
    const stall = { atMs: 0, kind: 'link.stall', from: 'completion', forMs: 38_000 } as const;
    const faults = script.machines.map((machine) => ({ ...stall, machine }));
    const report = await playScript({ ...script, faults });
    expect(report.problem).toBeNull();
    expect(report.sometimes).toMatchObject({ 'fault: link.stall': 1, 'a stale completion was refused': 1 });
    expect(report.ended).toEqual({ succeeded: 1 });
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
