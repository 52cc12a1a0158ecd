import { expect, test } from 'vitest';
import type { BrokerEntry } from '#protocol/broker.ts';
import { memoryBroker, memoryServer } from '#protocol/memory/memory-broker.ts';
import type { DayPlan, PlannedJob, PlannedMachine } from '#simulations/day/plan.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { Fleet } from './fleet.ts';
import type { Policy } from './policy.ts';
import { policyBroker } from './policy-broker.ts';

const job = (id: string): PlannedJob => ({
  id,
  atMs: 0,
  customer: 'amber',
  kind: 'image',
  pool: 'standard',
  priority: 50,
  models: ['base'],
  runMs: 1_000,
  vramMb: 0,
  failRuns: 0,
});
const machine = (id: string): PlannedMachine => ({
  id,
  askedMs: 0,
  startMs: 0,
  endMs: 1e9,
  ending: 'stays',
  away: null,
  drainMs: 0,
  gpu: 'card',
  pool: 'standard',
  vramMb: 8_000,
  ramMb: 8_000,
  diskBytes: 1e12,
  speed: 1,
  downBytesPerMs: 1,
  upBytesPerMs: 1,
  diskBytesPerMs: 1,
  usdPerHour: 1,
});
const plan: DayPlan = {
  scenario: 'test',
  seed: 1,
  load: 1,
  spanMs: 1_000,
  models: [],
  jobs: ['a', 'b', 'c'].map(job),
  machines: ['m1', 'm2'].map(machine),
  wanted: [],
  incidents: [],
  originBytesPerMs: null,
};
const entry = (jobId: string): BrokerEntry => ({
  jobId,
  group: 'g1',
  affinity: 'base',
  pool: 'standard',
  customer: 'amber',
  priority: 50,
  costMs: 1_000,
  attempts: 0,
  runs: 0,
  fenceFloor: '0',
  notBeforeMs: null,
  body: null,
  lease: null,
});
const at = (machineId: string) => ({ machineId, incarnation: 1 });

/** The Broker that ships, opened, under a policy that does as `wishes` say. */
async function setup(wishes: { choose: Record<string, string | null>; place: string | null }) {
  const clock = new VirtualClock();
  const server = memoryServer({
    settings: { leaseTtlMs: 30_000, priorityBoostMs: 0 },
    clock,
    name: 'server',
  });
  const inner = memoryBroker(server);
  const { identity } = await inner.identity();
  await inner.reconcileFinish(await inner.reconcileStart({ nonce: 'n' }));
  await clock.advanceBy(60_000);
  const policy: Policy = {
    name: 'told',
    choose: (_view, { plan: { id } }) => wishes.choose[id] ?? null,
    place: () => wishes.place,
  };
  const fleet = new Fleet({ plan, clock, rng: seededRng('f'), onLeft: () => {}, onCopy: () => {} });
  const broker = policyBroker(inner, { policy, fleet });
  const watch = fleet.watch();
  for (const { id } of plan.machines) {
    watch.machineStarted(id);
    await broker.enrol(at(id));
  }
  let request = 0;
  return {
    broker,
    fleet,
    submit: (...ids: string[]) => broker.submit({ identity, entries: ids.map(entry) }),
    claim: (machineId: string) =>
      broker.claim({
        ...at(machineId),
        requestId: ++request,
        groups: [{ group: 'g1', penaltyMs: 0 }],
        warmLanes: [],
        classId: 'c1',
      }),
  };
}

test('a claim gets the very job that the policy wants, with its own affinity', async () => {
  const { submit, claim } = await setup({ choose: { m1: 'b' }, place: null });
  await submit('a', 'b', 'c');
  expect(await claim('m1')).toMatchObject({ kind: 'leased', lease: { jobId: 'b', affinity: 'base' } });
});

test('a machine for which the policy has nothing finds nothing, though jobs wait', async () => {
  const { submit, claim, fleet } = await setup({ choose: { m1: null }, place: null });
  await submit('a');
  expect(await claim('m1')).toEqual({ kind: 'empty' });
  expect(fleet.machines.get('m1')?.idleSinceMs).not.toBeNull();
});

test('a job that is gone is not given, whatever the policy wants', async () => {
  const { broker, submit, claim } = await setup({ choose: { m1: 'a' }, place: null });
  await submit('a');
  await broker.cancel({ jobId: 'a', fenceFloor: '1' });
  expect(await claim('m1')).toEqual({ kind: 'empty' });
});

test('the machine that the policy names is woken once, and only where it is idle', async () => {
  const { submit, claim } = await setup({ choose: {}, place: 'm2' });
  expect(await submit('a')).toMatchObject({ answers: [{ kind: 'added', wake: null }] });
  await claim('m2');
  expect(await submit('b')).toMatchObject({ answers: [{ kind: 'added', wake: at('m2') }] });
});

test('a beat of an idle machine is told of work that the policy has for it by now', async () => {
  const choose: Record<string, string | null> = {};
  const { broker, submit } = await setup({ choose, place: null });
  await submit('a');
  const beat = {
    ...at('m1'),
    running: [],
    highestRequestId: 0,
    openRequestId: null,
    groups: [{ group: 'g1', penaltyMs: 0 }],
    classId: 'c1',
  };
  expect((await broker.beats([beat])).answers).toMatchObject([{ kind: 'ok', work: false }]);
  choose['m1'] = 'a';
  expect((await broker.beats([beat])).answers).toMatchObject([{ kind: 'ok', work: true }]);
});

test('a job that comes back may be claimed again', async () => {
  const { broker, submit, claim, fleet } = await setup({ choose: { m1: 'a', m2: 'a' }, place: null });
  await submit('a');
  const answer = await claim('m1');
  if (answer.kind !== 'leased') expect.fail('nothing was leased');
  expect(fleet.waiting.size).toBe(0);
  const { token } = answer.lease;
  await broker.exit({
    jobId: 'a',
    token,
    fenceFloor: `${BigInt(token) + 1n}`,
    state: 'waiting',
    attempts: 0,
    runs: 1,
    notBeforeMs: null,
    cancelRequested: false,
  });
  expect([...fleet.waiting.keys()]).toEqual(['a']);
  expect(await claim('m2')).toMatchObject({ kind: 'leased', lease: { jobId: 'a', run: 2 } });
});
