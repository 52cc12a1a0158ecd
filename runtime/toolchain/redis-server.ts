import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';

/** What a test says that it cannot run without. */
export const redisMissing =
  'no redis-server or valkey-server on PATH: install redis-server, or set EMP_REDIS_SERVER to the program';

/** Program that serves Redis: `EMP_REDIS_SERVER`, else the first known one on PATH; null if there is none. */
export function findRedisServer(): string | null {
  const wanted = process.env.EMP_REDIS_SERVER;
  for (const program of wanted ? [wanted] : ['redis-server', 'valkey-server']) {
    try {
      execFileSync(program, ['--version'], { stdio: 'ignore' });
      return program;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return null;
}

export interface RedisServerOptions {
  /** Further arguments, such as `--maxmemory 20mb`. */
  args?: readonly string[];
  /** Listen on a free loopback port as well, for clients that know no Unix socket. */
  tcp?: boolean;
}

/**
 * A private server with its data in a temporary folder, on a Unix socket. It is ended by its own
 * process id; `close` removes the folder.
 */
export class RedisServer {
  readonly #program: string;
  readonly #args: readonly string[];
  readonly #folder: string;
  /** 0 = none. */
  readonly port: number;
  #child: ChildProcess | null = null;
  #marks = 0;

  constructor(options: { program: string; args: readonly string[]; port: number }) {
    this.#program = options.program;
    this.#args = options.args;
    this.port = options.port;
    this.#folder = mkdtempSync(join(tmpdir(), 'emp-redis-'));
  }

  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const program = findRedisServer();
    if (program === null) throw new Error(redisMissing);
    const port = options.tcp === true ? await freePort() : 0;
    const server = new RedisServer({ program, args: options.args ?? [], port });
    await server.run();
    return server;
  }

  /** Unix socket, as the `path` option of ioredis. */
  get path(): string {
    return join(this.#folder, 'redis.sock');
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts the process on the data that the folder holds; ready when this resolves. */
  async run(): Promise<void> {
    const child = spawn(
      this.#program,
      [
        ...['--port', String(this.port), '--bind', '127.0.0.1', '--unixsocket', this.path],
        ...['--dir', this.#folder, '--save', '', '--appendonly', 'no', '--daemonize', 'no'],
        ...this.#args,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.#child = child;
    const seen: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.includes('eady to accept connections')) {
        child.stdout.resume();
        child.stderr.resume();
        return;
      }
      seen.push(line);
    }
    throw new Error(`${this.#program} ended before it was ready:\n${seen.slice(-5).join('\n')}`);
  }

  /** Ends the process at once, as a crash does. What was not saved is lost. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    this.#child = null;
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }

  /** The same data under a new process. */
  async restart(): Promise<void> {
    await this.#command('SAVE');
    await this.kill();
    await this.run();
  }

  /** A new process without data. */
  async restartEmpty(): Promise<void> {
    await this.kill();
    rmSync(this.#dump, { force: true });
    await this.run();
  }

  /** Copy of the present data, to come back to. */
  async mark(): Promise<string> {
    await this.#command('SAVE');
    const copy = join(this.#folder, `mark-${++this.#marks}.rdb`);
    copyFileSync(this.#dump, copy);
    return copy;
  }

  /** A new process on the data of a mark. */
  async rollback(mark: string): Promise<void> {
    await this.kill();
    copyFileSync(mark, this.#dump);
    await this.run();
  }

  async close(): Promise<void> {
    await this.kill();
    if (existsSync(this.#folder)) rmSync(this.#folder, { recursive: true });
  }

  get #dump(): string {
    return join(this.#folder, 'dump.rdb');
  }

  async #command(name: string): Promise<void> {
    const redis = new Redis({ path: this.path, maxRetriesPerRequest: 0 });
    try {
      await redis.call(name);
    } finally {
      redis.disconnect();
    }
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port was given');
  return address.port;
}
