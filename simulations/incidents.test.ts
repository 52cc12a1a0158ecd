import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import { runChaos } from './chaos.ts';
import type { Fault } from './fault-script.ts';
import { incidents } from './incidents.ts';
import { play } from './interleavings.ts';
import { Stage, type StoreFactory, stageTtlMs } from './stage.ts';
import { embeddedStores } from './stores-embedded.ts';

const factory = embeddedStores({ leaseTtlMs: stageTtlMs });

describe(`incidents on ${factory.name}`, () => {
  test.each(incidents.map((each) => [each.name, each] as const))('%s', async (_name, incident) => {
    await play(incident, factory);
  });

  test('T18: machines whose clocks are ten minutes off change nothing of what happens', {
    timeout: 120_000,
  }, async () => {
    const small = { seed: 5, machineKind: 'model' as const, machines: 3, jobs: 20, chaosMs: 60_000 };
    const skews = [-600_000, 600_000, 0].map(
      (byMs, machine): Fault => ({ atMs: 1, kind: 'machine.skew', machine, byMs }),
    );
    const [right, skewed] = [
      await runChaos({ ...small, faults: [] }),
      await runChaos({ ...small, faults: skews }),
    ];
    expect([right.problem, skewed.problem]).toEqual([null, null]);
    expect([skewed.ended, skewed.virtualMs]).toEqual([right.ended, right.virtualMs]);
    const timers = skews.length;
    expect(skewed.steps).toBe(right.steps + timers);
  });

  test('T20: two primaries hand out one job, and one completion of it is committed', async () => {
    const stage = await Stage.open(twoPrimaries(), 'two primaries');
    try {
      const { h1, h2 } = stage;
      const m1 = await stage.machine('m1', h1);
      const m2 = await stage.machine('m2', h2);
      await h1.submit('a');
      await h2.reconcile();
      await stage.passTtl([m1, h1], [m2, h2]);
      await h1.promote();
      await h2.promote();
      const one = await m1.claim(h1.core);
      await stage.clock.advanceBy(1);
      const other = await m2.claim(h2.core);
      assert(one.kind === 'leased' && other.kind === 'leased', 'both primaries grant the job');
      expect([one.assignment.jobId, other.assignment.jobId]).toEqual(['a', 'a']);
      const answers = [await m2.complete(h2.core, 'a'), await m1.complete(h1.core, 'a')];
      expect(answers.toSorted()).toEqual(['committed', 'refused']);
      expect(await stage.completions('a')).toBe(1);
    } finally {
      await stage.close();
    }
  });
});

/** One Records and a Broker for each of the two hubs: neither server knows of the other. */
function twoPrimaries(): StoreFactory {
  return {
    name: 'two primaries',
    async open(options) {
      const [first, second] = [await factory.open(options), await factory.open(options)];
      let opened = 0;
      // The stage's own client and hub 1 are on the first, hub 2 is on the second.
      return { ...first, broker: () => (opened++ < 2 ? first.broker() : second.broker()) };
    },
  };
}
