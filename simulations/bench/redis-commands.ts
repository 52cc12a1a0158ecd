import { Redis } from 'ioredis';

/** Which commands a Redis server gets, told apart by who sends them: a client, or a script of its own. */
export interface RedisCommands {
  /** Commands of clients since `begin`: of steps by the step's name, of others by the command's. */
  readonly calls: ReadonlyMap<string, number>;
  /** Commands that scripts made since then. */
  readonly inner: number;
  begin(): void;
  end(): void;
  version(): Promise<string>;
  close(): Promise<void>;
}

/**
 * Listens to MONITOR over a Unix socket: the counters of INFO add what scripts do to what clients send.
 * The listening costs the server some time of its own.
 */
export async function watchRedis(path: string): Promise<RedisCommands> {
  const redis = new Redis({ path });
  const calls = new Map<string, number>();
  let inner = 0;
  let isCounting = false;
  const monitor = await redis.monitor();
  monitor.on('monitor', (_time: string, args: string[], source: string) => {
    if (!isCounting) return;
    if (source === 'lua') {
      inner++;
      return;
    }
    const [command = '', step = ''] = args;
    const name = /^(fcall|evalsha)/i.test(command) ? step : command.toLowerCase();
    calls.set(name, (calls.get(name) ?? 0) + 1);
  });
  return {
    calls,
    get inner() {
      return inner;
    },
    begin() {
      isCounting = true;
    },
    end() {
      isCounting = false;
    },
    async version() {
      return /^redis_version:(\S+)/m.exec(await redis.info('server'))?.[1] ?? '?';
    },
    async close() {
      monitor.disconnect();
      redis.disconnect();
    },
  };
}
