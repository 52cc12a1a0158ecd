import { createHash } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { endHttpRigs, httpRig } from './http-rig.ts';

afterEach(endHttpRigs);

const job = (more: object = {}) => ({ service: 'simulation', ...more });
const hashOf = (content: Buffer) => createHash('sha256').update(content).digest('hex');

describe('jobs over HTTP', () => {
  test('a submit answers 201 with its place, its repeat 200, another content 422', async () => {
    const { ask } = await httpRig();
    const first = await ask('POST', '/v1/jobs', { json: job({ id: 'j1' }) });
    expect(first).toMatchObject({
      status: 201,
      headers: { location: '/v1/jobs/j1' },
      body: { job: { id: 'j1', state: 'waiting' } },
    });
    expect((await ask('POST', '/v1/jobs', { json: job({ id: 'j1' }) })).status).toBe(200);
    expect(await ask('POST', '/v1/jobs', { json: job({ id: 'j1', priority: 9 }) })).toMatchObject({
      status: 422,
      body: { code: 'IDEMPOTENCY_CONFLICT' },
    });
  });

  test('under one Idempotency-Key a submit happens once per customer, with another content it is refused', async () => {
    const { ask } = await httpRig();
    const send = (more: object, key = 'order 66') =>
      ask('POST', '/v1/jobs', { json: job(more), headers: { 'idempotency-key': key } });
    const first = await send({ priority: 7 });
    expect(first.status).toBe(201);
    expect(await send({ priority: 7 })).toMatchObject({
      status: 200,
      body: { job: { id: first.body.job.id } },
    });
    expect(await send({ priority: 8 })).toMatchObject({
      status: 422,
      body: { code: 'IDEMPOTENCY_CONFLICT' },
    });
    for (const other of [send({ customer: 'ann' }), send({ priority: 7 }, 'order 67'), send({ id: 'own' })])
      expect((await other).status).toBe(201);
    expect(await send({}, 'x'.repeat(256))).toMatchObject({
      status: 400,
      body: { code: 'VALIDATION_FAILED' },
    });
    expect((await ask('GET', '/v1/jobs/count')).body.counts.waiting).toBe(4);
  });

  test('a batch under one Idempotency-Key happens once', async () => {
    const { ask } = await httpRig();
    const send = () =>
      ask('POST', '/v1/jobs/batch', {
        json: { jobs: [job(), job(), job({ id: 'own' })] },
        headers: { 'idempotency-key': 'album-1' },
      });
    const first = (await send()).body.items;
    const again = (await send()).body.items;
    expect(again.map((each: { job: { id: string } }) => each.job.id)).toEqual(
      first.map((each: { job: { id: string } }) => each.job.id),
    );
    expect(again.map((each: { created: boolean }) => each.created)).toEqual([false, false, false]);
  });

  test('a dry run answers and stores nothing', async () => {
    const { ask } = await httpRig();
    expect(
      await ask('POST', '/v1/jobs?dryRun=true', { json: job({ payload: { durationMs: 20_000 } }) }),
    ).toMatchObject({ status: 200, body: { pool: 'standard', machinesNow: 0, expectedMs: 20_000 } });
    expect((await ask('GET', '/v1/jobs')).body.items).toEqual([]);
  });

  test('a batch is taken or refused as a whole', async () => {
    const { ask } = await httpRig();
    const wrong = await ask('POST', '/v1/jobs/batch', { json: { jobs: [job(), job({ priority: 'x' })] } });
    expect(wrong).toMatchObject({ status: 400, body: { errors: [{ pointer: '/jobs/1/priority' }] } });
    expect((await ask('GET', '/v1/jobs/count')).body.counts.waiting).toBe(0);
    const right = await ask('POST', '/v1/jobs/batch', {
      json: { jobs: [job({ id: 'a' }), job({ id: 'b' })] },
    });
    expect(right).toMatchObject({
      status: 201,
      body: {
        items: [
          { created: true, job: { id: 'a' } },
          { created: true, job: { id: 'b' } },
        ],
      },
    });
  });

  test('lists filter, page and count', async () => {
    const { ask } = await httpRig();
    for (let index = 0; index < 5; index++)
      await ask('POST', '/v1/jobs', {
        json: job({ id: `j${index}`, customer: index < 3 ? 'ann' : 'bob', labels: { n: `${index}` } }),
      });
    await ask('POST', '/v1/jobs/j0/cancel');
    const first = (await ask('GET', '/v1/jobs?customer=ann&limit=2')).body;
    const second = (await ask('GET', `/v1/jobs?customer=ann&limit=2&cursor=${first.nextCursor}`)).body;
    expect([...first.items, ...second.items].map((each: { id: string }) => each.id).sort()).toEqual([
      'j0',
      'j1',
      'j2',
    ]);
    expect(second.nextCursor).toBeNull();
    expect(
      (await ask('GET', '/v1/jobs?state=cancelled,failed')).body.items.map((each: { id: string }) => each.id),
    ).toEqual(['j0']);
    expect(
      (await ask('GET', '/v1/jobs?label=n:4')).body.items.map((each: { id: string }) => each.id),
    ).toEqual(['j4']);
    expect((await ask('GET', '/v1/jobs/count?customer=ann')).body.counts).toMatchObject({
      waiting: 2,
      cancelled: 1,
    });
  });

  test('R29: a job, its timeline and what the broker says of it', async () => {
    const { ask } = await httpRig();
    await ask('POST', '/v1/jobs', { json: job({ id: 'j1' }) });
    expect((await ask('GET', '/v1/jobs/j1')).body.job.id).toBe('j1');
    expect((await ask('GET', '/v1/jobs/j1/timeline')).body).toMatchObject({
      job: { id: 'j1' },
      transitions: [{ from: null, to: 'waiting', operation: 'submit' }],
      runs: [],
      broker: { state: 'waiting', ahead: 0 },
    });
  });

  test('a pool is held back and let go by its path; another kind is not found', async () => {
    const { ask } = await httpRig();
    const path = '/v1/pauses/pool/heavy';
    expect(await ask('PUT', path, { json: { reason: 'a leak' } })).toMatchObject({
      status: 200,
      body: { pause: { kind: 'pool', name: 'heavy', reason: 'a leak' } },
    });
    expect((await ask('GET', '/v1/pauses')).body.items).toMatchObject([{ kind: 'pool', name: 'heavy' }]);
    expect((await ask('GET', '/v1/status')).body.pauses).toHaveLength(1);
    expect((await ask('DELETE', path)).status).toBe(200);
    expect((await ask('DELETE', path)).status).toBe(404);
    expect((await ask('PUT', '/v1/pauses/machine/ann', { json: {} })).status).toBe(404);
    expect((await ask('PUT', path, { json: { why: 'x' } })).status).toBe(400);
  });

  test('a job is explained; one that nobody knows is not', async () => {
    const { ask } = await httpRig();
    await ask('POST', '/v1/jobs', { json: job({ id: 'j1' }) });
    expect(await ask('GET', '/v1/jobs/j1/explain')).toMatchObject({
      status: 200,
      body: {
        jobId: 'j1',
        state: 'waiting',
        summary: ['No machine has joined: it waits for one that offers simulation.', expect.anything()],
      },
    });
    expect((await ask('GET', '/v1/jobs/none/explain')).status).toBe(404);
  });

  test('cancel answers 202, also repeated; requeue gives another life, once it has ended', async () => {
    const { ask } = await httpRig();
    await ask('POST', '/v1/jobs', { json: job({ id: 'j1' }) });
    expect(await ask('POST', '/v1/jobs/j1/requeue')).toMatchObject({
      status: 409,
      body: { code: 'CONFLICT' },
    });
    expect(await ask('POST', '/v1/jobs/j1/cancel', { json: {} })).toMatchObject({
      status: 202,
      body: { state: 'cancelled' },
    });
    expect(await ask('POST', '/v1/jobs/j1/cancel')).toMatchObject({
      status: 202,
      body: { state: 'cancelled' },
    });
    expect(await ask('POST', '/v1/jobs/j1/requeue')).toMatchObject({
      status: 200,
      body: { job: { state: 'waiting', fenceFloor: expect.stringMatching(/^\d{16}$/) } },
    });
  });

  test('a long poll answers as soon as the job has ended', async () => {
    const { rig, ask } = await httpRig();
    await ask('POST', '/v1/jobs', { json: job({ id: 'j1' }) });
    const waiting = ask('GET', '/v1/jobs/j1?waitMs=60000');
    const machine = await rig.join({ machineId: 'm1' });
    await machine.complete(await machine.lease());
    expect((await waiting).body.job.state).toBe('succeeded');
  });

  test('a long poll of a job that does not end answers what there is', async () => {
    const { ask } = await httpRig();
    await ask('POST', '/v1/jobs', { json: job({ id: 'j1' }) });
    expect((await ask('GET', '/v1/jobs/j1?waitMs=10')).body.job.state).toBe('waiting');
  });

  test('previews and outputs come back; unknown ones say what there is', async () => {
    const { rig, ask } = await httpRig();
    await ask('POST', '/v1/jobs', { json: job({ id: 'j1' }) });
    expect(await ask('GET', '/v1/jobs/j1/preview')).toMatchObject({ status: 404 });
    expect(await ask('GET', '/v1/jobs/j1/outputs/a.png')).toMatchObject({
      status: 404,
      body: { detail: expect.stringContaining('waiting') },
    });
    const machine = await rig.join({ machineId: 'm1' });
    const { jobId, token } = await machine.lease();
    await machine.notify('preview', {
      jobId,
      token,
      mime: 'image/png',
      base64: Buffer.from('small').toString('base64'),
    });
    const content = Buffer.from('large');
    const sha256 = hashOf(content);
    const file = { name: 'a.png', bytes: content.length, sha256, mime: 'image/png' };
    const signed = await machine.ask('sign', { what: 'results', jobId, token, files: [file] });
    if (signed.kind !== 'signed') throw new Error('not signed');
    const put = new URL(signed.files[0]?.urls[0] ?? '');
    expect(
      (
        await ask('PUT', put.pathname + put.search, {
          body: Buffer.from('wrong'),
          headers: { 'content-type': 'image/png' },
        })
      ).status,
    ).toBe(400);
    expect(
      (
        await ask('PUT', put.pathname + put.search, {
          body: content,
          headers: { 'content-type': 'image/png' },
        })
      ).status,
    ).toBe(201);
    const done = await machine.complete(
      { jobId, token },
      { outputs: [{ ...file, object: signed.files[0]?.object ?? '' }] },
    );
    expect(done.kind).toBe('committed');
    expect(await ask('GET', '/v1/jobs/j1/preview')).toMatchObject({
      status: 200,
      text: 'small',
      headers: { 'content-type': 'image/png', 'x-content-type-options': 'nosniff' },
    });
    const found = await ask('GET', '/v1/jobs/j1/outputs/a.png');
    expect(found.status).toBe(302);
    const target = new URL(String(found.headers.location));
    expect(await ask('GET', target.pathname + target.search)).toMatchObject({ status: 200, text: 'large' });
    expect(
      await ask('GET', target.pathname + target.search, { headers: { range: 'bytes=1-2' } }),
    ).toMatchObject({ status: 206, text: 'ar' });
    expect(await ask('GET', `${target.pathname}${target.search}x`)).toMatchObject({
      status: 403,
      body: { code: 'FORBIDDEN' },
    });
    expect((await ask('HEAD', target.pathname + target.search)).headers['content-length']).toBe('5');
  });
});

describe('the fleet over HTTP', () => {
  test('machines show what they run and hold, and take drain, cordon and uncordon', async () => {
    const { rig, ask } = await httpRig();
    const machine = await rig.join({ machineId: 'm1' });
    await machine.notify('residency', {
      full: true,
      entries: [{ modelId: 'a', version: 1, state: 'resident', bytes: 5, fraction: 1 }],
    });
    expect((await ask('GET', '/v1/machines')).body.items).toMatchObject([
      { machineId: 'm1', linked: true, residency: [{ modelId: 'a' }], running: [] },
    ]);
    expect(await ask('POST', '/v1/machines/m1/cordon')).toMatchObject({
      status: 202,
      body: { machine: { cordoned: true } },
    });
    expect(
      await ask('POST', '/v1/machines/m1/drain', { json: { deadlineMs: 5_000, reason: 'update' } }),
    ).toMatchObject({ status: 202, body: { machine: { draining: true } } });
    expect(machine.notices).toEqual([
      { type: 'cordon', body: { cordoned: true } },
      { type: 'drain', body: { deadlineMs: 5_000, reason: 'update' } },
    ]);
    expect((await ask('POST', '/v1/machines/m1/uncordon')).body.machine).toMatchObject({
      cordoned: false,
      draining: false,
    });
    expect(await ask('GET', '/v1/machines/none')).toMatchObject({ status: 404 });
    expect(await ask('POST', '/v1/machines/m1/drain', { json: { deadline: 1 } })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/deadline' }] },
    });
  });

  test('a join token that the API made lets a machine in', async () => {
    const { rig, ask } = await httpRig();
    const { status, body } = await ask('POST', '/v1/join-tokens', { json: { ttlMs: 60_000 } });
    expect(status).toBe(201);
    expect((await rig.join({ machineId: 'm1', token: body.token })).welcome).toMatchObject({
      kind: 'welcome',
    });
    expect(await ask('POST', '/v1/join-tokens', { json: { ttlMs: 1 } })).toMatchObject({ status: 400 });
  });

  test('a model is registered, its file uploaded and then signed for machines', async () => {
    const { rig, ask } = await httpRig();
    const content = Buffer.from('weights');
    const sha256 = hashOf(content);
    const manifest = {
      id: 'm',
      service: 'simulation',
      kind: 'x',
      files: [{ name: 'w.bin', bytes: content.length, sha256 }],
      memoryMb: 1,
      licence: 'MIT',
    };
    expect(await ask('PUT', '/v1/models/other', { json: manifest })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/id' }] },
    });
    expect((await ask('PUT', '/v1/models/m', { json: manifest })).status).toBe(200);
    expect((await ask('GET', '/v1/models')).body.items).toMatchObject([{ id: 'm' }]);
    const upload = await ask('POST', '/v1/models/m/files/w.bin');
    const url = new URL(upload.body.url);
    expect(
      (
        await ask('PUT', url.pathname + url.search, {
          body: content,
          headers: { 'content-type': 'application/octet-stream' },
        })
      ).status,
    ).toBe(201);
    const machine = await rig.join({ machineId: 'm1' });
    const signed = await machine.ask('sign', { what: 'model', modelId: 'm' });
    expect(signed).toMatchObject({ kind: 'signed', files: [{ name: 'w.bin', sha256 }] });
    expect(await ask('POST', '/v1/models/m/files/none')).toMatchObject({
      status: 404,
      body: { detail: expect.stringContaining('w.bin') },
    });
  });

  test('an upload becomes the input of a job', async () => {
    const { ask } = await httpRig();
    const { body } = await ask('POST', '/v1/uploads', { json: { name: 'in.png', mime: 'image/png' } });
    const inputs = [{ name: 'in.png', object: body.object }];
    expect(await ask('POST', '/v1/jobs', { json: job({ inputs }) })).toMatchObject({
      status: 422,
      body: { code: 'INPUT_INVALID' },
    });
    const url = new URL(body.url);
    await ask('PUT', url.pathname + url.search, {
      body: Buffer.from('png'),
      headers: { 'content-type': 'image/png' },
    });
    expect((await ask('POST', '/v1/jobs', { json: job({ inputs }) })).status).toBe(201);
  });
});
