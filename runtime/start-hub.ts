import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Env } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import { memoryBroker, memoryServer } from '#protocol/memory/memory-broker.ts';
import { folderObjects } from '#protocol/objects/folder.ts';
import { openSqliteRecords } from '#protocol/sqlite/records.ts';
import { builtInServices } from './built-in-services.ts';
import { composeHub, type HubCore } from './compose-hub.ts';
import { objectRoutes } from './http/object-routes.ts';
import type { HubConfig } from './hub-config.ts';
import { serveHub } from './serve-hub.ts';

export interface RunningHub {
  url: string;
  hubId: string;
  core: HubCore;
  /** The folder of Records and objects; null = a temporary one that goes with the hub. */
  dataDir: string | null;
  /** Stops serving, then closes the stores. Idempotent. */
  stop(): Promise<void>;
}

/** Calls `fn` once the I/O of this turn is done: commits asked for meanwhile share one transaction. */
function nextTurn(fn: () => void): void {
  // biome-ignore lint/style/noRestrictedGlobals: a real process's turn of the event loop; a simulation opens its own store.
  setImmediate(fn);
}

/** Opens the embedded stores, composes the hub and serves it. What was opened is closed when a later step fails. */
export async function startHub(options: { config: HubConfig; env: Env }): Promise<RunningHub> {
  const { config, env } = options;
  const opened: (() => Promise<void>)[] = [];
  const closeAll = async () => {
    for (const close of opened.splice(0).reverse()) await close();
  };
  try {
    const dir = await dataFolder(config, opened);
    const path = join(dir, 'records.sqlite');
    const records = await openSqliteRecords({ path, clock: env.clock, rng: env.rng, nextTurn });
    opened.push(() => records.close());
    const { leaseTtlMs, priorityBoostMs } = config;
    const broker = memoryBroker(
      memoryServer({
        settings: { leaseTtlMs, priorityBoostMs },
        clock: env.clock,
        name: env.newId('broker'),
      }),
    );
    opened.push(() => broker.close());
    const secret = await records.secret('object-urls');
    const objects = folderObjects({ dir: join(dir, 'objects'), secret, clock: env.clock });
    opened.push(() => objects.close());
    const core = await composeHub({
      config,
      env,
      ports: { records, broker, objects },
      services: builtInServices,
    });
    await core.start();
    opened.push(() => core.stop());
    const durable = config.dataDir !== null;
    const stores = {
      records: 'sqlite',
      broker: 'memory',
      objects: 'folder',
      durable,
      dataDir: durable ? dir : null,
    };
    const server = await serveHub({ core, stores, extend: (app) => objectRoutes(app, objects) });
    opened.push(() => server.stop());
    return { url: server.url, hubId: core.hub.hubId, core, dataDir: stores.dataDir, stop: closeAll };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function dataFolder(config: HubConfig, opened: (() => Promise<void>)[]): Promise<string> {
  if (config.dataDir === null) {
    const dir = await mkdtemp(join(tmpdir(), 'emp-hub-'));
    opened.push(() => rm(dir, { recursive: true, force: true }));
    return dir;
  }
  const dir = resolve(config.dataDir);
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new EmpError('CONFIG_INVALID', {
      detail: `The data folder ${dir} cannot be made: ${(error as Error).message}. Choose another with --data`,
      cause: error,
    });
  }
  return dir;
}
