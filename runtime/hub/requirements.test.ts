import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { Group } from '#protocol/requirements.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { dryRunJob } from './dry-run.ts';
import { explainJob } from './explain.ts';
import { cpuClass, hubRig } from './hub-rig.ts';
import { submitBatch, submitJob } from './submit.ts';

const environment = `sha256:${'0f'.repeat(32)}`;

async function setup() {
  const env = simEnv({ seed: 'requirements' });
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
  const refusal = async (document: object) => {
    const error = await submit(document).then(
      () => null,
      (thrown: unknown) => toEmpError(thrown),
    );
    if (error === null) throw new Error('the submission was taken');
    return { code: error.code, errors: error.errors };
  };
  return { env, rig, hub, asked, submit, refusal };
}

describe('whose jobs a machine runs', () => {
  test('a machine that is dedicated to one customer gets no job of another, also of those that came before it', async () => {
    const { rig } = await setup();
    await rig.join({ machineId: 'open' });
    await rig.submit('before', { customer: 'birch' });
    const own = await rig.join({ machineId: 'own', machineClass: { customers: { strict: 'amber' } } });
    await rig.submit('after', { customer: 'birch' });
    expect(await own.claim()).toEqual({ kind: 'empty' });
    await rig.submit('hers', { customer: 'amber' });
    expect((await own.lease()).jobId).toBe('hers');
    expect(await own.claim()).toEqual({ kind: 'empty' });
  });

  test('a rule that comes later shuts out whom it denies, and takes the others that come from then on', async () => {
    const { rig } = await setup();
    await rig.join({ machineId: 'open' });
    await rig.submit('before', { customer: 'amber' });
    const closed = await rig.join({ machineId: 'closed', machineClass: { customers: { deny: ['amber'] } } });
    await rig.submit('amber', { customer: 'amber' });
    expect(await closed.claim()).toEqual({ kind: 'empty' });
    await rig.submit('birch', { customer: 'birch' });
    expect((await closed.lease()).jobId).toBe('birch');
  });

  test('a job that is pinned to a machine runs there, also where its rule was heard of after the job', async () => {
    const { rig, submit } = await setup();
    await rig.join({ machineId: 'm1' });
    await submit({ id: 'birch', customer: 'birch', requirements: { machineId: 'm9' } });
    await submit({ id: 'cedar', customer: 'cedar', requirements: { machineId: 'm9' } });
    const m9 = await rig.join({ machineId: 'm9', machineClass: { customers: { allow: ['birch'] } } });
    expect((await m9.lease()).jobId).toBe('birch');
    expect(await m9.claim()).toEqual({ kind: 'empty' });
  });

  test('jobs that came before any machine go to one that is kept for their customer', async () => {
    const { rig } = await setup();
    await rig.submit('amber', { customer: 'amber' });
    await rig.submit('birch', { customer: 'birch' });
    const kept = await rig.join({
      machineId: 'kept',
      machineClass: { customers: { allow: ['birch', 'cedar'] } },
    });
    expect((await kept.lease()).jobId).toBe('birch');
    expect(await kept.claim()).toEqual({ kind: 'empty' });
  });

  test('a job that asks for isolation runs on a machine of its customer alone', async () => {
    const { rig, refusal } = await setup();
    const open = await rig.join({ machineId: 'open' });
    const allowed = await rig.join({
      machineId: 'allowed',
      machineClass: { customers: { allow: ['amber'] } },
    });
    expect(await refusal({ customer: 'amber', requirements: { isolation: 'strict' } })).toEqual({
      code: 'REQUIREMENT_UNMET',
      errors: [
        {
          pointer: '/requirements/isolation',
          detail: expect.stringMatching(
            /a machine of amber alone.*(one for everybody|one for several customers) \| one for/,
          ),
        },
      ],
    });
    const own = await rig.join({ machineId: 'own', machineClass: { customers: { strict: 'amber' } } });
    await rig.submit('alone', { customer: 'amber', requirements: { isolation: 'strict' } });
    expect(await open.claim()).toEqual({ kind: 'empty' });
    expect(await allowed.claim()).toEqual({ kind: 'empty' });
    expect((await own.lease()).jobId).toBe('alone');
  });

  test('where every machine is kept for others, a submit, a dry run and an explanation say so and name nobody', async () => {
    const { rig, hub, asked, refusal } = await setup();
    await rig.submit('early', { customer: 'dune' });
    await rig.join({ machineId: 'own', machineClass: { customers: { strict: 'amber' } } });
    const told = {
      pointer: '/customer',
      detail: expect.stringMatching(/needed room for dune.*room for another customer/),
    };
    expect(await refusal({ customer: 'dune' })).toEqual({ code: 'REQUIREMENT_UNMET', errors: [told] });
    await expect(dryRunJob(hub, asked({ customer: 'dune' }))).rejects.toMatchObject({ errors: [told] });
    const { machines, summary } = await explainJob(hub, 'early');
    expect(machines).toMatchObject([
      {
        verdict: 'unfit',
        unmet: [{ requirement: 'customer', needed: 'room for dune', available: 'room for another customer' }],
      },
    ]);
    expect(summary.join(' ')).toContain('customer: needs room for dune, there is room for another customer');
    expect(JSON.stringify([machines, summary])).not.toContain('amber');
  });

  test('customers whom no rule names share their groups', async () => {
    const { rig } = await setup();
    await rig.join({ machineId: 'open' });
    await rig.join({ machineId: 'closed', machineClass: { customers: { deny: ['amber'] } } });
    const group = async (customer: string) => (await rig.submit(`of-${customer}`, { customer })).group;
    expect(await group('birch')).toBe(await group('cedar'));
    expect(await group('amber')).not.toBe(await group('birch'));
  });
});

describe('cards, versions and environments', () => {
  const card = {
    gpus: ['rtx4090'],
    environment,
    services: [{ service: 'simulation', version: '1.4.2', slots: 2 }],
  };
  const wanted = { gpu: ['NVIDIA L40S', 'RTX 4090 (24 GB)'], connectorVersion: '^1.4', environment };

  test('a job goes to the machine that has all of them and to no other', async () => {
    const { rig } = await setup();
    const plain = await rig.join({ machineId: 'plain' });
    const fit = await rig.join({ machineId: 'fit', machineClass: card });
    expect((await rig.submit('j1', { requirements: wanted })).requirements).toEqual({
      gpu: ['l40s', 'rtx4090'],
      connectorVersion: '>=1.4.0 <2.0.0',
      environment,
    });
    expect(await plain.claim()).toEqual({ kind: 'empty' });
    expect((await fit.lease()).jobId).toBe('j1');
  });

  test('each that nobody has is named with what there is, and so in a dry run', async () => {
    const { rig, hub, asked, refusal } = await setup();
    await rig.join({ machineId: 'fit', machineClass: card });
    const other = `sha256:${'e1'.repeat(32)}`;
    const errors = [
      {
        pointer: '/requirements/connectorVersion',
        detail: 'connectorVersion: needed >=2.0.0, the best machine class has 1.4.2',
      },
      { pointer: '/requirements/environment', detail: expect.stringMatching(/e1e1.*0f0f/) },
      { pointer: '/requirements/gpu', detail: 'gpu: needed h100, the best machine class has rtx4090' },
    ];
    const requirements = { gpu: ['H100'], connectorVersion: '>=2', environment: other };
    expect(await refusal({ requirements })).toEqual({ code: 'REQUIREMENT_UNMET', errors });
    await expect(dryRunJob(hub, asked({ requirements }))).rejects.toMatchObject({ errors });
    expect(await dryRunJob(hub, asked({ requirements: wanted }))).toMatchObject({ machinesNow: 1 });
  });

  test('jobs that the same machines can run wait together, each with what it asked for in its row', async () => {
    const { rig } = await setup();
    await rig.join({ machineId: 'fit', machineClass: { ...card, vramMb: 24_000 } });
    const rows: Awaited<ReturnType<typeof rig.submit>>[] = [];
    for (const vramMb of [8_419, 8_534, 24_000])
      rows.push(await rig.submit(`j${vramMb}`, { requirements: { vramMb } }));
    expect(rows.map((row) => row.requirements.vramMb)).toEqual([8_419, 8_534, 24_000]);
    const [first, ...others] = rows.map((row) => row.group);
    expect(others.map((group) => group === first)).toEqual([true, false]);
  });

  test('a group with a requirement that this hub cannot judge, of a newer one, is served by nobody here', async () => {
    const { rig, hub } = await setup();
    await rig.join({ machineId: 'fit', machineClass: card });
    const { group, pool } = await rig.submit('j1');
    const foreign = { service: 'simulation', pool, requirements: { gravity: 'low' } } as unknown as Group;
    await rig.ports.records.internGroup('g00000000000000ff', foreign);
    await hub.groups.refresh();
    const claimant = { machineId: 'fit', classId: 'fit', machineClass: { ...cpuClass, ...card } };
    expect(hub.groups.servable(claimant).map(({ groupId }) => groupId)).toEqual([group]);
  });
});

describe('requirements of the former queue', () => {
  const tagged = { tags: ['component.text2img', 'tier.premium'], region: 'eu', vramMb: 24_000 };

  test('they are stored as ours, with the models and the time of a run', async () => {
    const { rig, hub, submit } = await setup();
    await hub.models.put({
      id: 'sdxl-base',
      service: 'simulation',
      kind: 'checkpoint',
      files: [{ name: 'weights.bin', bytes: 5, sha256: 'a'.repeat(64), sources: [] }],
      memoryMb: 1,
      licence: 'MIT',
    });
    const machine = await rig.join({ machineId: 'm1', machineClass: tagged });
    const requirements = {
      service_type: 'simulation',
      hardware: { gpu_memory_gb: 24, cpu_cores: 'all' },
      models: ['sdxl-base'],
      positive_requirements: { tier: 'premium' },
      component: 'text2img',
      customer_isolation: 'loose',
      timeout_minutes: 15,
      geographic_region: 'eu',
    };
    const { job } = await submit({ id: 'j1', requirements });
    expect(job).toMatchObject({ maxRunMs: 900_000, models: ['sdxl-base'], affinity: 'sdxl-base' });
    expect(job.requirements).toEqual({
      vramMb: 22_889,
      tags: ['component.text2img', 'tier.premium'],
      region: 'eu',
    });
    expect((await submit({ id: 'j1', requirements })).created).toBe(false);
    expect((await machine.lease()).jobId).toBe('j1');
  });

  test('what nobody has is named where the client wrote it, in a batch too', async () => {
    const { rig, hub, asked, refusal } = await setup();
    await rig.join({ machineId: 'm1', machineClass: tagged });
    const requirements = {
      tags: ['nvme', 'tier.premium'],
      hardware: { gpu_memory_gb: 80 },
      component: 'video',
      compliance: ['gdpr', 'hipaa'],
      negative_requirements: { tier: ['economy', 'premium'] },
    };
    const expected = (prefix: string) => [
      {
        pointer: `${prefix}/requirements/hardware/gpu_memory_gb`,
        detail: 'vramMb: needed 76294 MiB, the best machine class has 24000 MiB',
      },
      { pointer: `${prefix}/requirements/tags`, detail: expect.stringContaining('needed nvme,') },
      {
        pointer: `${prefix}/requirements/compliance/0`,
        detail: expect.stringContaining('needed compliance.gdpr'),
      },
      {
        pointer: `${prefix}/requirements/compliance/1`,
        detail: expect.stringContaining('needed compliance.hipaa'),
      },
      {
        pointer: `${prefix}/requirements/component`,
        detail: expect.stringContaining('needed component.video'),
      },
      {
        pointer: `${prefix}/requirements/negative_requirements/tier`,
        detail: expect.stringContaining('needed not tier.premium'),
      },
    ];
    expect(await refusal({ requirements })).toEqual({ code: 'REQUIREMENT_UNMET', errors: expected('') });
    const batch = submitBatch(hub, [asked({}), asked({ requirements })], { traceparent: null });
    await expect(batch).rejects.toMatchObject({ code: 'REQUIREMENT_UNMET', errors: expected('/jobs/1') });
  });

  test('wrong fields of both forms, unknown ones and models that nobody registered are named together', async () => {
    const { refusal } = await setup();
    const found = await refusal({
      priority: 101,
      requirements: {
        vramMb: -1,
        colour: 'red',
        hardware: { gpu_memory_gb: '24', gpu_count: 2 },
        positive_requirements: { cuda: 12 },
        customer_isolation: 'very',
        component: '',
      },
    });
    expect(found.code).toBe('VALIDATION_FAILED');
    const details = new Map(found.errors.map(({ pointer, detail }) => [pointer, detail]));
    expect([...details.keys()].sort()).toEqual([
      '/priority',
      '/requirements/colour',
      '/requirements/component',
      '/requirements/customer_isolation',
      '/requirements/hardware/gpu_count',
      '/requirements/hardware/gpu_memory_gb',
      '/requirements/positive_requirements/cuda',
      '/requirements/vramMb',
    ]);
    expect(details.get('/requirements/hardware/gpu_memory_gb')).toContain('number of gigabytes');
    expect(details.get('/requirements/positive_requirements/cuda')).toContain('at least so much');
    expect(await refusal({ requirements: { models: ['nope', 'neither'] } })).toMatchObject({
      code: 'UNKNOWN_MODEL',
      errors: [{ pointer: '/requirements/models/0' }, { pointer: '/requirements/models/1' }],
    });
  });
});
