import { Redis } from 'ioredis';
import { type Clock, sleep } from '#protocol/env.ts';
import { descendants } from '#runtime/cli/cli-run.ts';
import type { PostgresServer } from '#runtime/toolchain/postgres-server.ts';

/** What faults do to servers from outside: signals to exactly their processes, and commands of another client. */

/** A signal to one process; nothing where it has ended. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A signal to a process and to all that it has started: PostgreSQL serves each connection with one of its own. */
export function signalTree(pid: number, signal: NodeJS.Signals): void {
  const below = descendants(pid);
  signalProcess(pid, signal);
  for (const child of below) signalProcess(child.pid, signal);
}

/** One command as another client. Rejects where the server does not answer within `limitMs`. */
export async function redisCommand(
  port: number,
  command: readonly [string, ...(string | number)[]],
  limitMs = 5_000,
): Promise<unknown> {
  const redis = new Redis({
    host: '127.0.0.1',
    port,
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    commandTimeout: limitMs,
    connectTimeout: limitMs,
    // A server that runs a script answers hardly anything, and INFO not at all.
    enableReadyCheck: false,
  });
  // Without a listener ioredis prints to the console; the call itself rejects.
  redis.on('error', () => undefined);
  try {
    const [name, ...args] = command;
    return await redis.call(name, ...args);
  } finally {
    redis.disconnect();
  }
}

/** A figure of INFO, as text. */
export async function redisInfo(port: number, section: string, field: string): Promise<string> {
  const info = String(await redisCommand(port, ['INFO', section]));
  const found = new RegExp(`^${field}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  if (found === undefined) throw new Error(`INFO ${section} has no field ${field}`);
  return found;
}

/** Asks until the answer is true. Rejects with what was awaited at `limitMs`; failures count as not yet. */
export async function until(
  clock: Clock,
  options: { what: string; limitMs: number; everyMs?: number; signal?: AbortSignal },
  holds: () => Promise<boolean>,
): Promise<void> {
  const endMs = clock.monotonic() + options.limitMs;
  let last: unknown = null;
  for (;;) {
    try {
      if (await holds()) return;
      last = null;
    } catch (error) {
      last = error;
    }
    if (clock.monotonic() > endMs)
      throw new Error(`${options.what} did not come within ${options.limitMs} ms`, { cause: last });
    await sleep(clock, options.everyMs ?? 50, options.signal);
  }
}

/**
 * Ends PostgreSQL as `kill -9` of its first process does. Its children see that it is gone and end by
 * themselves; until then the shared memory is in use, and a start is refused.
 */
export async function killPostgres(server: PostgresServer): Promise<void> {
  signalProcess(server.pid, 'SIGKILL');
  await server.stop('SIGQUIT');
}

/** Starts it again on its data, as often as it takes. */
export async function restartPostgres(server: PostgresServer, clock: Clock): Promise<void> {
  await until(clock, { what: 'a new start of PostgreSQL', limitMs: 30_000, everyMs: 200 }, async () => {
    await server.start();
    return true;
  });
}
