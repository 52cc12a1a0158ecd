import type { Env } from '#protocol/env.ts';
import { wsDialer } from '#protocol/peer/ws-dialer.ts';
import { builtInServices } from './built-in-services.ts';
import { composeHub, type HubCore } from './compose-hub.ts';
import { objectRoutes } from './http/object-routes.ts';
import { ensureSameBroker } from './hub/same-broker.ts';
import type { HubConfig } from './hub-config.ts';
import { nextTurn, openStores } from './open-stores.ts';
import { serveHub } from './serve-hub.ts';

export interface RunningHub {
  url: string;
  hubId: string;
  core: HubCore;
  /** Whether a start after this one finds the jobs again. */
  durable: boolean;
  /** The folder of objects, and of Records in SQLite; null = a temporary one that goes with the hub. */
  dataDir: string | null;
  /** Stops serving, then closes the stores. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Opens the stores, composes the hub, takes its port and only then begins its work. What was opened is
 * closed when a later step fails. Rejects with the reason of `signal` when that aborts while something is
 * waited for: Records that do not answer, or the time of another hub. A start that has begun its work is
 * ended by `stop`.
 */
export async function startHub(options: {
  config: HubConfig;
  env: Env;
  signal?: AbortSignal | undefined;
}): Promise<RunningHub> {
  const { config, env, signal } = options;
  const stores = await openStores({ config, env, signal });
  const opened = [() => stores.close()];
  const closeAll = async () => {
    for (const close of opened.splice(0).reverse()) await close();
  };
  const prepare = async () => {
    const { objects } = stores;
    const ports = { records: stores.records, broker: stores.broker, objects };
    const services = builtInServices;
    const core = await composeHub({ config, env, ports, services, dialer: wsDialer, nextTurn });
    const server = await serveHub({
      core,
      stores: stores.names,
      extend: (app) => objectRoutes(app, objects),
    });
    opened.push(() => server.stop());
    // Nobody waits for this any more, and what was open by then is closed.
    if (signal?.aborted) await closeAll();
    const { hubId, identity } = core.hub;
    const { hubTtlMs: ttlMs } = config;
    // Before it takes a role: one alone on its store, or with a Broker of its own, has nobody to compare with.
    const run =
      config.databaseUrl === null || config.redisUrl === null
        ? null
        : await ensureSameBroker({ hubId, ttlMs, env, records: stores.records, identity });
    return { core, server, run };
  };
  try {
    const { core, server, run } = await unlessAborted(prepare(), signal);
    await core.start();
    server.open();
    // Several hubs share a store only where it is a server.
    if (config.databaseUrl !== null) core.announce(config.advertiseUrl ?? server.url, run);
    const { durable, dataDir } = stores.names;
    return { url: server.url, hubId: core.hub.hubId, core, durable, dataDir, stop: closeAll };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** What `work` comes to, or the reason of `signal` where that aborts first: `work` goes on, and nobody hears of its end. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  const told = Promise.withResolvers<never>();
  const onAbort = () => told.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, told.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
