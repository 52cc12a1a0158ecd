import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { folderObjects } from '#protocol/objects/folder.ts';
import { builtInServices } from '#runtime/built-in-services.ts';
import { systemClock, systemEnv } from '#runtime/env.ts';
import { hubRig } from '#runtime/hub/hub-rig.ts';
import type { HubConfigInput } from '#runtime/hub-config.ts';
import { processLog } from '#runtime/log.ts';
import { hubApp } from '#runtime/serve-hub.ts';
import { objectRoutes } from './object-routes.ts';
import { StartGate } from './start-gate.ts';

const cleanUps: (() => Promise<unknown>)[] = [];

/** Ends every rig of a test. */
export async function endHttpRigs(): Promise<void> {
  for (const clean of cleanUps.splice(0).reverse()) await clean();
}

/** Routes of a real hub on embedded stores, asked without a socket: for tests. */
export async function httpRig(config: HubConfigInput = {}) {
  const env = systemEnv(processLog({ level: 'silent', fields: {} }));
  const dir = await mkdtemp(join(tmpdir(), 'emp-routes-'));
  const objects = folderObjects({ dir, secret: 's'.repeat(43), clock: systemClock });
  // A turn of the event loop: what was begun has then come to its next wait.
  const settle = () => new Promise<void>((resolve) => void systemClock.setTimeout(resolve, 1));
  const rig = await hubRig({
    env,
    objects,
    services: builtInServices,
    settle,
    config: { leaseTtlMs: 2_000, ...config },
  });
  const stopping = new AbortController();
  const stores = { records: 'sqlite', broker: 'memory', objects: 'folder', durable: false, dataDir: null };
  const gate = new StartGate();
  gate.open();
  const { app, routes } = hubApp({
    gate,
    core: rig.core,
    stores,
    stopped: stopping.signal,
    extend: (more) => objectRoutes(more, objects),
  });
  await app.ready();
  cleanUps.push(async () => {
    stopping.abort();
    await rig.core.stop();
    await app.close();
    await rm(dir, { recursive: true, force: true });
  });
  for (let turns = 0; turns < 1_000 && !(await rig.ports.broker.identity()).open; turns++) await settle();

  /** One request; `json` becomes the body with its content type, `body` is sent as it is. */
  async function ask(
    method: string,
    url: string,
    options: { json?: unknown; headers?: Record<string, string>; body?: string | Buffer } = {},
  ) {
    const { json, headers = {}, body } = options;
    const payload = json === undefined ? body : JSON.stringify(json);
    const answer = await app.inject({
      method: method as 'GET',
      url,
      headers: {
        host: 'localhost:7700',
        ...(json !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(payload !== undefined && { payload }),
    });
    const type = String(answer.headers['content-type'] ?? '');
    return {
      status: answer.statusCode,
      headers: answer.headers,
      type,
      text: answer.body,
      body: type.includes('json') ? answer.json() : null,
    };
  }
  return { rig, ask, settle, routes: routes.map(({ method, path }) => `${method} ${path}`) };
}
