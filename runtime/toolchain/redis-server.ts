import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { freePort } from './free-port.ts';
import { redisPackages, serverChoice, unpackedServers } from './server-packages.ts';

/** What a test says that it cannot run without. */
export const redisMissing =
  'no redis-server 7 or valkey-server here, and none could be unpacked: install redis-server, or set EMP_REDIS_SERVER to the program';

let found: string | null | undefined;

/**
 * Program that serves Redis: `EMP_REDIS_SERVER`, else the first known one on PATH that is new enough,
 * else one that is unpacked from its package; null if there is none, and then the reason went to stderr.
 */
export function findRedisServer(): string | null {
  const wanted = process.env.EMP_REDIS_SERVER;
  if (wanted) return redisVersion(wanted) === null ? null : wanted;
  found ??= findOrUnpack();
  return found;
}

function findOrUnpack(): string | null {
  const installed = serverChoice().installed ? ['redis-server', 'valkey-server'] : [];
  const program = installed.find((each) => (redisVersion(each)?.major ?? 0) >= 7);
  if (program !== undefined) return program;
  const unpacked = unpackedServers(redisPackages);
  if (unpacked.kind === 'unpacked') return join(unpacked.bin, 'redis-server');
  process.stderr.write(`emp: no redis-server: ${unpacked.reason}\n`);
  return null;
}

/** Why tests with Redis cannot run here; null where they can. */
export function missingRedis(): string | null {
  return findRedisServer() === null ? redisMissing : null;
}

/** What a program says that it serves, such as `redis 7.0.15`; null where there is no such program. */
export function redisVersion(program: string): { name: string; major: number } | null {
  const run = spawnSync(program, ['--version'], { encoding: 'utf8' });
  if (run.error) {
    if ((run.error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw run.error;
  }
  const [, kind, version] = /^(\w+) server v=([\d.]+)/i.exec(run.stdout) ?? [];
  if (kind === undefined || version === undefined)
    throw new Error(`${program} is no Redis: --version says ${JSON.stringify(run.stdout || run.stderr)}`);
  return { name: `${kind.toLowerCase()} ${version}`, major: Number.parseInt(version, 10) };
}

export interface RedisServerOptions {
  /** Further arguments, such as `--maxmemory 20mb`. */
  args?: readonly string[];
  /** Listen on a free loopback port as well, for clients that know no Unix socket. */
  tcp?: boolean;
  /** Listen with TLS on a free loopback port: PEM texts. */
  tls?: { ca: string; cert: string; key: string; clients: 'need a certificate' | 'need none' };
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
  /** 0 = none. */
  readonly tlsPort: number;
  #child: ChildProcess | null = null;
  #marks = 0;

  constructor(options: RedisServerOptions & { program: string; port: number; tlsPort?: number }) {
    this.#program = options.program;
    this.port = options.port;
    this.tlsPort = options.tlsPort ?? 0;
    this.#folder = mkdtempSync(join(tmpdir(), 'emp-redis-'));
    this.#args = [...(options.args ?? []), ...this.#tlsArgs(options.tls)];
  }

  /** Rejects where there is no server, or it does not start, with what it said. */
  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const program = findRedisServer();
    if (program === null) throw new Error(redisMissing);
    const port = options.tcp === true ? await freePort() : 0;
    const tlsPort = options.tls === undefined ? 0 : await freePort();
    const server = new RedisServer({ ...options, program, port, tlsPort });
    try {
      await server.run();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  #tlsArgs(tls: RedisServerOptions['tls']): string[] {
    if (tls === undefined) return [];
    const file = (name: string, text: string) => {
      writeFileSync(join(this.#folder, name), text, { mode: 0o600 });
      return join(this.#folder, name);
    };
    return [
      ...['--tls-port', String(this.tlsPort), '--tls-ca-cert-file', file('ca.pem', tls.ca)],
      ...['--tls-cert-file', file('cert.pem', tls.cert), '--tls-key-file', file('key.pem', tls.key)],
      ...['--tls-auth-clients', tls.clients === 'need none' ? 'no' : 'yes'],
    ];
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
    const closed = once(child, 'close');
    const seen: string[] = [];
    child.stderr.on('data', (chunk: Buffer) => seen.push(chunk.toString().trim()));
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.includes('eady to accept connections')) {
        child.stdout.resume();
        child.stderr.resume();
        return;
      }
      seen.push(line);
    }
    await closed;
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
