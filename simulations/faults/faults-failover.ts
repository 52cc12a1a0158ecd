import type { Clock } from '#protocol/env.ts';
import type { Cluster } from './cluster.ts';
import type { Fault } from './fault.ts';
import { RedisCluster, RedisPair, SentinelRedis } from './redis-side.ts';
import { redisCommand, redisInfo, signalProcess, until } from './server-control.ts';

/** A Redis of which another server takes over, with less than the first had acknowledged. */

function pairOf(cluster: Cluster): RedisPair {
  if (!(cluster.redis instanceof RedisPair)) throw new Error('this fault brings its own Redis');
  return cluster.redis;
}

/** Leads every hub, or one, to the present primary. */
function repoint(cluster: Cluster, port: number, hubs = cluster.hubs): void {
  for (const hub of hubs) hub.redis?.repoint(port);
}

/** The server that lost its place starts again and copies the present primary. */
async function rejoin(pair: RedisPair, clock: Clock): Promise<string> {
  if (pair.replica.pid === 0) {
    await until(clock, { what: 'a new start of Redis', limitMs: 30_000 }, async () => {
      await pair.replica.run();
      return true;
    });
  }
  await pair.follow();
  return 'the old primary copies the new one';
}

const lagging: Fault = {
  name: 'redis-failover-lagging',
  summary: 'the primary is killed and a replica that lags by up to 2 s takes its place',
  holdMs: { min: 200, max: 2_000 },
  cluster: { wires: ['hub-redis'] },
  redis: (clock) => RedisPair.start(clock),
  async inject({ cluster, rng, clock, signal }) {
    const pair = pairOf(cluster);
    const lagMs = rng.int(0, 2_000);
    pair.replication.set({ up: 'held', down: 'held' });
    const before = Number(await redisInfo(pair.port, 'replication', 'master_repl_offset'));
    await until(clock, { what: 'the lag', limitMs: 10_000, signal }, elapsed(clock, lagMs));
    const after = Number(await redisInfo(pair.port, 'replication', 'master_repl_offset'));
    await pair.primary.kill();
    return {
      detail: `killed the primary; the replica lacks ${lagMs} ms and at least ${after - before} bytes`,
      async heal() {
        await pair.promote();
        repoint(cluster, pair.port);
        return 'the replica is the primary';
      },
      restore: () => rejoin(pair, clock),
    };
  },
};

function elapsed(clock: Clock, forMs: number): () => Promise<boolean> {
  const endMs = clock.monotonic() + forMs;
  return async () => clock.monotonic() >= endMs;
}

const splitBrain: Fault = {
  name: 'redis-two-primaries',
  summary: 'a replica is promoted for one hub while the other goes on with the old primary',
  holdMs: { min: 2_000, max: 6_000 },
  cluster: { wires: ['hub-redis'] },
  redis: (clock) => RedisPair.start(clock),
  async inject({ cluster, clock }) {
    const pair = pairOf(cluster);
    await pair.promote();
    repoint(cluster, pair.port, cluster.hubs.slice(0, 1));
    return {
      detail: `${cluster.hubs[0]?.name} writes to the new primary, the others to the old one`,
      async heal() {
        repoint(cluster, pair.port);
        return 'every hub writes to the new primary';
      },
      restore: () => rejoin(pair, clock),
    };
  },
};

const demoted: Fault = {
  name: 'redis-demoted',
  summary: 'the primary becomes a replica and answers READONLY while hubs are still led to it',
  holdMs: { min: 500, max: 3_000 },
  cluster: { wires: ['hub-redis'] },
  redis: (clock) => RedisPair.start(clock),
  async inject({ cluster }) {
    const pair = pairOf(cluster);
    await pair.promote();
    await redisCommand(pair.replica.port, ['REPLICAOF', '127.0.0.1', pair.port]);
    return {
      detail: 'the primary was demoted under its hubs',
      async heal() {
        repoint(cluster, pair.port);
        return 'hubs are led to the new primary';
      },
    };
  },
};

const sentinel: Fault = {
  name: 'redis-sentinel',
  summary:
    'three sentinels fail over from a killed or paused primary; the address is led to the one that they name',
  holdMs: { min: 100, max: 1_000 },
  cluster: { wires: ['hub-redis'] },
  redis: (clock, dir) => SentinelRedis.start(clock, dir),
  async inject({ cluster, rng }) {
    const side = cluster.redis;
    if (!(side instanceof SentinelRedis)) throw new Error('this fault brings its own Redis');
    const { port, primary } = side;
    const kill = rng.next() < 0.5;
    const { pid } = primary;
    if (kill) await primary.kill();
    else signalProcess(pid, 'SIGSTOP');
    return {
      detail: `${kill ? 'killed' : 'paused'} the primary`,
      async heal() {
        await side.failedOver(port);
        repoint(cluster, side.port);
        return 'the sentinels promoted the replica';
      },
      async restore() {
        if (!kill) signalProcess(pid, 'SIGCONT');
        await side.restore();
        return 'the old primary copies the new one';
      },
    };
  },
};

const clusterOwner: Fault = {
  name: 'redis-cluster-owner',
  summary: 'a cluster of three masters; the one that owns the slot of all our keys is killed and comes back',
  holdMs: { min: 500, max: 5_000 },
  redis: (clock) => RedisCluster.start(clock),
  async inject({ cluster, clock }) {
    const { primary } = cluster.redis;
    await primary.kill();
    return {
      detail: 'killed the owner of the slot',
      async heal() {
        await until(clock, { what: 'a new start of Redis', limitMs: 30_000 }, async () => {
          await primary.run();
          return true;
        });
        return 'started the owner of the slot';
      },
    };
  },
};

export const failoverFaults: readonly Fault[] = [lagging, splitBrain, demoted, sentinel, clusterOwner];
