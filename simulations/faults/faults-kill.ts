import { pick } from '#simulations/seeded-rng.ts';
import type { Fault } from './fault.ts';
import { appendOnly, singleRedis } from './redis-side.ts';
import { killPostgres, restartPostgres, until } from './server-control.ts';

/** Processes that are killed with SIGKILL and started again on what they left on disk. */

const killHub: Fault = {
  name: 'kill-hub',
  summary: 'one of two hubs is killed and started again on its port',
  holdMs: { min: 200, max: 3_000 },
  async inject({ cluster, rng }) {
    const hub = pick(rng, cluster.hubs);
    await hub.kill();
    return {
      detail: `killed ${hub.name}`,
      async heal() {
        await hub.start();
        return `started ${hub.name}`;
      },
    };
  },
};

const killHubs: Fault = {
  name: 'kill-hubs',
  summary: 'all hubs are killed at once and started again',
  holdMs: { min: 500, max: 5_000 },
  async inject({ cluster }) {
    await Promise.all(cluster.hubs.map((hub) => hub.kill()));
    return {
      detail: 'killed all hubs',
      async heal() {
        await Promise.all(cluster.hubs.map((hub) => hub.start()));
        return 'started all hubs';
      },
    };
  },
};

const killMachine: Fault = {
  name: 'kill-machine',
  summary: 'a machine is killed in the middle of its jobs and started again under its id',
  holdMs: { min: 200, max: 5_000 },
  async inject({ cluster, rng }) {
    const machine = pick(rng, cluster.machines);
    await machine.kill();
    return {
      detail: `killed ${machine.name}`,
      async heal() {
        await machine.start();
        return `started ${machine.name}`;
      },
    };
  },
};

/** A Redis that dies and comes back, with or without what it had. */
function killRedis(options: { name: string; summary: string; args: readonly string[] }): Fault {
  return {
    name: options.name,
    summary: options.summary,
    holdMs: { min: 100, max: 3_000 },
    redis: () => singleRedis(options.args),
    async inject({ cluster, clock, note }) {
      const { primary } = cluster.redis;
      await primary.kill();
      return {
        detail: 'killed redis-server',
        async heal() {
          await until(clock, { what: 'a new start of Redis', limitMs: 30_000 }, async () => {
            await primary.run();
            return true;
          });
          note(`redis-server runs again as pid ${primary.pid}`);
          return 'started redis-server';
        },
      };
    },
  };
}

const killPostgresFault: Fault = {
  name: 'kill-postgres',
  summary: 'PostgreSQL is killed (kill -9, or immediate shutdown) and recovers from its log',
  holdMs: { min: 200, max: 3_000 },
  async inject({ cluster, rng, clock }) {
    const { postgres } = cluster;
    const hard = rng.next() < 0.5;
    if (hard) await killPostgres(postgres);
    else await postgres.stop('SIGQUIT');
    return {
      detail: hard ? 'killed postgres' : 'shut postgres down at once',
      async heal() {
        await restartPostgres(postgres, clock);
        return 'started postgres';
      },
    };
  },
};

const killEverything: Fault = {
  name: 'kill-everything',
  summary: 'hubs, machines, Redis without persistence and PostgreSQL are killed at once',
  holdMs: { min: 500, max: 2_000 },
  redis: () => singleRedis([]),
  async inject({ cluster, clock }) {
    const { primary } = cluster.redis;
    await Promise.all([
      ...cluster.hubs.map((hub) => hub.kill()),
      ...cluster.machines.map((machine) => machine.kill()),
      primary.kill(),
      killPostgres(cluster.postgres),
    ]);
    return {
      detail: 'killed every process',
      async heal() {
        await restartPostgres(cluster.postgres, clock);
        await primary.run();
        await Promise.all(cluster.hubs.map((hub) => hub.start()));
        await Promise.all(cluster.machines.map((machine) => machine.start()));
        return 'started every process';
      },
    };
  },
};

const stopHub: Fault = {
  name: 'stop-hub',
  summary: 'each hub in turn is told to end (SIGTERM) and started again: a rolling restart',
  holdMs: { min: 100, max: 500 },
  async inject({ cluster, note }) {
    for (const hub of cluster.hubs) {
      const end = await hub.process?.stop();
      note(`${hub.name} ended with ${end?.signal ?? `code ${end?.code}`}`);
      await hub.start();
    }
    return { detail: 'stopped and started each hub', heal: async () => 'nothing to undo' };
  },
};

export const killFaults: readonly Fault[] = [
  killHub,
  killHubs,
  stopHub,
  killMachine,
  killRedis({
    name: 'kill-redis',
    summary: 'redis-server (append-only file, flushed every second) is killed and started on its file',
    args: appendOnly,
  }),
  killRedis({
    name: 'kill-redis-empty',
    summary: 'redis-server without persistence is killed and comes back empty',
    args: [],
  }),
  killPostgresFault,
  killEverything,
];
