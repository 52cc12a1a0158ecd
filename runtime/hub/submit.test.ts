import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { toEmpError } from '#protocol/errors.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { dryRunJob } from './dry-run.ts';
import type { HubPorts } from './hub.ts';
import { cpuClass, hubRig } from './hub-rig.ts';
import { prepareJob } from './prepare-job.ts';
import { submitBatch, submitJob } from './submit.ts';

const upscale = { id: 'up-1', service: 'simulation', kind: 'checkpoint', memoryMb: 1, licence: 'MIT' };
const file = { name: 'weights.bin', bytes: 5_000_000, sha256: 'a'.repeat(64), sources: [] };

/** A service that cannot work without a file. */
const needsFile = { ...simulationSpec, service: 'needs-file', inputs: { min: 1, max: 1 } };

async function setup(options: { wrap?: (ports: HubPorts) => HubPorts; config?: object } = {}) {
  const env = simEnv({ seed: 'submit' });
  const objects = new SimObjects({ clock: env.clock });
  const rig = await hubRig({
    env,
    objects,
    services: [simulationSpec, needsFile],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: 3_000, ...options.config },
    ...(options.wrap && { wrap: options.wrap }),
  });
  await env.clock.advanceBy(10);
  const { hub } = rig.core;
  const submit = (document: unknown) => submitJob(hub, document, { traceparent: null });
  const refusal = async (document: unknown) => {
    try {
      await submit(document);
    } catch (error) {
      const { code, errors, message, retryable } = toEmpError(error);
      return { code, errors, message, retryable };
    }
    throw new Error('the submission was taken');
  };
  const stored = async () =>
    (await rig.ports.records.listJobs({ filter: {}, limit: 100, cursor: null })).items;
  return { env, rig, hub, objects, submit, refusal, stored };
}

const job = (more: object = {}) => ({ service: 'simulation', payload: { durationMs: 20 }, ...more });

describe('submit', () => {
  test('a taken job is a row, an entry of the broker, and marked', async () => {
    const { env, rig, submit } = await setup();
    const { created, job: taken } = await submit(job({ id: 'j1', priority: 80, labels: { a: 'b' } }));
    expect(created).toBe(true);
    expect(taken).toMatchObject({
      id: 'j1',
      state: 'waiting',
      pool: 'fast-lane',
      expectedMs: 20,
      affinity: '-',
    });
    await env.clock.settle();
    expect((await rig.ports.records.getJob('j1'))?.brokeredAtMs).not.toBeNull();
    expect(await rig.ports.broker.inspect('j1')).toMatchObject({ state: 'waiting', group: taken.group });
  });

  test('the same id and content again is the same job, another content a conflict', async () => {
    const { submit, refusal, stored } = await setup();
    await submit(job({ id: 'j1' }));
    expect(await submit(job({ id: 'j1' }))).toMatchObject({ created: false, job: { id: 'j1' } });
    expect(await refusal(job({ id: 'j1', priority: 1 }))).toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
      errors: [{ pointer: '/id' }],
    });
    expect(await stored()).toHaveLength(1);
  });

  test('a job that was submitted to a version before is repeated under the same fingerprint', async () => {
    const { hub } = await setup();
    const sent = {
      service: 'simulation',
      id: 'before',
      payload: { durationMs: 10 },
      customer: 'acme',
      labels: { a: 'b' },
    };
    const { row } = await prepareJob(hub, sent, { prefix: '', traceparent: null });
    expect(row.fingerprint).toBe('835c20d64995c25ed31c10732a9a531fc83b4a24a49ebff0a34b98da3b8608c6');
    const other = await prepareJob(hub, { ...sent, preemptible: true }, { prefix: '', traceparent: null });
    expect(other.row.fingerprint).not.toBe(row.fingerprint);
  });

  test('a trace of its own does not make a repeat another job', async () => {
    const { hub, submit } = await setup();
    const traceparent = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;
    expect((await submitJob(hub, job({ id: 'j1' }), { traceparent })).job.traceparent).toBe(traceparent);
    expect((await submit(job({ id: 'j1' }))).created).toBe(false);
  });

  test('a job for later is scheduled, one for a time that has passed waits', async () => {
    const { env, submit } = await setup();
    const at = (ms: number) => new Date(env.clock.now() + ms).toISOString();
    expect((await submit(job({ notBefore: at(60_000) }))).job).toMatchObject({
      state: 'scheduled',
      notBeforeMs: env.clock.now() + 60_000,
    });
    expect((await submit(job({ notBefore: at(-60_000) }))).job).toMatchObject({
      state: 'waiting',
      notBeforeMs: null,
    });
  });

  test('every wrong field is named at once, by pointer', async () => {
    const { refusal, stored } = await setup();
    const found = await refusal({
      service: 'simulation',
      priority: 101,
      colour: 'red',
      requirements: { vramMb: -1, gpu: 1 },
      labels: { 'a/b': 3 },
    });
    expect(found.code).toBe('VALIDATION_FAILED');
    expect(found.errors.map((each) => each.pointer).sort()).toEqual([
      '/colour',
      '/labels/a~1b',
      '/priority',
      '/requirements/gpu',
      '/requirements/vramMb',
    ]);
    expect(await stored()).toEqual([]);
  });

  test.each([
    ['no object', 7, 'VALIDATION_FAILED', ''],
    ['nothing', null, 'VALIDATION_FAILED', ''],
    ['a list', [], 'VALIDATION_FAILED', ''],
    [
      'a payload field that the service does not know',
      job({ payload: { durationMs: 1, speed: 2 } }),
      'PAYLOAD_INVALID',
      '/payload/speed',
    ],
    [
      'a payload value out of range',
      job({ payload: { durationMs: -1 } }),
      'PAYLOAD_INVALID',
      '/payload/durationMs',
    ],
    ['a model that is not registered', job({ payload: { models: ['nope'] } }), 'UNKNOWN_MODEL', '/payload'],
    [
      'an input of a foreign folder',
      job({ inputs: [{ name: 'a', object: 'models/x' }] }),
      'INPUT_INVALID',
      '/inputs/0/object',
    ],
    [
      'an input that climbs out',
      job({ inputs: [{ name: 'a', object: '../secret' }] }),
      'INPUT_INVALID',
      '/inputs/0/object',
    ],
    [
      'an input that was never uploaded',
      job({ inputs: [{ name: 'a', object: 'uploads/u/a' }] }),
      'INPUT_INVALID',
      '/inputs/0/object',
    ],
    ['an id that is a path', job({ id: 'a/../b' }), 'VALIDATION_FAILED', '/id'],
    [
      'a payload over what a frame carries',
      job({ payload: { filler: 'x'.repeat(250_000) }, service: 'other' }),
      'BODY_TOO_LARGE',
      '/payload',
    ],
  ])('refuses %s', async (_, document, code, pointer) => {
    const { refusal, stored } = await setup();
    const found = await refusal(document);
    expect(found).toMatchObject({ code, errors: [{ pointer }] });
    expect(await stored()).toEqual([]);
  });

  test('refuses nesting that could exhaust a stack', async () => {
    const { refusal } = await setup();
    let deep: object = {};
    for (let depth = 0; depth < 70; depth++) deep = { deep };
    expect(await refusal(job({ payload: deep }))).toMatchObject({
      code: 'VALIDATION_FAILED',
      errors: [{ detail: expect.stringContaining('64') }],
    });
  });

  test('two inputs of one name are refused', async () => {
    const { objects, refusal } = await setup();
    objects.store({ key: 'uploads/u/a', bytes: new Uint8Array([1]), mime: 'image/png' });
    const inputs = [
      { name: 'a', object: 'uploads/u/a' },
      { name: 'a', object: 'uploads/u/a' },
    ];
    expect(await refusal(job({ inputs }))).toMatchObject({
      code: 'INPUT_INVALID',
      errors: [{ pointer: '/inputs/1/name' }],
    });
  });

  test('a file counts by its content: a retry that uploaded it again is the same job, another file is not', async () => {
    const { objects, submit, refusal } = await setup();
    const store = (key: string, byte: number) =>
      objects.store({ key, bytes: new Uint8Array([byte]), mime: 'image/png' });
    store('uploads/first/a', 1);
    store('uploads/again/a', 1);
    store('uploads/other/a', 2);
    const withInput = (object: string) => job({ id: 'j1', inputs: [{ name: 'a', object }] });
    expect(await submit(withInput('uploads/first/a'))).toMatchObject({ created: true });
    expect(await submit(withInput('uploads/again/a'))).toMatchObject({ created: false });
    expect(await refusal(withInput('uploads/other/a'))).toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
  });

  test('the base model of a payload is the affinity of its lane', async () => {
    const { hub, submit } = await setup();
    await hub.models.put({ ...upscale, files: [file] });
    expect((await submit(job({ payload: { models: ['up-1'] } }))).job).toMatchObject({
      affinity: 'up-1',
      models: ['up-1'],
    });
  });

  test('R16: with no machine ever joined a service is taken with a warning, afterwards an unknown one is refused by name', async () => {
    const { rig, submit, refusal } = await setup();
    expect((await submit(job({ service: 'video' }))).warnings).toHaveLength(1);
    await rig.join({ machineId: 'm1' });
    expect((await submit(job())).warnings).toEqual([]);
    expect(await refusal(job({ service: 'video' }))).toMatchObject({
      code: 'UNKNOWN_SERVICE',
      message: expect.stringContaining('offered: simulation'),
    });
  });

  test('T23: a requirement that no class meets is refused with what is needed and what there is', async () => {
    const { rig, refusal } = await setup();
    await rig.join({ machineId: 'm1' });
    expect(await refusal(job({ requirements: { vramMb: 24_000, ramMb: 1_000 } }))).toMatchObject({
      code: 'REQUIREMENT_UNMET',
      errors: [{ pointer: '/requirements/vramMb', detail: expect.stringMatching(/24000 MiB.*0 MiB/) }],
    });
  });

  test('the pool follows the duration among pools that can run the job', async () => {
    const { rig, submit } = await setup();
    await rig.join({ machineId: 'm1', machineClass: { pool: 'heavy' } });
    expect((await submit(job())).job.pool).toBe('heavy');
    await rig.join({ machineId: 'm2', machineClass: { pool: 'fast-lane', cpuCores: 2 } });
    expect((await submit(job())).job.pool).toBe('fast-lane');
    expect((await submit(job({ requirements: { cpuCores: 4 } }))).job.pool).toBe('heavy');
  });

  test('R35: more waiting jobs than the limit are refused before anything is stored', async () => {
    const { env, rig, submit, refusal, stored } = await setup({ config: { waitingLimit: 2 } });
    await submit(job());
    await submit(job());
    await env.clock.advanceBy(1_100);
    expect(await refusal(job())).toMatchObject({ code: 'QUEUE_FULL', retryable: true });
    const groups = await rig.ports.records.listGroups();
    expect(await refusal({ ...job(), requirements: { ramMb: 7 } })).toMatchObject({ code: 'QUEUE_FULL' });
    expect(await rig.ports.records.listGroups()).toEqual(groups);
    expect(await stored()).toHaveLength(2);
  });
});

describe('submit on bad days', () => {
  const failing = <T extends object>(
    port: T,
    broken: { value: boolean },
    code: 'RECORDS_UNAVAILABLE' | 'BROKER_UNAVAILABLE',
  ): T =>
    new Proxy(port, {
      get: (target, name) => {
        const method = Reflect.get(target, name);
        if (typeof method !== 'function') return method;
        return (...given: unknown[]) =>
          broken.value ? Promise.reject(toEmpError(new Error('down'), code)) : method.apply(target, given);
      },
    });

  test('without records a submit is refused and nothing is stored', async () => {
    const broken = { value: false };
    const { rig, refusal, stored } = await setup({
      wrap: (ports) => ({ ...ports, records: failing(ports.records, broken, 'RECORDS_UNAVAILABLE') }),
    });
    broken.value = true;
    expect(await refusal(job({ id: 'j1' }))).toMatchObject({ code: 'RECORDS_UNAVAILABLE', retryable: true });
    broken.value = false;
    expect(await stored()).toEqual([]);
    expect(await rig.ports.broker.inspect('j1')).toBeNull();
  });

  test('without a broker a submit is taken, and the reconciler brings the job there later', async () => {
    const broken = { value: false };
    const { env, rig, submit } = await setup({
      wrap: (ports) => ({ ...ports, broker: failing(ports.broker, broken, 'BROKER_UNAVAILABLE') }),
    });
    broken.value = true;
    const { created, job: taken } = await submit(job({ id: 'j1' }));
    expect(created).toBe(true);
    expect(taken.brokeredAtMs).toBeNull();
    broken.value = false;
    await env.clock.advanceBy(40_000);
    expect(await rig.ports.broker.inspect('j1')).toMatchObject({ state: 'waiting' });
    expect((await rig.ports.records.getJob('j1'))?.brokeredAtMs).not.toBeNull();
  });

  test('T14: a broker that lost everything is closed, and holds every job again after a reconcile', async () => {
    const { env, rig, submit } = await setup();
    await submit(job({ id: 'j1' }));
    rig.server.loseAll();
    expect((await submit(job({ id: 'j2' }))).created).toBe(true);
    await env.clock.advanceBy(500);
    expect((await rig.ports.broker.identity()).open).toBe(true);
    expect(await rig.ports.broker.inspect('j1')).not.toBeNull();
    expect(await rig.ports.broker.inspect('j2')).not.toBeNull();
  });
});

describe('batch', () => {
  test('all jobs of a batch are taken', async () => {
    const { hub, stored } = await setup();
    const items = await submitBatch(hub, [job({ id: 'a' }), job({ id: 'b' })], { traceparent: null });
    expect(items.map((each) => [each.created, each.job.id])).toEqual([
      [true, 'a'],
      [true, 'b'],
    ]);
    expect(await stored()).toHaveLength(2);
  });

  test.each([
    [
      'a wrong field of one job',
      [job(), job({ priority: 'high' })],
      'VALIDATION_FAILED',
      ['/jobs/1/priority'],
    ],
    [
      'wrong fields of several',
      [job({ x: 1 }), job(), job({ payload: { durationMs: 'long' } })],
      'VALIDATION_FAILED',
      ['/jobs/0/x', '/jobs/2/payload/durationMs'],
    ],
    ['one id twice', [job({ id: 'a' }), job({ id: 'a' })], 'VALIDATION_FAILED', ['/jobs/1/id']],
    [
      'an id whose job is another',
      [job({ id: 'b' }), job({ id: 'taken', priority: 1 })],
      'IDEMPOTENCY_CONFLICT',
      ['/jobs/1/id'],
    ],
    ['no job', [], 'VALIDATION_FAILED', ['/jobs']],
    ['too many', Array.from({ length: 1_001 }, () => job()), 'VALIDATION_FAILED', ['/jobs']],
  ])('is refused as a whole for %s', async (_, documents, code, pointers) => {
    const { hub, submit, stored } = await setup();
    await submit(job({ id: 'taken' }));
    const error = await submitBatch(hub, documents, { traceparent: null }).then(() => null, toEmpError);
    expect(error?.code).toBe(code);
    expect(error?.errors.map((each) => each.pointer)).toEqual(pointers);
    expect(await stored()).toHaveLength(1);
  });
});

describe('dry run', () => {
  test('says where a job would run and stores nothing', async () => {
    const { rig, hub, stored } = await setup();
    expect(await dryRunJob(hub, job())).toMatchObject({
      classes: [],
      machinesNow: 0,
      expectedStartMs: null,
      expectedMs: 20,
    });
    const machine = await rig.join({ machineId: 'm1' });
    await machine.beat();
    const answer = await dryRunJob(hub, job());
    expect(answer).toMatchObject({ pool: cpuClass.pool, machinesNow: 1, expectedStartMs: 0, warnings: [] });
    expect(answer.classes).toHaveLength(1);
    expect(await stored()).toEqual([]);
  });

  test('a file that a service needs may follow: its absence is a warning here, a refusal at submit', async () => {
    const { hub, refusal } = await setup();
    const document = job({ service: 'needs-file' });
    expect(await refusal(document)).toMatchObject({
      code: 'INPUT_INVALID',
      errors: [{ pointer: '/inputs' }],
    });
    const answer = await dryRunJob(hub, document);
    expect(answer.warnings).toContain('needs-file takes 1 input file(s), 0 given');
  });

  test('refuses what a submit refuses', async () => {
    const { hub } = await setup();
    await expect(dryRunJob(hub, job({ priority: -1 }))).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
  });
});
