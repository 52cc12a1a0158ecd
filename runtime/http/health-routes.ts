import { z } from 'zod';
import type { HubCore } from '#runtime/compose-hub.ts';
import { hubStatus, type StoreNames } from '#runtime/hub/status.ts';
import type { HttpApp } from './http-app.ts';
import { parseQuery } from './request-checks.ts';

const Verbose = z.strictObject({ verbose: z.string().max(8).optional() });

/** Probes and status. A probe answers 200 `ok` or 503 with one reason a line; `?verbose` always lists. */
export function healthRoutes(app: HttpApp, core: HubCore, stores: StoreNames): void {
  app.get('/livez', async (request, reply) => {
    parseQuery(Verbose, request);
    return reply.type('text/plain').send('ok\n');
  });
  for (const path of ['/readyz', '/startupz']) {
    app.get(path, async (request, reply) => {
      const { verbose } = parseQuery(Verbose, request);
      const faults = await core.unready();
      const lines =
        faults.length > 0
          ? faults
          : verbose === undefined
            ? ['ok']
            : ['records: ok', 'broker: ok', 'standing work: ok'];
      return reply
        .code(faults.length === 0 ? 200 : 503)
        .type('text/plain')
        .send(`${lines.join('\n')}\n`);
    });
  }
  app.get('/v1/status', async () => await hubStatus(core.hub, stores));
}
