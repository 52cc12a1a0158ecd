import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '#protocol/env.ts';
import { freePort } from '#runtime/toolchain/free-port.ts';
import { findRedisServer, RedisServer, redisMissing } from '#runtime/toolchain/redis-server.ts';
import { FaultProxy } from './fault-proxy.ts';
import { redisCommand, redisInfo, until } from './server-control.ts';
import { type ServerPost, ServerProcess } from './server-process.ts';

/** The Redis of a cluster: one server, or several of which one is the primary. */
export interface RedisSide {
  /** Where hubs, or their proxies, find the primary. A failover moves it. */
  readonly port: number;
  /** The server that is the primary now. */
  readonly primary: ServerPost;
  close(): Promise<void>;
}

/** With the append-only file, flushed every second: what docs/redis.md calls persistent. */
export const appendOnly: readonly string[] = ['--appendonly', 'yes', '--appendfsync', 'everysec'];

const noEviction = ['--maxmemory-policy', 'noeviction'];

export async function singleRedis(args: readonly string[]): Promise<RedisSide> {
  const server = await RedisServer.start({ tcp: true, args: [...noEviction, ...args] });
  return { port: server.port, primary: server, close: () => server.close() };
}

/** A primary and a replica; the proxy between them can hold the replication back. */
export class RedisPair implements RedisSide {
  readonly replication: FaultProxy;
  readonly #clock: Clock;
  #primary: RedisServer;
  #replica: RedisServer;

  private constructor(options: {
    primary: RedisServer;
    replica: RedisServer;
    replication: FaultProxy;
    clock: Clock;
  }) {
    this.#primary = options.primary;
    this.#replica = options.replica;
    this.replication = options.replication;
    this.#clock = options.clock;
  }

  /** `proxied` false: the replica copies the primary directly, as sentinels expect it. */
  static async start(clock: Clock, { proxied = true } = {}): Promise<RedisPair> {
    const primary = await RedisServer.start({ tcp: true, args: noEviction });
    const replica = await RedisServer.start({ tcp: true, args: noEviction });
    const target = { host: '127.0.0.1', port: primary.port };
    const replication = new FaultProxy({ name: 'replication', clock, target });
    await replication.listen();
    const pair = new RedisPair({ primary, replica, replication, clock });
    await pair.follow(proxied ? replication.port : primary.port);
    return pair;
  }

  get port(): number {
    return this.#primary.port;
  }

  get primary(): RedisServer {
    return this.#primary;
  }

  get replica(): RedisServer {
    return this.#replica;
  }

  /** Makes the replica copy the primary, usually through the proxy, and waits until it does. */
  async follow(port = this.replication.port): Promise<void> {
    this.replication.heal();
    this.replication.repoint(this.#primary.port);
    await redisCommand(this.#replica.port, ['REPLICAOF', '127.0.0.1', port]);
    await until(this.#clock, { what: 'the replication', limitMs: 30_000 }, async () => {
      return (await redisInfo(this.#replica.port, 'replication', 'master_link_status')) === 'up';
    });
  }

  /** The replica becomes the primary with what it has; the old one is left as it is. */
  async promote(): Promise<void> {
    await redisCommand(this.#replica.port, ['REPLICAOF', 'NO', 'ONE']);
    this.swap();
  }

  /** Somebody else made the replica the primary. */
  swap(): void {
    [this.#primary, this.#replica] = [this.#replica, this.#primary];
  }

  async close(): Promise<void> {
    await this.replication.close();
    await this.#primary.close();
    await this.#replica.close();
  }
}

/** One server whose data folder is a small file system of its own, which can be filled. */
export class SmallDiskRedis implements RedisSide {
  readonly primary: ServerPost;
  readonly #disk: string;

  private constructor(primary: ServerPost, disk: string) {
    this.primary = primary;
    this.#disk = disk;
  }

  /** `dir` takes the mount point; only the server itself sees the mount. */
  static async start(dir: string): Promise<SmallDiskRedis> {
    const redis = findRedisServer();
    if (redis === null) throw new Error(redisMissing);
    const disk = join(dir, 'small-disk');
    mkdirSync(disk, { recursive: true });
    const port = await freePort();
    const mount = 'mount -t tmpfs -o size=64m tmpfs "$0" && exec "$@"';
    const server = new ServerProcess({
      port,
      command: [
        ...(['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', mount, disk] as const),
        ...[redis, '--port', String(port), '--bind', '127.0.0.1', '--dir', disk, '--save', ''],
        // Rewritten long before its disk is full of it.
        ...[...noEviction, ...appendOnly, '--auto-aof-rewrite-min-size', '8mb'],
      ],
      ready: 'eady to accept connections',
      remove: () => rmSync(disk, { recursive: true, force: true }),
    });
    await server.run();
    return new SmallDiskRedis(server, disk);
  }

  get port(): number {
    return this.primary.port;
  }

  /** The file system as its server sees it. */
  get #filler(): string {
    return join('/proc', String(this.primary.pid), 'root', this.#disk, 'filler');
  }

  /** Takes all the room there is; answers how much that was, bytes. */
  fill(): number {
    let bytes = 0;
    for (const chunk of [1_048_576, 4_096]) {
      try {
        for (;;) {
          writeFileSync(this.#filler, Buffer.alloc(chunk, 1), { flag: 'a' });
          bytes += chunk;
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
    return bytes;
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }

  close(): Promise<void> {
    return this.primary.close();
  }
}

/** A pair that three sentinels watch; `watch` tells of the primary that they name. */
export class SentinelRedis implements RedisSide {
  readonly #pair: RedisPair;
  readonly #sentinels: ServerProcess[];
  readonly #clock: Clock;

  private constructor(options: { pair: RedisPair; sentinels: ServerProcess[]; clock: Clock }) {
    this.#pair = options.pair;
    this.#sentinels = options.sentinels;
    this.#clock = options.clock;
  }

  static async start(clock: Clock, dir: string): Promise<SentinelRedis> {
    const program = findRedisServer();
    if (program === null) throw new Error(redisMissing);
    const pair = await RedisPair.start(clock, { proxied: false });
    const sentinels: ServerProcess[] = [];
    const side = new SentinelRedis({ pair, sentinels, clock });
    try {
      for (const number of [1, 2, 3]) {
        const port = await freePort();
        const folder = join(dir, `sentinel-${number}`);
        const config = join(folder, 'sentinel.conf');
        mkdirSync(folder);
        writeFileSync(config, sentinelConfig({ port, folder, primary: pair.port }));
        const sentinel = new ServerProcess({
          port,
          command: [program, config, '--sentinel'],
          ready: '+monitor',
          remove: () => rmSync(folder, { recursive: true, force: true }),
        });
        sentinels.push(sentinel);
        await sentinel.run();
      }
      await side.#known();
    } catch (error) {
      await side.close();
      throw error;
    }
    return side;
  }

  get port(): number {
    return this.#pair.port;
  }

  get primary(): ServerPost {
    return this.#pair.primary;
  }

  /** Resolves when the sentinels name another primary than `port`, and the pair knows it. */
  async failedOver(port: number): Promise<void> {
    await until(this.#clock, { what: 'the failover of the sentinels', limitMs: 60_000 }, async () => {
      const named = await this.#named();
      return named !== 0 && named !== port;
    });
    this.#pair.swap();
  }

  /** Starts the server that lost its place; the sentinels make it copy the primary. */
  async restore(): Promise<void> {
    const { replica } = this.#pair;
    if (replica.pid === 0) await replica.run();
    await until(this.#clock, { what: 'the old primary as a replica', limitMs: 60_000 }, async () => {
      return (await redisInfo(replica.port, 'replication', 'master_link_status')) === 'up';
    });
    await this.#known();
  }

  /** Waits until every sentinel knows the replica and the others, without which no failover takes place. */
  async #known(): Promise<void> {
    await until(this.#clock, { what: 'sentinels that know each other', limitMs: 60_000 }, async () => {
      for (const { port } of this.#sentinels) {
        const facts = pairs(await redisCommand(port, ['SENTINEL', 'MASTER', 'emp']));
        if (facts.get('flags') !== 'master' || Number(facts.get('num-slaves')) < 1) return false;
        if (Number(facts.get('num-other-sentinels')) < 2) return false;
      }
      return true;
    });
  }

  async #named(): Promise<number> {
    const named = await redisCommand(this.#sentinels[0]?.port ?? 0, [
      'SENTINEL',
      'GET-MASTER-ADDR-BY-NAME',
      'emp',
    ]);
    return Array.isArray(named) ? Number(named[1]) : 0;
  }

  async close(): Promise<void> {
    for (const sentinel of this.#sentinels) await sentinel.close();
    await this.#pair.close();
  }
}

function sentinelConfig(options: { port: number; folder: string; primary: number }): string {
  return [
    `port ${options.port}`,
    'bind 127.0.0.1',
    `dir ${options.folder}`,
    `sentinel monitor emp 127.0.0.1 ${options.primary} 2`,
    'sentinel down-after-milliseconds emp 1000',
    'sentinel failover-timeout emp 5000',
    '',
  ].join('\n');
}

/** Names and values of a reply that lists them in turn. */
function pairs(reply: unknown): Map<string, string> {
  const flat = Array.isArray(reply)
    ? reply.flat().map(String)
    : Object.entries(Object(reply)).flat().map(String);
  return new Map(flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] ?? ''] as const] : [])));
}

/** Three masters that share the slots; hubs are led to the one that owns the slot of `{emp:0}`. */
export class RedisCluster implements RedisSide {
  readonly #nodes: RedisServer[];
  readonly #owner: RedisServer;

  private constructor(nodes: RedisServer[], owner: RedisServer) {
    this.#nodes = nodes;
    this.#owner = owner;
  }

  static async start(clock: Clock): Promise<RedisCluster> {
    const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', ...appendOnly];
    const nodes: RedisServer[] = [];
    for (let number = 0; number < 3; number++)
      nodes.push(await RedisServer.start({ tcp: true, args: [...noEviction, ...args] }));
    const [first] = nodes;
    if (first === undefined) throw new Error('a cluster has nodes');
    const share = Math.ceil(16_384 / nodes.length);
    const slot = Number(await redisCommand(first.port, ['CLUSTER', 'KEYSLOT', '{emp:0}:meta']));
    for (const [index, node] of nodes.entries()) {
      const last = Math.min(16_383, (index + 1) * share - 1);
      await redisCommand(node.port, ['CLUSTER', 'ADDSLOTSRANGE', index * share, last]);
      await redisCommand(first.port, ['CLUSTER', 'MEET', '127.0.0.1', node.port]);
    }
    await until(clock, { what: 'a cluster of three masters', limitMs: 60_000 }, async () => {
      const info = await Promise.all(nodes.map((node) => redisCommand(node.port, ['CLUSTER', 'INFO'])));
      return info.every((text) => String(text).includes('cluster_state:ok'));
    });
    const owner = nodes[Math.floor(slot / share)];
    if (owner === undefined) throw new Error(`no node owns slot ${slot}`);
    return new RedisCluster(nodes, owner);
  }

  get port(): number {
    return this.#owner.port;
  }

  get primary(): ServerPost {
    return this.#owner;
  }

  async close(): Promise<void> {
    for (const node of this.#nodes) await node.close();
  }
}
