import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, chownSync, constants, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import pg from 'pg';
import { freePort } from './free-port.ts';
import { postgresPackages, serverChoice, unpackedServers } from './server-packages.ts';

/** A PostgreSQL of its own for a test file or a bench: data in a temporary folder, a free port of loopback. */

export interface PostgresServer {
  readonly pid: number;
  readonly port: number;
  readonly folder: string;
  url(database: string): string;
  /** Makes a database, as a copy of `template` where one is named, and answers its URL. */
  database(template?: string): Promise<string>;
  /** One statement as the superuser. */
  query(text: string, database?: string): Promise<Record<string, unknown>[]>;
  /** What the server has logged so far, of the last MiB. */
  log(): string;
  /** Ends the process: SIGINT = fast shutdown, SIGQUIT = at once, as in a crash. */
  stop(signal?: 'SIGINT' | 'SIGQUIT'): Promise<void>;
  /** On the same data and port. */
  start(): Promise<void>;
  /** Stops it and removes its folder. */
  close(): Promise<void>;
}

let found: string | null | undefined;

/**
 * Folder of initdb and postgres: `EMP_POSTGRES_BIN`, else on PATH, else the newest of Debian's, else one
 * that is unpacked from its package; null where there is none, and then the reason went to stderr.
 */
export function findPostgres(): string | null {
  const wanted = process.env.EMP_POSTGRES_BIN;
  if (wanted) return hasServer(wanted) ? wanted : null;
  found ??= findOrUnpack();
  return found;
}

function findOrUnpack(): string | null {
  const onPath = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const byVersion = globSync('/usr/lib/postgresql/*/bin').toSorted((a, b) => majorOf(b) - majorOf(a));
  const installed = serverChoice().installed ? [...onPath, ...byVersion].find(hasServer) : undefined;
  if (installed !== undefined) return installed;
  const unpacked = unpackedServers(postgresPackages);
  if (unpacked.kind === 'unpacked') return unpacked.bin;
  process.stderr.write(`emp: no PostgreSQL: ${unpacked.reason}\n`);
  return null;
}

const majorOf = (folder: string) => Number(/(\d+)\/bin$/.exec(folder)?.[1] ?? 0);

function hasServer(folder: string): boolean {
  try {
    for (const name of ['initdb', 'postgres']) accessSync(join(folder, name), constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Why tests with PostgreSQL cannot run here; null where they can. */
export function missingPostgres(): string | null {
  return findPostgres() === null
    ? 'no PostgreSQL here: initdb is neither on PATH nor under /usr/lib/postgresql, and could not be unpacked (apt-get install postgresql-15, or EMP_POSTGRES_BIN)'
    : null;
}

/** PostgreSQL refuses to run as root: then it runs as the user that its package made, or as nobody. */
function serverUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = new Map(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .map(([name = '', , uid, gid]) => [name, { uid: Number(uid), gid: Number(gid) }]),
  );
  const user = users.get('postgres') ?? users.get('nobody');
  if (!user)
    throw new Error('PostgreSQL cannot run as root, and there is neither a user postgres nor nobody');
  return user;
}

export interface PostgresServerOptions {
  /** Whether commits wait for the disk. Tests of behaviour do without, benches do not. */
  durable?: boolean;
  settings?: Record<string, string>;
  /** Size of a file system in memory, e.g. `32m`, mounted for this server alone at `folder`/small. */
  smallDisk?: string;
}

/** Arguments of unshare(1) that give a command mounts of its own, and its user the right to make them. */
function ownMounts(user = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }): string[] {
  return ['--user', `--map-user=${user.uid}`, `--map-group=${user.gid}`, '--keep-caps', '--mount'];
}

/** Why `smallDisk` cannot be had here; null where it can: some hosts forbid user namespaces. */
export function missingSmallDisk(): string | null {
  const probe = spawnSync(
    'unshare',
    [...ownMounts(serverUser()), 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()],
    serverUser() ?? {},
  );
  return probe.status === 0 ? null : 'this host lets nobody mount a file system of their own';
}

/** Throws where there is no PostgreSQL or it does not start, with what it said. */
export async function startPostgres(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const bin = findPostgres();
  if (bin === null) throw new Error(missingPostgres() ?? '');
  const folder = mkdtempSync(join(tmpdir(), 'emp-postgres-'));
  const user = serverUser();
  if (user) chownSync(folder, user.uid, user.gid);
  const data = join(folder, 'data');
  const made = spawnSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '-N'],
    { encoding: 'utf8', cwd: folder, ...user },
  );
  if (made.status !== 0) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`initdb failed: ${made.error?.message ?? made.stderr}`);
  }
  const port = await freePort();
  const settings: Record<string, string> = {
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    lc_messages: 'C',
    ...(options.durable ? {} : { fsync: 'off', full_page_writes: 'off', 'emp.disposable': 'on' }),
    ...options.settings,
  };
  const server = new ServerProcess({ bin, data, folder, port, user, settings, smallDisk: options.smallDisk });
  await server.start();
  return server;
}

interface ProcessOptions {
  bin: string;
  data: string;
  folder: string;
  port: number;
  user: { uid: number; gid: number } | undefined;
  settings: Record<string, string>;
  smallDisk: string | undefined;
}

/** The program itself, or one that mounts the small disk and then becomes it. */
function commandOf({ bin, folder, user, smallDisk }: ProcessOptions): [string, ...string[]] {
  const program = join(bin, 'postgres');
  if (smallDisk === undefined) return [program];
  const small = join(folder, 'small');
  const mount = `mkdir -p "$0" && mount -t tmpfs -o size=${smallDisk},mode=700 tmpfs "$0" && exec "$@"`;
  return ['unshare', ...ownMounts(user), 'sh', '-c', mount, small, program];
}

class ServerProcess implements PostgresServer {
  readonly port: number;
  readonly folder: string;
  readonly #options: ProcessOptions;
  #child: ChildProcess | null = null;
  #made = 0;
  #said = '';
  readonly #killWithUs = () => this.#child?.kill('SIGQUIT');

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.port = options.port;
    this.folder = options.folder;
    process.once('exit', this.#killWithUs);
  }

  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  url(database: string): string {
    return `postgresql://postgres@127.0.0.1:${this.port}/${database}`;
  }

  log(): string {
    return this.#said;
  }

  async database(template = 'template1'): Promise<string> {
    this.#made += 1;
    const name = `${template === 'template1' ? 'fresh' : template}_${this.#made}`;
    await this.query(`CREATE DATABASE "${name}" TEMPLATE "${template}"`);
    return this.url(name);
  }

  async query(text: string, database = 'postgres'): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: this.url(database) });
    await client.connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end();
    }
  }

  async start(): Promise<void> {
    const { data, folder, user, settings } = this.#options;
    const [command, ...before] = commandOf(this.#options);
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const child = spawn(command, [...before, '-D', data, ...args], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      ...user,
    });
    this.#child = child;
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`PostgreSQL did not start: ${this.#said.slice(-4_000)}`)));
      child.stderr.on('data', (chunk: Buffer) => {
        this.#said = (this.#said + chunk.toString()).slice(-1_048_576);
        if (chunk.includes('ready to accept connections')) resolve();
      });
    });
  }

  async stop(signal: 'SIGINT' | 'SIGQUIT' = 'SIGINT'): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
  }

  async close(): Promise<void> {
    process.off('exit', this.#killWithUs);
    await this.stop('SIGQUIT');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
