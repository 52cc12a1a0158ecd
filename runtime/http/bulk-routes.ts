import { z } from 'zod';
import { abortBulk, getBulk, startBulk } from '#runtime/hub/bulks.ts';
import type { Hub } from '#runtime/hub/hub.ts';
import type { HttpApp } from './http-app.ts';
import { parseBody, parsePath } from './request-checks.ts';

const BulkPath = z.strictObject({ id: z.string().min(1).max(64) });
const Nothing = z.strictObject({});
const listLimit = 100;

/** What is done to many jobs at once. */
export function bulkRoutes(app: HttpApp, hub: Hub): void {
  app.get('/v1/bulks', async () => ({ items: await hub.records.listBulks({ limit: listLimit }) }));
  app.get('/v1/bulks/:id', async (request) => ({
    bulk: await getBulk(hub, parsePath(BulkPath, request).id),
  }));
  app.post('/v1/bulks', async (request, reply) => {
    const bulk = await startBulk(hub, request.body, 'operator');
    if (bulk.state === 'running') reply.code(202).header('location', `/v1/bulks/${bulk.id}`);
    return { bulk };
  });
  app.post('/v1/bulks/:id/abort', async (request) => {
    parseBody(Nothing, request);
    return { bulk: await abortBulk(hub, parsePath(BulkPath, request).id, 'operator') };
  });
}
