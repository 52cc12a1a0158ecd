import { describe, expect, test } from 'vitest';
import { beatMsOf, HubConfig } from '#runtime/hub-config.ts';
import { modelMachines } from './model-maker.ts';
import type { Observation } from './observation.ts';
import { seededRng } from './seeded-rng.ts';
import { embeddedStores } from './stores-embedded.ts';
import { World } from './world.ts';

/**
 * An idle fleet is told of its beats' answers before the Broker has heard of them. Whatever order the
 * calls of two hubs reach the stores in, whoever is dead: no job may wait for long beside a machine
 * that could run it.
 */

const leaseTtlMs = 30_000;
const beatMs = beatMsOf(HubConfig.parse({ leaseTtlMs }));
/** For calls of the stores and frames, slow ones included. */
const onTheWayMs = 2_000;
/**
 * For a wake that reached nobody. On the hubs that hear of the wake the next beats of others ask; where
 * two hubs have no link to each other, one may pass the wakes of all machines of the other on, and a
 * collection finds them again.
 */
const rescued = [
  { hubs: 1, withinMs: beatMs + onTheWayMs },
  { hubs: 2, withinMs: 2 * beatMs + onTheWayMs },
];
const seeds = Array.from({ length: Number(process.env['EMP_CHAOS_SEEDS'] ?? 8) }, (_, index) => index + 1);

type BrokerCall = Extract<Observation, { kind: 'broker' }>;

/** Six machines that have settled; `calls` is told of each call that reached the Broker. */
async function idleWorld(
  options: { seed: number; hubs: number },
  calls: (call: BrokerCall, atMs: number) => void,
): Promise<World> {
  const { seed, hubs } = options;
  const world: World = await World.open({
    seed: `idle ${seed}`,
    machines: 6,
    hubs,
    stores: embeddedStores({ leaseTtlMs }),
    leaseTtlMs,
    makeMachine: modelMachines,
    onObservation: (seen) => {
      if (seen.kind === 'broker') calls(seen, world.clock.monotonic());
    },
  });
  world.submit(jobOf('first'));
  await world.runTo(world.clock.monotonic() + 60_000);
  return world;
}

const jobOf = (id: string) => ({
  id,
  service: 'simulation',
  pool: 'standard',
  payload: { durationMs: 50 },
});

describe.each(rescued)('an idle fleet of $hubs hubs', ({ hubs, withinMs }) => {
  test.each(seeds)(
    'seed %i: a job is claimed in time, though machines that are woken are frozen',
    async (seed) => {
      const rng = seededRng(`idle wakes ${seed}`);
      const addedMs = new Map<string, number>();
      const claimedMs = new Map<string, number>();
      const world = await idleWorld({ seed, hubs }, (call, atMs) => {
        if (call.method === 'submit')
          for (const { jobId } of call.args[0].entries) if (!addedMs.has(jobId)) addedMs.set(jobId, atMs);
        if (call.method === 'claim' && call.answer.kind === 'leased')
          claimedMs.set(call.answer.lease.jobId, atMs);
      });
      try {
        // They keep their links and their places in the idle index, and never take what they are woken for.
        for (const machine of world.machines.slice(0, 3)) machine.process.freeze();
        const startMs = world.clock.monotonic();
        const jobs = Array.from({ length: 10 }, (_, index) => `job-${index}`);
        for (const id of jobs) world.clock.setTimeout(() => world.submit(jobOf(id)), rng.int(0, 15_000));
        await world.runTo(startMs + 15_000 + 2 * withinMs);
        for (const id of jobs) {
          const waitedMs = (claimedMs.get(id) ?? Number.POSITIVE_INFINITY) - (addedMs.get(id) ?? 0);
          expect(waitedMs, id).toBeLessThanOrEqual(withinMs);
        }
        await world.audit(false);
      } finally {
        await world.close();
      }
    },
  );

  test('a job whose wakes all meet frozen machines waits for a beat, and no longer', async () => {
    const waitedMs: number[] = [];
    for (const seed of seeds.slice(0, 4)) {
      let addedMs = 0;
      const world = await idleWorld({ seed, hubs }, (call, atMs) => {
        if (call.method === 'submit') addedMs = atMs;
        if (call.method === 'claim' && call.answer.kind === 'leased') waitedMs.push(atMs - addedMs);
      });
      waitedMs.length = 0;
      for (const machine of world.machines.slice(0, 5)) machine.process.freeze();
      world.submit(jobOf('lonely'));
      await world.runTo(world.clock.monotonic() + withinMs);
      await world.close();
      expect(waitedMs, `seed ${seed}`).toHaveLength(1);
    }
  });

  test('costs each hub at most 15 calls of the Broker a minute', async () => {
    const calls = new Map<string, number>();
    let counts = false;
    const world = await idleWorld({ seed: 1, hubs }, (call) => {
      if (counts) calls.set(call.process, (calls.get(call.process) ?? 0) + 1);
    });
    try {
      counts = true;
      await world.runTo(world.clock.monotonic() + 120_000);
      expect(calls.size).toBe(hubs);
      for (const [hub, count] of calls) expect(count, hub).toBeLessThanOrEqual(30);
    } finally {
      await world.close();
    }
  });
});
