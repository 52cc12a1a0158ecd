import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type AutoscaleMemory, type AutoscaleRules, autoscale } from './autoscale.ts';

const minute = 60_000;
const rules: AutoscaleRules = {
  min: 0,
  max: 1_000,
  pools: {},
  targetDrainMs: 10 * minute,
  spareShare: 0,
  coolDownMs: 15 * minute,
  startPriorMs: [],
};

/** Ten hours of a fluid queue, looked at each minute: the number wanted at each look. */
function playConstant(options: { arriving: number; running: number; startMs: number }): number[] {
  const { arriving, startMs } = options;
  const startUpsMs = Array.from({ length: 10 }, () => startMs);
  let { running } = options;
  let waitingMs = 0;
  let starting: { id: string; askedMs: number }[] = [];
  let memory: AutoscaleMemory = {};
  const seen: number[] = [];
  for (let now = 0; now < 600 * minute; now += minute) {
    running += starting.filter(({ askedMs }) => now - askedMs >= startMs).length;
    starting = starting.filter(({ askedMs }) => now - askedMs < startMs);
    const queue = waitingMs > 0 ? [{ kind: 'image', jobs: 1, runMs: waitingMs, loadMs: 0 }] : [];
    const demand = { waiting: queue, arriving, running, starting, startUpsMs };
    const decision = autoscale({ nowMs: now, pools: [{ pool: 'standard', ...demand }], memory }, rules);
    memory = decision.memory;
    const [{ wanted, change } = { wanted: 0, change: 0 }] = decision.pools;
    seen.push(wanted);
    for (let more = 0; more < change; more++) starting.push({ id: `${now}/${more}`, askedMs: now });
    if (change < 0) {
      const withdrawn = Math.min(starting.length, -change);
      starting = starting.slice(0, starting.length - withdrawn);
      running += change + withdrawn;
    }
    waitingMs = Math.max(0, waitingMs + (arriving - running) * minute);
  }
  return seen;
}

test('under a constant load a fleet rises once and falls once, to what the load keeps busy', () => {
  const loads = fc.integer({ min: 0, max: 3_000 }).map((hundredths) => hundredths / 100);
  fc.assert(
    fc.property(loads, fc.nat(40), fc.integer({ min: 1, max: 40 }), (arriving, running, startMinutes) => {
      const seen = playConstant({ arriving, running, startMs: startMinutes * minute });
      const fell = seen.findIndex((wanted, at) => wanted < (seen[at - 1] ?? 0));
      const after = fell === -1 ? [] : seen.slice(fell);
      expect(after).toEqual(after.toSorted((a, b) => b - a));
      expect(new Set(seen.slice(-120)).size).toBe(1);
      const last = seen.at(-1) ?? 0;
      expect(last).toBeGreaterThanOrEqual(Math.ceil(arriving - 1e-9));
      expect(last).toBeLessThanOrEqual(Math.ceil(arriving) + 3);
    }),
    { numRuns: 60 },
  );
});
