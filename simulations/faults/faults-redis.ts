import { missingSmallDisk } from '#runtime/toolchain/postgres-server.ts';
import type { Fault } from './fault.ts';
import { SmallDiskRedis, singleRedis } from './redis-side.ts';
import { redisCommand, redisInfo, until } from './server-control.ts';

/** A Redis that runs and misbehaves: what its operators and its other clients can do to it. */

const flushScripts: Fault = {
  name: 'redis-flush-scripts',
  summary: 'FUNCTION FLUSH and SCRIPT FLUSH while steps are under way, again and again',
  holdMs: { min: 200, max: 500 },
  async inject({ cluster, rng }) {
    const { port } = cluster.redis;
    const times = rng.int(5, 20);
    for (let time = 0; time < times; time++) {
      await redisCommand(port, ['FUNCTION', 'FLUSH', 'SYNC']);
      await redisCommand(port, ['SCRIPT', 'FLUSH', 'SYNC']);
    }
    return { detail: `flushed functions and scripts ${times} times`, heal: async () => 'nothing to undo' };
  },
};

const flushAll: Fault = {
  name: 'redis-flush-all',
  summary: 'FLUSHALL by another client: the process stays, its data are gone',
  holdMs: { min: 100, max: 300 },
  async inject({ cluster }) {
    await redisCommand(cluster.redis.port, ['FLUSHALL', 'SYNC']);
    return { detail: 'flushed all data', heal: async () => 'nothing to undo' };
  },
};

const clientPause: Fault = {
  name: 'redis-client-pause',
  summary: 'CLIENT PAUSE longer than the deadline of a call and than a lease',
  holdMs: { min: 3_500, max: 6_000 },
  async inject({ cluster, holdMs }) {
    // It ends by itself: CLIENT UNPAUSE would have to wait like every other command.
    await redisCommand(cluster.redis.port, ['CLIENT', 'PAUSE', holdMs, 'ALL']);
    return { detail: 'paused all clients of redis', heal: async () => 'the pause is over' };
  },
};

const busyScript: Fault = {
  name: 'redis-busy-script',
  summary: 'an endless script of another client, ended by SCRIPT KILL',
  holdMs: { min: 2_500, max: 5_000 },
  redis: () => singleRedis(['--busy-reply-threshold', '200']),
  async inject({ cluster, clock }) {
    const { port } = cluster.redis;
    const running = redisCommand(port, ['EVAL', 'while true do end', 0], 60_000).catch((error: unknown) =>
      error instanceof Error ? error.message : String(error),
    );
    return {
      detail: 'began an endless script',
      async heal() {
        await until(clock, { what: 'SCRIPT KILL', limitMs: 10_000 }, async () => {
          await redisCommand(port, ['SCRIPT', 'KILL']);
          return true;
        });
        return `killed the script: ${String(await running).slice(0, 80)}`;
      },
    };
  },
};

const maxMemory: Fault = {
  name: 'redis-maxmemory',
  summary:
    'maxmemory is reached: new work is refused by Redis, running work drains; then there is room again',
  holdMs: { min: 2_000, max: 5_000 },
  async inject({ cluster }) {
    const { port } = cluster.redis;
    const used = Number(await redisInfo(port, 'memory', 'used_memory'));
    // Below what is used: every command that may grow is refused.
    await redisCommand(port, ['CONFIG', 'SET', 'maxmemory', Math.floor(used * 0.8)]);
    return {
      detail: `maxmemory below the ${used} bytes in use`,
      async heal() {
        await redisCommand(port, ['CONFIG', 'SET', 'maxmemory', 0]);
        return 'no maxmemory';
      },
    };
  },
};

const diskFull: Fault = {
  name: 'redis-disk-full',
  summary: 'the disk of the append-only file is full: Redis refuses writes (MISCONF) until there is room',
  holdMs: { min: 2_500, max: 6_000 },
  missing: missingSmallDisk,
  redis: (_clock, dir) => SmallDiskRedis.start(dir),
  async inject({ cluster, note }) {
    const disk = cluster.redis;
    if (!(disk instanceof SmallDiskRedis)) throw new Error('this fault brings its own Redis');
    const bytes = disk.fill();
    return {
      detail: `filled the disk with ${bytes} bytes`,
      async heal() {
        note(`aof_last_write_status ${await redisInfo(disk.port, 'persistence', 'aof_last_write_status')}`);
        disk.free();
        return 'freed the disk';
      },
    };
  },
};

export const redisFaults: readonly Fault[] = [
  flushScripts,
  flushAll,
  clientPause,
  busyScript,
  maxMemory,
  diskFull,
];
