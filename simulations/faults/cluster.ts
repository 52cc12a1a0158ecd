import { createWriteStream, mkdirSync, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import { type Clock, type Rng, sleep } from '#protocol/env.ts';
import { HubClient } from '#runtime/client.ts';
import { freePort, untilReady } from '#runtime/dev.ts';
import { FleetProcess } from '#runtime/fleet-process.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import {
  type PostgresServer,
  type PostgresServerOptions,
  startPostgres,
} from '#runtime/toolchain/postgres-server.ts';
import { FaultProxy } from './fault-proxy.ts';
import type { RedisSide } from './redis-side.ts';

/** How often hubs look for rows that the Broker lacks, ms. */
export const reconcileEveryMs = 3_000;

/** Where a proxy can stand. */
export type Wire = 'machine-hub' | 'hub-redis' | 'hub-postgres' | 'hub-hub';

export interface ClusterShape {
  hubs: number;
  machines: number;
  /** Jobs that one machine runs at once. */
  slots: number;
  leaseTtlMs: number;
  wires: readonly Wire[];
  postgres: PostgresServerOptions;
  /** Statements as the superuser before the first hub starts; the answer names the database for hubs. */
  prepareDatabase?: (server: PostgresServer) => Promise<string>;
  /** Added to the environment of machines, by their names. */
  machineEnv?: (machine: string, dir: string) => Record<string, string>;
  /** Added to the environment of hubs. */
  hubEnv?: Record<string, string>;
}

export interface ClusterHost {
  clock: Clock;
  /** Folder for data; the caller removes it. */
  dir: string;
  /** Folder for the logs of all processes. */
  logDir: string;
  rng: Rng;
  signal: AbortSignal;
  onProcess: (name: string, action: 'started' | 'ended', detail: string) => void;
}

/** A process with a name that keeps its port and data over its starts. */
class Post {
  readonly name: string;
  process: FleetProcess | null = null;
  readonly #launch: () => FleetProcess;
  readonly #host: ClusterHost;

  constructor(options: { name: string; launch: () => FleetProcess; host: ClusterHost }) {
    this.name = options.name;
    this.#launch = options.launch;
    this.#host = options.host;
  }

  /** Starts it unless it runs; resolves when it says that it is ready. */
  async start(): Promise<void> {
    await untilReady(this.launch(), this.#host.signal);
  }

  /** Starts it unless it runs, and does not wait until it is ready: a store that it needs may be away. */
  launch(): FleetProcess {
    if (this.process?.isRunning) return this.process;
    const child = this.#launch();
    this.process = child;
    this.#host.onProcess(this.name, 'started', `pid ${child.pid}`);
    void child.ended.then(({ code, signal }) =>
      this.#host.onProcess(this.name, 'ended', signal ?? `code ${code}`),
    );
    return child;
  }

  async kill(): Promise<void> {
    const child = this.process;
    this.process = null;
    child?.kill('SIGKILL');
    await child?.ended;
  }
}

export interface HubPost extends Post {
  port: number;
  url: string;
  redis: FaultProxy | null;
  postgres: FaultProxy | null;
  /** In front of this hub for the others. */
  peers: FaultProxy | null;
}

/**
 * PostgreSQL, Redis, hubs and machines as real processes on free loopback ports, with proxies where a
 * fault needs them. `stop` ends every process by its own number; nothing survives.
 */
export class Cluster {
  readonly shape: ClusterShape;
  readonly host: ClusterHost;
  readonly postgres: PostgresServer;
  readonly redis: RedisSide;
  readonly database: string;
  readonly hubs: HubPost[] = [];
  readonly machines: Post[] = [];
  /** Proxies in front of hubs for machines, by machine. */
  readonly links = new Map<string, FaultProxy[]>();
  readonly #logs: WriteStream[] = [];
  readonly #proxies: FaultProxy[] = [];
  #joinToken = '';

  private constructor(options: {
    shape: ClusterShape;
    host: ClusterHost;
    postgres: PostgresServer;
    redis: RedisSide;
    database: string;
  }) {
    this.shape = options.shape;
    this.host = options.host;
    this.postgres = options.postgres;
    this.redis = options.redis;
    this.database = options.database;
  }

  /** Resolves when every machine may claim. What was started is ended where a later start fails. */
  static async start(
    shape: ClusterShape,
    host: ClusterHost,
    openRedis: () => Promise<RedisSide>,
  ): Promise<Cluster> {
    mkdirSync(host.logDir, { recursive: true });
    const postgres = await startPostgres(shape.postgres);
    let redis: RedisSide | null = null;
    let cluster: Cluster | null = null;
    try {
      redis = await openRedis();
      const database = (await shape.prepareDatabase?.(postgres)) ?? databaseOf(await postgres.database());
      cluster = new Cluster({ shape, host, postgres, redis, database });
      await cluster.#startHubs();
      await cluster.#startMachines();
      return cluster;
    } catch (error) {
      if (cluster !== null) await cluster.stop();
      else {
        await redis?.close();
        await postgres.close();
      }
      throw error;
    }
  }

  /** A client that makes one attempt a call: whoever writes a history decides about repeats. */
  client(hub: HubPost, timeoutMs = 5_000): HubClient {
    return new HubClient({ baseUrl: hub.url, env: quietEnv(), timeoutMs, patienceMs: 0 });
  }

  /** A call to whichever hub answers first, tried in turn until `limitMs`. */
  async ask<T>(call: (client: HubClient) => Promise<T>, limitMs = 60_000): Promise<T> {
    const { clock, signal } = this.host;
    const endMs = clock.monotonic() + limitMs;
    for (let at = 0; ; at++) {
      const hub = this.hubs[at % this.hubs.length];
      if (hub === undefined) throw new Error('a cluster has at least one hub');
      try {
        return await call(this.client(hub, 15_000));
      } catch (error) {
        if (clock.monotonic() > endMs) throw error;
        await sleep(clock, 200, signal);
      }
    }
  }

  /** All proxies of a kind. */
  proxies(wire: Wire): FaultProxy[] {
    if (wire === 'machine-hub') return [...this.links.values()].flat();
    return this.hubs.flatMap((hub) => hubProxy(hub, wire) ?? []);
  }

  async #startHubs(): Promise<void> {
    const { hubs } = this.shape;
    for (let number = 1; number <= hubs; number++) this.hubs.push(await this.#hub(`hub-${number}`));
    await Promise.all(this.hubs.map((hub) => hub.start()));
    const { token } = await this.ask((client) => client.joinToken({ ttlMs: 86_400_000 }));
    this.#joinToken = token;
  }

  async #startMachines(): Promise<void> {
    for (let number = 1; number <= this.shape.machines; number++)
      this.machines.push(await this.#machine(`machine-${number}`, number));
    await Promise.all(this.machines.map((machine) => machine.start()));
  }

  async #proxy(wire: Wire, name: string, port: number): Promise<FaultProxy | null> {
    if (!this.shape.wires.includes(wire)) return null;
    const proxy = new FaultProxy({ name, clock: this.host.clock, target: { host: '127.0.0.1', port } });
    await proxy.listen();
    this.#proxies.push(proxy);
    return proxy;
  }

  async #hub(name: string): Promise<HubPost> {
    const port = await hubPort(this.host.rng);
    const redis = await this.#proxy('hub-redis', `${name} to redis`, this.redis.port);
    const postgres = await this.#proxy('hub-postgres', `${name} to postgres`, this.postgres.port);
    const peers = await this.#proxy('hub-hub', `hubs to ${name}`, port);
    const env = {
      ...hubSettings(this.shape.leaseTtlMs),
      ...(peers === null ? {} : { EMP_ADVERTISE_URL: `http://127.0.0.1:${peers.port}` }),
      ...this.shape.hubEnv,
      EMP_HUB_ID: name,
      REDIS_URL: `redis://127.0.0.1:${redis?.port ?? this.redis.port}`,
      DATABASE_URL: `postgresql://postgres@127.0.0.1:${postgres?.port ?? this.postgres.port}/${this.database}`,
    };
    const args = ['hub', '--json', '--watch-stdin', '--listen', `127.0.0.1:${port}`];
    const data = join(this.host.dir, 'hub');
    const launch = () =>
      new FleetProcess({ name, args: [...args, '--data', data], env, onLog: this.#log(name) });
    const post = new Post({ name, launch, host: this.host });
    return Object.assign(post, { port, url: `http://127.0.0.1:${port}`, redis, postgres, peers });
  }

  async #machine(name: string, number: number): Promise<Post> {
    const links: FaultProxy[] = [];
    const urls: string[] = [];
    for (const hub of this.hubs) {
      const link = await this.#proxy('machine-hub', `${name} to ${hub.name}`, hub.port);
      if (link !== null) links.push(link);
      urls.push(link === null ? hub.url : `http://127.0.0.1:${link.port}`);
    }
    this.links.set(name, links);
    // Each machine begins with another hub.
    const first = number % urls.length;
    const dir = join(this.host.dir, name);
    const env = {
      EMP_HUB_URL: [...urls.slice(first), ...urls.slice(0, first)].join(','),
      EMP_JOIN_TOKEN: this.#joinToken,
      EMP_DRAIN_MS: '2000',
      ...this.shape.machineEnv?.(name, this.host.dir),
    };
    const args = ['machine', '--json', '--watch-stdin', '--id', name, '--pool', 'fast-lane'];
    const services = ['--services', `simulation:${this.shape.slots}`, '--data', dir];
    const launch = () =>
      new FleetProcess({ name, args: [...args, ...services], env, onLog: this.#log(name) });
    return new Post({ name, launch, host: this.host });
  }

  #log(name: string): (line: string) => void {
    const stream = createWriteStream(join(this.host.logDir, `${name}.log`), { flags: 'a' });
    this.#logs.push(stream);
    return (line) => void stream.write(`${line}\n`);
  }

  /** Folder of the object store that the hubs share. */
  get objectsDir(): string {
    return join(this.host.dir, 'hub', 'objects', 'objects');
  }

  async stop(): Promise<void> {
    await Promise.all([...this.machines, ...this.hubs].map((post) => post.kill()));
    await Promise.all(this.#proxies.map((proxy) => proxy.close()));
    await this.redis.close();
    await this.postgres.close();
    await Promise.all(this.#logs.map((stream) => new Promise<void>((done) => stream.end(() => done()))));
  }
}

export type MachinePost = Post;

/**
 * A free port outside the range from which the system gives numbers to outgoing connections: a hub
 * that is killed must find its own port again.
 */
async function hubPort(rng: Rng): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const port = await freePort(rng.int(20_000, 29_999));
    if (port !== 0) return port;
  }
  throw new Error('no free port from 20000 to 29999');
}

/** The proxy of a hub on a wire other than that of machines; null where none stands. */
export function hubProxy(hub: HubPost, wire: Exclude<Wire, 'machine-hub'>): FaultProxy | null {
  if (wire === 'hub-hub') return hub.peers;
  return wire === 'hub-redis' ? hub.redis : hub.postgres;
}

const databaseOf = (url: string) => new URL(url).pathname.slice(1);

/**
 * Short times, so that a fault past a lease takes seconds. Beside leases of 3 s, what is named here is a
 * tenth of its default but four, at 2 s: roles (a third), hubs (1/7.5), calls to Redis (2/5) and
 * statements in PostgreSQL (1/7.5). Two cores that many processes share may stand still for a tenth of those.
 */
export function hubSettings(leaseTtlMs: number): Record<string, string> {
  return {
    EMP_LEASE_TTL_MS: String(leaseTtlMs),
    EMP_SINGLETON_TTL_MS: '2000',
    EMP_HUB_TTL_MS: '2000',
    EMP_SWEEP_EVERY_MS: '500',
    EMP_RECONCILE_EVERY_MS: String(reconcileEveryMs),
    EMP_RECONCILE_GRACE_MS: '500',
    EMP_RECORD_EVERY_MS: '1000',
    EMP_RETRY_BASE_MS: '100',
    EMP_RETRY_LIMIT_MS: '6000',
    EMP_REDIS_DEADLINE_MS: '2000',
    EMP_DATABASE_STATEMENT_LIMIT_MS: '2000',
    EMP_LOG_LEVEL: 'info',
  };
}
