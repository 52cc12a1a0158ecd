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
  expect(items).toMatchObject([{ name: 'acme', customer: '*', perMinute: 60, reason: '' }]);
  expect(items[0].concurrent).toBeUndefined();
  expect((await ask('DELETE', path)).body).toEqual({ removed: { name: 'acme' } });
  expect((await ask('GET', path)).status).toBe(404);
  expect((await ask('DELETE', path)).status).toBe(404);
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
    body: { errors: [{ detail: expect.stringContaining('`concurrent`, `perMinute` or both') }] },
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
