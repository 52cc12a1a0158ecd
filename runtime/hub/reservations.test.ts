import { expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { toEmpError } from '#protocol/errors.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { dryRunJob } from './dry-run.ts';
import { explainJob } from './explain.ts';
import { hubRig } from './hub-rig.ts';
import { hubStatus } from './status.ts';
import { submitJob } from './submit.ts';

async function setup() {
  const env = simEnv({ seed: 'reservations' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: 3_000 },
  });
  await env.clock.advanceBy(10);
  const { hub } = rig.core;
  const asked = (document: object) => ({ service: 'simulation', payload: { durationMs: 20 }, ...document });
  const submit = (document: object) => submitJob(hub, asked(document), { traceparent: null });
  const refusal = async (act: Promise<unknown>) => {
    const { code, errors } = toEmpError(
      await act.then(
        () => null,
        (thrown: unknown) => thrown,
      ),
    );
    return { code, errors };
  };
  return { env, rig, hub, asked, submit, refusal };
}
const stores = { records: 'sqlite', broker: 'memory', objects: 'folder', durable: false, dataDir: null };
const kept = (...tags: string[]) => ({ tags, reservedFor: tags });

test('a reserved machine takes the jobs that name one of its tags, and no other that waits, whenever it came', async () => {
  const { rig } = await setup();
  await rig.submit('first', { requirements: { tags: ['workflow.a'] } });
  await rig.submit('other-first');
  await rig.join({ machineId: 'open', machineClass: { tags: ['workflow.b'] } });
  await rig.submit('other');
  await rig.submit('other-named', { requirements: { tags: ['workflow.b'] } });
  const machine = await rig.join({ machineId: 'm1', machineClass: kept('workflow.a', 'workflow.b') });
  await rig.submit('after');
  await rig.submit('elsewhere', { requirements: { withoutTags: ['workflow.a'] } });
  const slots = { slots: 9 };
  const taken = [(await machine.lease(slots)).jobId, (await machine.lease(slots)).jobId];
  expect(taken.sort()).toEqual(['first', 'other-named']);
  expect(await machine.claim(slots)).toEqual({ kind: 'empty' });
});

test('a pin to a reserved machine is accepted with a warning where another class could run the job, else refused', async () => {
  const { rig } = await setup();
  await rig.join({ machineId: 'm1', machineClass: kept('workflow.a') });
  const pinned = () =>
    submitJob(
      rig.core.hub,
      { service: 'simulation', requirements: { machineId: 'm1' } },
      { traceparent: null },
    );
  await expect(pinned()).rejects.toMatchObject({
    code: 'REQUIREMENT_UNMET',
    message: expect.stringContaining('reserv'),
  });
  await rig.join({ machineId: 'm2', machineClass: {} });
  expect(await pinned()).toMatchObject({
    job: { state: 'waiting' },
    warnings: [expect.stringContaining('the machine m1 cannot run this job')],
  });
});

test('a machine that comes back reserved takes no other job from then on, and takes them again when it is not', async () => {
  const { rig } = await setup();
  const tags = ['workflow.a'];
  const plain = await rig.join({ machineId: 'm1', machineClass: { tags } });
  await rig.submit('j1');
  await rig.submit('j2');
  await rig.submit('j3');
  await plain.complete(await plain.lease());
  const reserved = await rig.join({ machineId: 'm1', machineClass: { tags, reservedFor: tags } });
  expect(await reserved.claim()).toEqual({ kind: 'empty' });
  const again = await rig.join({ machineId: 'm1', machineClass: { tags } });
  expect((await again.lease()).jobId).toBe('j2');
});

test('a reservation holds beside the rule about customers, and the other way round', async () => {
  const { rig } = await setup();
  await rig.join({ machineId: 'open', machineClass: { tags: ['workflow.a'] } });
  const machineClass = { ...kept('workflow.a'), customers: { strict: 'amber' } };
  const machine = await rig.join({ machineId: 'm1', machineClass });
  const tags = ['workflow.a'];
  await rig.submit('hers', { customer: 'amber' });
  await rig.submit('his-named', { customer: 'birch', requirements: { tags } });
  expect(await machine.claim()).toEqual({ kind: 'empty' });
  await rig.submit('hers-named', { customer: 'amber', requirements: { tags } });
  expect((await machine.lease()).jobId).toBe('hers-named');
});

test('a workflow of the former queue is the tag that opens the machine', async () => {
  const { rig, submit } = await setup();
  const machine = await rig.join({ machineId: 'm1', machineClass: kept('workflow.wf-7') });
  await submit({ id: 'j1', requirements: { workflow: 'wf-7' } });
  expect((await machine.lease()).jobId).toBe('j1');
});

test('where every machine is reserved, a submit, a dry run and an explanation say so', async () => {
  const { rig, hub, asked, submit, refusal } = await setup();
  await rig.submit('early');
  await rig.join({ machineId: 'm1', machineClass: kept('workflow.a', 'workflow.b') });
  const told = (own: string) => ({
    code: 'REQUIREMENT_UNMET',
    errors: [
      {
        pointer: '/requirements/tags',
        detail: `reservation: needed no reservation${own}, the best machine class has one for jobs with one of the tags workflow.a, workflow.b`,
      },
    ],
  });
  expect(await refusal(submit({}))).toEqual(told(''));
  expect(await refusal(dryRunJob(hub, asked({})))).toEqual(told(''));
  const wanted = asked({ requirements: { tags: ['workflow.b'] } });
  expect(await dryRunJob(hub, wanted)).toMatchObject({ machinesNow: 1, warnings: [] });
  const { machines, summary } = await explainJob(hub, 'early');
  expect(machines).toMatchObject([
    {
      verdict: 'unfit',
      unmet: [
        {
          requirement: 'reservation',
          needed: 'no reservation',
          available: 'one for jobs with one of the tags workflow.a, workflow.b',
        },
      ],
    },
  ]);
  expect(summary.join(' ')).toContain('reservation: needs no reservation, there is one for jobs with one of');
  expect((await hubStatus(hub, stores)).unserved).toEqual([{ service: 'simulation', waiting: 1 }]);
});

test('a pin opens no reservation: the job waits, and the submit, a dry run and an explanation say why', async () => {
  const { rig, hub, asked, submit } = await setup();
  await rig.join({ machineId: 'open' });
  const machine = await rig.join({ machineId: 'm1', machineClass: kept('workflow.a') });
  const pinned = { requirements: { machineId: 'm1' } };
  const warning =
    'the machine m1 cannot run this job as it last joined: reservation: needs no reservation, there is one for jobs with the tag workflow.a';
  expect((await submit({ id: 'shut', ...pinned })).warnings).toEqual([warning]);
  expect((await dryRunJob(hub, asked(pinned))).warnings).toContain(warning);
  expect(await machine.claim()).toEqual({ kind: 'empty' });
  const [words] = (await explainJob(hub, 'shut')).summary;
  expect(words).toBe(
    'It is pinned to m1, which cannot run it: reservation: needs no reservation, there is one for jobs with the tag workflow.a. A pin opens no reservation: the job must name the tag, too.',
  );
  const named = await submit({ id: 'named', requirements: { machineId: 'm1', tags: ['workflow.a'] } });
  expect(named.warnings).toEqual([]);
  expect((await machine.lease()).jobId).toBe('named');
});

test('jobs of a pool whose machines are all reserved go to those of another', async () => {
  const { rig, submit } = await setup();
  await rig.join({ machineId: 'm1', machineClass: { ...kept('workflow.a'), pool: 'heavy' } });
  const open = await rig.join({ machineId: 'open' });
  const { job, warnings } = await submit({ id: 'j1', pool: 'heavy' });
  expect([job.pool, warnings]).toEqual(['heavy', [expect.stringContaining('no machine of pool heavy')]]);
  expect((await open.lease()).jobId).toBe('j1');
});

test('a hub lets no machine join whose class says what it does not know: it might be a reservation', async () => {
  const { rig } = await setup();
  const machineClass = { ...kept('workflow.a'), keptForLater: ['b'] };
  await expect(rig.join({ machineId: 'm1', machineClass })).rejects.toThrow(/FRAME_INVALID.*keptForLater/s);
  expect(await rig.ports.records.getMachine('m1')).toBeNull();
});
