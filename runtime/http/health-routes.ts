import { z } from 'zod';
import type { HubCore } from '#runtime/compose-hub.ts';
import { hubStatus, type StoreNames } from '#runtime/hub/status.ts';
import type { HttpApp } from './http-app.ts';
import { parseQuery } from './request-checks.ts';
import type { StartGate } from './start-gate.ts';

const Verbose = z.strictObject({ verbose: z.string().max(8).optional() });

const readyPaths = ['/readyz', '/startupz'] as const;
/** What is answered before the hub has started. */
export const probePaths: ReadonlySet<string> = new Set(['/livez', ...readyPaths]);

/** Probes and status. A probe answers 200 `ok` or 503 with one reason a line; `?verbose` always lists. */
export function healthRoutes(
  app: HttpApp,
  { core, stores, gate }: { core: HubCore; stores: StoreNames; gate: StartGate },
): void {
  app.get('/livez', async (request, reply) => {
    parseQuery(Verbose, request);
    return reply.type('text/plain').send('ok\n');
  });
  for (const path of readyPaths) {
    app.get(path, async (request, reply) => {
      const { verbose } = parseQuery(Verbose, request);
      const faults = gate.isOpen ? await core.unready() : ['starting'];
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
