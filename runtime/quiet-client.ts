import type { Env, Log } from '#protocol/env.ts';
import { HubClient } from './client.ts';
import { systemEnv } from './env.ts';

const silent = () => {};
const noLog: Log = { debug: silent, info: silent, warn: silent, error: silent, child: () => noLog };

/** The system's clock, chance and ids, and no log: for commands, whose output is their own. */
export function quietEnv(): Env {
  return systemEnv(noLog);
}

/** A client of the hub at this URL, for callers that log nothing. */
export function quietClient(baseUrl: string): HubClient {
  return new HubClient({ baseUrl, env: quietEnv() });
}
