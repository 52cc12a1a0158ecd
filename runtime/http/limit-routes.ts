import { z } from 'zod';
import { covers, holdsBack, type Limit, LimitName } from '#protocol/limit.ts';
import { namedBy } from '#protocol/records-admissions.ts';
import type { Hub } from '#runtime/hub/hub.ts';
import { unknownNames } from '#runtime/hub/known-names.ts';
import { removeLimit, saveLimit, showLimit } from '#runtime/hub/limits.ts';
import { countsShown } from '#runtime/hub/waiting.ts';
import type { HttpApp } from './http-app.ts';
import { parseNewPath, parsePath, warningsOf } from './request-checks.ts';

const LimitPath = z.strictObject({ name: LimitName });

/** How much of what may be under way. */
export function limitRoutes(app: HttpApp, hub: Hub): void {
  app.get('/v1/limits', async () => ({ items: await withUse(hub, await hub.records.listLimits()) }));
  app.get('/v1/limits/:name', async (request) => {
    const { name } = parsePath(LimitPath, request);
    const [limit] = await withUse(hub, [await showLimit(hub, name)]);
    return { limit };
  });
  app.put('/v1/limits/:name', async (request) => {
    const { name } = parseNewPath(LimitPath, request);
    const limit = await saveLimit(hub, { name, document: request.body, actor: 'operator' });
    const { pool, model } = limit;
    return { limit, ...warningsOf(await unknownNames(hub, { pool, model })) };
  });
  app.delete('/v1/limits/:name', async (request) => {
    const { name } = parsePath(LimitPath, request);
    await removeLimit(hub, { name, actor: 'operator' });
    return { removed: { name } };
  });
}

/** Each limit with the jobs that it counts now: of `*` those of all customers together. */
async function withUse(hub: Hub, limits: readonly Limit[]) {
  if (limits.length === 0) return [];
  const nowMs = hub.env.clock.now();
  const { admitted } = await hub.records.admissionView({ after: null, limit: 1, nowMs });
  const waiting = await countsShown(hub, limits, namedBy);
  return limits.map((limit, index) => {
    const counted = admitted.filter((work) => holdsBack(limit) && covers(limit, work));
    return {
      ...limit,
      admitted: counted.reduce((sum, { count }) => sum + count, 0),
      waitingNow: waiting[index] ?? null,
    };
  });
}
