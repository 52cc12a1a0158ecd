import { z } from 'zod';
import { ScheduleName } from '#protocol/names.ts';
import type { Hub } from '#runtime/hub/hub.ts';
import { removeSchedule, saveSchedule, showSchedule } from '#runtime/hub/schedules.ts';
import type { HttpApp } from './http-app.ts';
import { parseNewPath, parsePath } from './request-checks.ts';

const SchedulePath = z.strictObject({ name: ScheduleName });

/** Jobs that come again and again. */
export function scheduleRoutes(app: HttpApp, hub: Hub): void {
  app.get('/v1/schedules', async () => ({ items: await hub.records.listSchedules() }));
  app.get('/v1/schedules/:name', async (request) => {
    const { name } = parsePath(SchedulePath, request);
    return { schedule: await showSchedule(hub, name) };
  });
  app.put('/v1/schedules/:name', async (request) => {
    const { name } = parseNewPath(SchedulePath, request);
    return { schedule: await saveSchedule(hub, { name, document: request.body, actor: 'operator' }) };
  });
  app.delete('/v1/schedules/:name', async (request) => {
    const { name } = parsePath(SchedulePath, request);
    await removeSchedule(hub, { name, actor: 'operator' });
    return { removed: { name } };
  });
}
