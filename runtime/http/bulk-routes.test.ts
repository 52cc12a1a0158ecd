import { afterEach, expect, test } from 'vitest';
import { endHttpRigs, httpRig } from './http-rig.ts';

afterEach(endHttpRigs);

test('a bulk action is tried, begun, looked at and aborted by its path', async () => {
  const { ask } = await httpRig();
  for (const id of ['a', 'b'])
    await ask('POST', '/v1/jobs', { json: { id, service: 'simulation', customer: 'ann' } });
  const json = { action: 'cancel', filter: { customer: 'ann' } };
  const tried = await ask('POST', '/v1/bulks', { json: { ...json, dryRun: true } });
  expect(tried).toMatchObject({ status: 200, body: { bulk: { matched: 2, done: 0 } } });
  const begun = await ask('POST', '/v1/bulks', { json });
  const { id } = begun.body.bulk;
  expect(begun).toMatchObject({ status: 202, headers: { location: `/v1/bulks/${id}` } });
  expect((await ask('GET', '/v1/bulks')).body.items).toMatchObject([{ id, state: 'running', matched: 2 }]);
  const path = `/v1/bulks/${id}`;
  expect((await ask('POST', `${path}/abort`)).body).toMatchObject({ bulk: { state: 'aborted' } });
  expect((await ask('GET', path)).body).toMatchObject({ bulk: { state: 'aborted' } });
  expect((await ask('POST', `${path}/abort`)).status).toBe(409);
  expect((await ask('GET', '/v1/bulks/nobody')).status).toBe(404);
  expect(await ask('POST', '/v1/bulks', { json: { action: 'cancel', filter: {} } })).toMatchObject({
    status: 400,
    body: { errors: [{ pointer: '/filter' }] },
  });
  expect((await ask('POST', '/v1/bulks')).status).toBe(400);
});
