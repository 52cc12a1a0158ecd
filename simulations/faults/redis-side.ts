import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '#protocol/env.ts';
import { findRedisServer, RedisServer, redisMissing } from '#runtime/toolchain/redis-server.ts';
import { FaultProxy } from './fault-proxy.ts';
import { redisCommand, redisInfo, until } from './server-control.ts';

/** The Redis of a cluster: one server, or several of which one is the primary. */
export interface RedisSide {
  /** Where hubs, or their proxies, find the primary. A failover moves it. */
  readonly port: number;
  /** The server that is the primary now. */
  readonly primary: RedisServer;
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

  static async start(clock: Clock, args: readonly string[] = []): Promise<RedisPair> {
    const primary = await RedisServer.start({ tcp: true, args: [...noEviction, ...args] });
    const replica = await RedisServer.start({ tcp: true, args: [...noEviction, ...args] });
    const target = { host: '127.0.0.1', port: primary.port };
    const replication = new FaultProxy({ name: 'replication', clock, target });
    await replication.listen();
    const pair = new RedisPair({ primary, replica, replication, clock });
    await pair.follow();
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

  /** Makes the replica copy the primary, and waits until it does. */
  async follow(): Promise<void> {
    this.replication.heal();
    this.replication.repoint(this.#primary.port);
    await redisCommand(this.#replica.port, ['REPLICAOF', '127.0.0.1', this.replication.port]);
    await until(this.#clock, { what: 'the replication', limitMs: 30_000 }, async () => {
      return (await redisInfo(this.#replica.port, 'replication', 'master_link_status')) === 'up';
    });
  }

  /** The replica becomes the primary with what it has; the old one is left as it is. */
  async promote(): Promise<void> {
    await redisCommand(this.#replica.port, ['REPLICAOF', 'NO', 'ONE']);
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
  readonly primary: RedisServer;
  readonly #disk: string;

  private constructor(primary: RedisServer, disk: string) {
    this.primary = primary;
    this.#disk = disk;
  }

  /** `dir` takes the mount point and the program that mounts; only the server itself sees the mount. */
  static async start(dir: string): Promise<SmallDiskRedis> {
    const redis = findRedisServer();
    if (redis === null) throw new Error(redisMissing);
    const disk = join(dir, 'small-disk');
    mkdirSync(disk, { recursive: true });
    const program = join(dir, 'redis-on-small-disk');
    const mount = 'mount -t tmpfs -o size=64m tmpfs "$0" && exec "$@"';
    writeFileSync(
      program,
      `#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c '${mount}' '${disk}' '${redis}' "$@" --dir '${disk}'\n`,
    );
    chmodSync(program, 0o700);
    const probe = await RedisServer.start({ tcp: true });
    const { port } = probe;
    await probe.close();
    const server = new RedisServer({ program, args: [...noEviction, ...appendOnly], port });
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
