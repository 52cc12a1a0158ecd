import { afterEach, expect, test } from 'vitest';
import { endHttpRigs, httpRig } from './http-rig.ts';

afterEach(endHttpRigs);

test('a limit is kept, shown with what it has let in, changed and removed by its path', async () => {
  const { ask } = await httpRig();
  const path = '/v1/limits/acme';
  expect((await ask('GET', '/v1/limits')).body).toEqual({ items: [] });
  const saved = await ask('PUT', path, { json: { customer: 'acme', concurrent: 2, reason: 'their plan' } });
  expect(saved).toMatchObject({
    status: 200,
    body: { limit: { name: 'acme', customer: 'acme', concurrent: 2, reason: 'their plan' } },
  });
  for (const id of ['a', 'b', 'c'])
    await ask('POST', '/v1/jobs', { json: { id, service: 'simulation', customer: 'acme' } });
  await expect.poll(async () => (await ask('GET', path)).body.limit.admitted).toBe(2);
  expect((await ask('GET', '/v1/jobs/c')).body.job).toMatchObject({ state: 'held', limited: true });
  await ask('PUT', path, { json: { customer: '*', perMinute: 60 } });
  const { items } = (await ask('GET', '/v1/limits')).body;
  expect(items).toMatchObject([{ name: 'acme', customer: '*', perMinute: 60, reason: '', waitingNow: null }]);
  expect(items[0].concurrent).toBeUndefined();
  expect((await ask('DELETE', path)).body).toEqual({ removed: { name: 'acme' } });
  expect((await ask('GET', path)).status).toBe(404);
  expect((await ask('DELETE', path)).status).toBe(404);
});

test('what a limit keeps from waiting is refused as 429 with a time to come again, and a repeat is answered', async () => {
  const { ask } = await httpRig();
  await ask('PUT', '/v1/limits/each', { json: { customer: '*', waiting: 2 } });
  const job = { service: 'simulation', customer: 'acme' };
  const submit = (key: string) => ask('POST', '/v1/jobs', { json: job, headers: { 'idempotency-key': key } });
  expect([(await submit('a')).status, (await submit('b')).status]).toEqual([201, 201]);
  const refused = await submit('c');
  expect(refused).toMatchObject({
    status: 429,
    headers: { 'retry-after': '1' },
    type: expect.stringContaining('application/problem+json'),
    body: {
      code: 'QUEUE_FULL',
      retryable: true,
      detail: expect.stringContaining('the limit each lets 2 jobs of acme'),
    },
  });
  const batch = await ask('POST', '/v1/jobs/batch', { json: { jobs: [job, { ...job, customer: 'birch' }] } });
  expect(batch).toMatchObject({ status: 429, headers: { 'retry-after': '1' } });
  const three = await ask('POST', '/v1/jobs/batch', { json: { jobs: [job, job, job] } });
  expect(three).toMatchObject({ status: 429, body: { code: 'QUEUE_FULL', retryable: false } });
  expect(three.headers).not.toHaveProperty('retry-after');
  expect((await submit('a')).status).toBe(200);
  const dry = await ask('POST', '/v1/jobs?dryRun=true', { json: job });
  expect(dry).toMatchObject({ status: 200, body: { expectedStartMs: null } });
  expect(dry.body.warnings).toContain(`it would be refused now: ${refused.body.detail}`);
  await ask('PUT', '/v1/limits/acme', { json: { customer: 'acme', concurrent: 1, waiting: 5 } });
  expect((await ask('GET', '/v1/limits')).body.items).toMatchObject([
    { name: 'acme', waiting: 5, waitingNow: 2 },
    { name: 'each', waiting: 2, waitingNow: 2, admitted: 0 },
  ]);
  expect((await ask('GET', '/v1/limits/each')).body.limit).toMatchObject({ waiting: 2, waitingNow: 2 });
  expect((await ask('GET', '/v1/jobs/count?customer=birch')).body.counts.waiting).toBe(0);
});

test('what is wrong with one is named', async () => {
  const { ask } = await httpRig();
  const put = (json: object, name = 'acme') => ask('PUT', `/v1/limits/${name}`, { json });
  expect(await put({ concurrent: 3 })).toMatchObject({
    status: 400,
    body: { errors: [{ detail: expect.stringContaining('names a customer') }] },
  });
  expect(await put({ customer: 'acme', concurrent: -1 })).toMatchObject({
    status: 400,
    body: { errors: [{ pointer: '/concurrent' }] },
  });
  expect(await put({ customer: 'acme' })).toMatchObject({
    status: 400,
    body: {
      errors: [{ detail: expect.stringContaining('`concurrent`, `perMinute`, `waiting` or several') }],
    },
  });
  for (const waiting of [-1, 1.5, 'many', 1_000_001])
    expect(await put({ customer: 'acme', waiting })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/waiting' }] },
    });
  expect((await put({ customer: 'acme', concurrent: 1 }, 'no%20name')).status).toBe(400);
});

test('a customer is paused and resumed by the path of pauses', async () => {
  const { ask } = await httpRig();
  const path = '/v1/pauses/customer/acme';
  expect((await ask('PUT', path, { json: { reason: 'unpaid' } })).body.pause).toMatchObject({
    kind: 'customer',
    name: 'acme',
  });
  await ask('POST', '/v1/jobs', { json: { id: 'a', service: 'simulation', customer: 'acme' } });
  expect((await ask('GET', '/v1/jobs/a')).body.job).toMatchObject({ state: 'held' });
  await ask('DELETE', path);
  await expect.poll(async () => (await ask('GET', '/v1/jobs/a')).body.job.state).toBe('waiting');
});

test('what holds back a name that nothing bears is kept, with a word about it', async () => {
  const { ask } = await httpRig();
  const pause = await ask('PUT', '/v1/pauses/service/imge', { json: {} });
  expect(pause).toMatchObject({ status: 200, body: { pause: { kind: 'service', name: 'imge' } } });
  expect(pause.body.warnings).toEqual([
    expect.stringMatching(/^no machine offers the service imge, .*image/),
  ]);
  expect((await ask('GET', '/v1/pauses')).body.items).toHaveLength(1);
  const limit = await ask('PUT', '/v1/limits/w', { json: { pool: 'rentd', model: 'sdxl', concurrent: 1 } });
  expect(limit).toMatchObject({ status: 200, body: { limit: { name: 'w', pool: 'rentd' } } });
  expect(limit.body.warnings).toEqual([
    expect.stringContaining('the pool rentd'),
    expect.stringContaining('no model sdxl is registered'),
  ]);
});

test('a name that is known, and any customer, is held back without a word', async () => {
  const { ask } = await httpRig();
  for (const path of ['service/image', 'pool/fast-lane', 'customer/nobody-yet'])
    expect((await ask('PUT', `/v1/pauses/${path}`, { json: {} })).body).not.toHaveProperty('warnings');
  for (const json of [
    { customer: 'nobody-yet', concurrent: 1 },
    { pool: 'fast-lane', concurrent: 1 },
  ])
    expect((await ask('PUT', '/v1/limits/w', { json })).body).not.toHaveProperty('warnings');
});
