import { afterEach, expect, test } from 'vitest';
import { endHttpRigs, httpRig } from './http-rig.ts';

afterEach(endHttpRigs);

const definition = { cron: '0 3 * * *', timezone: 'Europe/Berlin', job: { service: 'simulation' } };

test('a schedule is kept, shown with its next times, changed and removed by its path', async () => {
  const { ask } = await httpRig();
  const path = '/v1/schedules/nightly';
  const saved = await ask('PUT', path, { json: definition });
  expect(saved).toMatchObject({
    status: 200,
    body: { schedule: { name: 'nightly', ...definition, overlap: 'allow', last: null } },
  });
  const { schedule } = (await ask('GET', path)).body;
  expect(schedule.upcomingMs).toHaveLength(5);
  expect(schedule.upcomingMs[0]).toBe(saved.body.schedule.nextAtMs);
  expect([...schedule.upcomingMs].sort((a: number, b: number) => a - b)).toEqual(schedule.upcomingMs);
  await ask('PUT', path, { json: { ...definition, paused: true } });
  expect((await ask('GET', '/v1/schedules')).body.items).toMatchObject([{ paused: true, nextAtMs: null }]);
  expect((await ask('DELETE', path)).body).toEqual({ removed: { name: 'nightly' } });
  expect((await ask('GET', path)).status).toBe(404);
  expect((await ask('DELETE', path)).status).toBe(404);
});

test('what is wrong with one is named', async () => {
  const { ask } = await httpRig();
  const put = (json: object, name = 'nightly') => ask('PUT', `/v1/schedules/${name}`, { json });
  expect(await put({ ...definition, cron: '0 25 * * *' })).toMatchObject({
    status: 400,
    body: { errors: [{ pointer: '/cron', detail: expect.stringContaining('hour') }] },
  });
  expect(await put({ cron: '@daily' })).toMatchObject({
    status: 400,
    body: { errors: [{ pointer: '/job' }] },
  });
  expect((await put(definition, 'no%20name')).status).toBe(400);
  expect((await put(definition, 'x'.repeat(65))).status).toBe(400);
});
