import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { type BeatRequest, type Broker, beatsLimit, beatsRunsLimit } from '#protocol/broker.ts';
import { EmpError } from '#protocol/errors.ts';
import { memoryBroker, memoryServer } from '#protocol/memory/memory-broker.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { Beats } from './beats.ts';
import { type HubRig, hubRig, type RigMachine } from './hub-rig.ts';
import { cordonMachine } from './machines.ts';
import { Pulse } from './pulse.ts';

const leaseTtlMs = 30_000;
const beatMs = 5_000;

type Call = { method: keyof Broker; args: unknown[] };

/** A hub whose calls of the Broker are written down, and refused while `down` is set. */
async function setup() {
  const env = simEnv({ seed: 'beats' });
  const calls: Call[] = [];
  const broken = { down: false };
  const watched = (broker: Broker): Broker =>
    new Proxy(broker, {
      get: (target, property) => {
        const method = property as keyof Broker;
        return async (...args: unknown[]) => {
          calls.push({ method, args });
          if (broken.down) throw new EmpError('BROKER_UNAVAILABLE');
          return await (target[method] as (...given: unknown[]) => Promise<unknown>).apply(target, args);
        };
      },
    });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs },
    wrap: (ports) => ({ ...ports, broker: watched(ports.broker) }),
  });
  // Past the age at which a hub begins to shorten leases.
  await env.clock.advanceBy(leaseTtlMs + 10);
  const count = (method: keyof Broker) => calls.filter((call) => call.method === method).length;
  return { clock: env.clock, rig, hub: rig.core.hub, calls, count, broken };
}

/** Joined machines that have beaten once each and stand in the idle index. */
async function idleMachines(rig: HubRig, count: number): Promise<RigMachine[]> {
  const machines: RigMachine[] = [];
  for (let at = 0; at < count; at++) machines.push(await rig.join({ machineId: `m${at}` }));
  await submit(rig, 'first');
  const lease = await machines[0]!.lease();
  await machines[0]!.complete(lease);
  for (const machine of machines) {
    expect(await machine.claim()).toEqual({ kind: 'empty' });
    await machine.beat();
  }
  return machines;
}

/** Named, the pool does not depend on how long jobs took so far: all jobs are of one group. */
const submit = (rig: HubRig, id: string) => rig.submit(id, { pool: 'standard' });

const wakes = (machine: RigMachine) => machine.notices.filter(({ type }) => type === 'wake').length;

describe('beats of idle machines', () => {
  test('fifty machines that idle for two minutes and a probe every ten seconds cost 15 calls a minute', async () => {
    const { clock, rig, calls } = await setup();
    const machines = await idleMachines(rig, 50);
    for (let seconds = -20; seconds < 120; seconds++) {
      if (seconds === 0) calls.length = 0;
      await clock.advanceBy(1_000);
      for (const [at, machine] of machines.entries())
        if (at % 5 === (seconds + 20) % 5)
          expect(await machine.beat()).toMatchObject({ kind: 'ok', work: false });
      if (seconds % 10 === 0) expect(await rig.core.unready()).toEqual([]);
    }
    expect(calls.length).toBeLessThanOrEqual(30);
    expect(new Set(calls.map((call) => call.method))).toEqual(new Set(['beats']));
    expect((await rig.ports.broker.stats()).incarnations).toBe(50);
  });

  test('the answer tells how long ago the broker heard of the machine', async () => {
    const { clock, rig } = await setup();
    const [machine] = await idleMachines(rig, 1);
    await clock.advanceBy(3_000);
    expect(await machine!.beat()).toMatchObject({ kind: 'ok', ageMs: 3_000 });
    await clock.advanceBy(beatMs);
    // The collection went 5 s after the beat that began it.
    expect(await machine!.beat()).toMatchObject({ ageMs: 0 });
    await clock.advanceBy(1_000);
    expect(await machine!.beat()).toMatchObject({ ageMs: 1_000 });
  });

  test('what half a lease has passed over goes to the broker whatever it says', async () => {
    const { clock, rig, count } = await setup();
    const [late, later] = await idleMachines(rig, 2);
    const before = count('beats');
    await clock.advanceBy(leaseTtlMs / 2 - 1);
    expect(await late!.beat()).toMatchObject({ ageMs: leaseTtlMs / 2 - 1 });
    await clock.advanceBy(1);
    expect(await later!.beat()).not.toHaveProperty('ageMs');
    expect(count('beats')).toBe(before + 1);
  });

  test('one that runs something, has a request open, or frees another service goes at once', async () => {
    const { rig, count } = await setup();
    const [machine] = await idleMachines(rig, 1);
    const before = count('beats');
    await machine!.beat();
    expect(count('beats')).toBe(before);
    await machine!.beat({ running: [{ jobId: 'first', token: '1' }] });
    await machine!.beat({ slots: 0 });
    await machine!.beat({ slots: 1 });
    expect(count('beats')).toBe(before + 3);
  });

  test('a machine that was woken asks with its next beat, and enters the index again', async () => {
    const { rig, count } = await setup();
    const [woken] = await idleMachines(rig, 1);
    await submit(rig, 'j1');
    expect(wakes(woken!)).toBe(1);
    const before = count('beats');
    expect(await woken!.beat()).toMatchObject({ work: true });
    await (await rig.join({ machineId: 'other' })).lease();
    expect(await woken!.beat()).toMatchObject({ work: false });
    expect(count('beats')).toBe(before + 2);
    await submit(rig, 'j2');
    expect(wakes(woken!)).toBe(2);
  });

  test('where the woken machine is dead, the next beats of eight others are told of the job', async () => {
    const { clock, rig } = await setup();
    const machines = await idleMachines(rig, 14);
    await clock.advanceBy(100);
    await submit(rig, 'j1');
    const living = machines.filter((machine) => wakes(machine) === 0);
    const told = await Promise.all(living.map((machine) => machine.beat()));
    expect(told.filter((answer) => answer.kind === 'ok' && answer.work)).toHaveLength(8);
    expect(told.filter((answer) => answer.kind === 'ok' && answer.ageMs === 100)).toHaveLength(5);
  });

  test('where those are dead too, a collection wakes up to four more, and the rest ask next', async () => {
    const { clock, rig } = await setup();
    const machines = await idleMachines(rig, 16);
    await clock.advanceBy(100);
    await submit(rig, 'j1');
    const [, , , , , , , , , ...living] = machines;
    for (const machine of living) expect(await machine.beat()).toMatchObject({ work: false, ageMs: 100 });
    await clock.advanceBy(beatMs);
    expect(living.map(wakes)).toEqual([1, 1, 1, 1, 0, 0, 0]);
    expect(await living[6]!.beat()).toMatchObject({ work: true });
    expect((await living[6]!.lease()).jobId).toBe('j1');
    for (const machine of living.slice(0, 4)) expect(await machine.claim()).toEqual({ kind: 'empty' });
  });

  test('a collected beat of a machine whose link has closed neither keeps it alive nor idle', async () => {
    const { clock, rig } = await setup();
    const [gone, stays] = await idleMachines(rig, 2);
    await clock.advanceBy(1_000);
    await gone!.beat();
    await stays!.beat();
    await gone!.vanish();
    await clock.advanceBy(beatMs);
    await submit(rig, 'j1');
    expect([wakes(gone!), wakes(stays!)]).toEqual([0, 1]);
    await clock.advanceBy(20_000 - beatMs);
    expect((await rig.ports.broker.stats()).incarnations).toBe(1);
  });

  test('a collected beat of a machine that has taken a job since does not make it idle', async () => {
    const { clock, rig } = await setup();
    const [busy, idle] = await idleMachines(rig, 2);
    for (const machine of [busy!, idle!]) await machine.beat();
    await submit(rig, 'j1');
    await busy!.lease();
    await clock.advanceBy(beatMs);
    await idle!.beat();
    await submit(rig, 'j2');
    await submit(rig, 'j3');
    expect(wakes(busy!)).toBe(1);
    expect(wakes(idle!)).toBe(1);
  });

  test('a machine that was cordoned since its beat was collected is not woken', async () => {
    const { clock, rig, hub } = await setup();
    const [machine] = await idleMachines(rig, 1);
    await machine!.beat();
    await cordonMachine(hub, 'm0', true);
    await clock.advanceBy(beatMs);
    await machine!.beat();
    await submit(rig, 'j1');
    expect(wakes(machine!)).toBe(0);
  });

  test('a newer incarnation on another hub is learnt of by the collection', async () => {
    const { clock, rig } = await setup();
    const [older] = await idleMachines(rig, 1);
    await older!.beat();
    await rig.ports.broker.enrol({ machineId: 'm0', incarnation: 2 });
    await clock.advanceBy(beatMs);
    expect(older!.notices).toContainEqual({ type: 'superseded', body: {} });
  });

  test('a collection that the broker refuses leaves the next beats to ask for themselves', async () => {
    const { clock, rig, broken } = await setup();
    const [machine] = await idleMachines(rig, 1);
    expect(await machine!.beat()).toMatchObject({ kind: 'ok' });
    broken.down = true;
    await clock.advanceBy(beatMs);
    await expect(machine!.beat()).rejects.toThrow('BROKER_UNAVAILABLE');
    expect(await rig.core.unready()).toContainEqual(expect.stringContaining('broker'));
    broken.down = false;
    expect(await machine!.beat()).toMatchObject({ kind: 'ok', work: false });
    await submit(rig, 'j1');
    expect(wakes(machine!)).toBe(1);
  });

  test('a claim that is answered lapsed sends the next beat to the broker', async () => {
    const { clock, rig, hub } = await setup();
    const [machine] = await idleMachines(rig, 1);
    // Its time ends while the hub is cut off from the Broker, and comes back before anyone beats.
    await rig.ports.broker.shorten({ machineId: 'm0', incarnation: 1, restMs: 1_000 });
    await clock.advanceBy(2_000);
    expect(await machine!.claim()).toEqual({ kind: 'lapsed' });
    expect(hub.links.get('m0')?.told).toBeNull();
    expect(await machine!.beat()).toMatchObject({ kind: 'ok' });
    expect(await machine!.claim()).toEqual({ kind: 'empty' });
  });

  test('a closed broker is told to the reconciler, and after the opening the machine is idle in it again', async () => {
    const { clock, rig } = await setup();
    const [machine] = await idleMachines(rig, 1);
    rig.server.loseAll();
    await machine!.beat();
    await clock.advanceBy(2 * beatMs);
    await machine!.beat();
    expect((await rig.ports.broker.identity()).open).toBe(true);
    await submit(rig, 'j1');
    expect(wakes(machine!)).toBe(1);
  });
});

describe('steps', () => {
  const beatOf = (at: number, runs = 0): BeatRequest => ({
    machineId: `m${at}`,
    incarnation: 1,
    running: Array.from({ length: runs }, (_, index) => ({ jobId: `j-${at}-${index}`, token: '1' })),
    highestRequestId: 0,
    openRequestId: null,
    groups: [],
    classId: 'c1',
  });

  /** A broker that answers only when told to. */
  function slowBeats() {
    const { clock, rng, newId, log } = simEnv({ seed: 'steps' });
    const server = memoryServer({ settings: { leaseTtlMs, priorityBoostMs: 0 }, clock, name: 'b' });
    const broker = memoryBroker(server);
    const asked: { requests: BeatRequest[]; answer: () => void }[] = [];
    const beats = new Beats({
      broker: {
        beats: async (requests) => {
          await new Promise<void>((answer) => asked.push({ requests, answer }));
          return await broker.beats(requests);
        },
      },
      env: { clock, rng, newId, log },
      pulse: new Pulse({ clock, maxAgeMs: beatMs }),
      collectMs: beatMs,
      stillHolds: () => true,
      carried: () => {},
      background: () => {},
    });
    return { clock, beats, asked, sizes: () => asked.map(({ requests }) => requests.length) };
  }

  test('a beat goes at once when none is under way; those that come meanwhile go together', async () => {
    const { beats, asked, sizes, clock } = slowBeats();
    const answers = [beats.send(beatOf(1)), beats.send(beatOf(2)), beats.send(beatOf(3))];
    expect(sizes()).toEqual([1]);
    asked[0]?.answer();
    await clock.settle();
    expect(sizes()).toEqual([1, 2]);
    asked[1]?.answer();
    expect((await Promise.all(answers)).map(({ answer }) => answer.kind)).toEqual(['ok', 'ok', 'ok']);
  });

  test('no beat waits longer than 2 ms for the one before it', async () => {
    const { beats, asked, sizes, clock } = slowBeats();
    const answers = [beats.send(beatOf(1)), beats.send(beatOf(2))];
    await clock.advanceBy(1);
    answers.push(beats.send(beatOf(3)));
    expect(sizes()).toEqual([1]);
    await clock.advanceBy(1);
    expect(sizes()).toEqual([1, 2]);
    for (const { answer } of asked) answer();
    await Promise.all(answers);
  });

  test('a step holds as many beats and runs as the broker takes', async () => {
    const { beats, asked, sizes, clock } = slowBeats();
    const answers = [beats.send(beatOf(0))];
    for (let at = 1; at <= beatsLimit + 1; at++) answers.push(beats.send(beatOf(at)));
    expect(sizes()).toEqual([1, beatsLimit]);
    const runs = beatsRunsLimit / 4;
    for (let at = 0; at < 5; at++) answers.push(beats.send(beatOf(1_000 + at, runs)));
    await clock.advanceBy(2);
    expect(sizes()).toEqual([1, beatsLimit, 5, 1]);
    for (const { answer } of asked) answer();
    await Promise.all(answers);
  });

  test('a malformed beat is refused alone', async () => {
    const { beats, asked, clock } = slowBeats();
    const first = beats.send(beatOf(1));
    const bad = expect(beats.send({ ...beatOf(2), machineId: 'a b' })).rejects.toMatchObject({
      code: 'VALIDATION_FAILED',
    });
    const good = beats.send(beatOf(3));
    for (let rounds = 0; rounds < 3; rounds++) {
      for (const { answer } of asked.splice(0)) answer();
      await clock.settle();
    }
    await bad;
    expect((await Promise.all([first, good])).map(({ answer }) => answer.kind)).toEqual(['ok', 'ok']);
  });
});
