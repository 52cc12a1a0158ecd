import { openRequest } from '#runtime/client-http.ts';
import type { Cluster, HubPost } from './cluster.ts';
import { until } from './server-control.ts';

/**
 * Resolves when everything that a fault may have touched stands again: each hub says that it is ready,
 * and each machine has joined and is linked. Rejects at `limitMs` with what does not; machines wait up to
 * 30 s before they dial again.
 */
export async function whole(cluster: Cluster, limitMs: number): Promise<void> {
  const { clock, signal } = cluster.host;
  for (const hub of cluster.hubs)
    await until(clock, { what: `a ready ${hub.name}`, limitMs, everyMs: 100, signal }, () =>
      isReady(cluster, hub),
    );
  for (const { name } of cluster.machines)
    await until(clock, { what: `a linked ${name}`, limitMs, everyMs: 200, signal }, async () => {
      const views = await cluster.ask((client) => client.machines(), 0);
      return views.some(({ machineId, state, linked }) => machineId === name && state === 'joined' && linked);
    });
}

/** Rejects where it is not, or does not answer. */
async function isReady({ host }: Cluster, hub: HubPost): Promise<boolean> {
  const http = { baseUrl: hub.url, clock: host.clock, timeoutMs: 5_000 };
  const answer = await openRequest(http, { path: '/readyz', signal: host.signal });
  return (await answer.text()).startsWith('ok');
}
