import { pick } from '#simulations/seeded-rng.ts';
import type { Fault } from './fault.ts';
import { signalProcess, signalTree } from './server-control.ts';

/**
 * Processes that stand still (SIGSTOP) past a lease of 3 s and go on (SIGCONT) with everything that they
 * believed before: what a suspended container, a long collection of garbage or a full disk queue does.
 */

const pastLease = { min: 3_500, max: 7_000 };

const pauseHub: Fault = {
  name: 'pause-hub',
  summary: 'one of two hubs stands still past a lease, with its roles, links and transactions',
  holdMs: pastLease,
  async inject({ cluster, rng }) {
    const hub = pick(rng, cluster.hubs);
    hub.process?.kill('SIGSTOP');
    return {
      detail: `paused ${hub.name}`,
      async heal() {
        hub.process?.kill('SIGCONT');
        return `${hub.name} goes on`;
      },
    };
  },
};

const pauseMachine: Fault = {
  name: 'pause-machine',
  summary: 'a machine stands still past its lease and comes back with its old state',
  holdMs: pastLease,
  async inject({ cluster, rng }) {
    const machine = pick(rng, cluster.machines);
    machine.process?.kill('SIGSTOP');
    return {
      detail: `paused ${machine.name}`,
      async heal() {
        machine.process?.kill('SIGCONT');
        return `${machine.name} goes on`;
      },
    };
  },
};

const pauseRedis: Fault = {
  name: 'pause-redis',
  summary: 'redis-server stands still past a lease; its connections stay open',
  holdMs: pastLease,
  async inject({ cluster }) {
    const { pid } = cluster.redis.primary;
    signalProcess(pid, 'SIGSTOP');
    return {
      detail: 'paused redis-server',
      async heal() {
        signalProcess(pid, 'SIGCONT');
        return 'redis-server goes on';
      },
    };
  },
};

const pausePostgres: Fault = {
  name: 'pause-postgres',
  summary: 'every process of PostgreSQL stands still past a lease; its connections stay open',
  holdMs: pastLease,
  async inject({ cluster }) {
    const { pid } = cluster.postgres;
    signalTree(pid, 'SIGSTOP');
    return {
      detail: 'paused postgres with its children',
      async heal() {
        signalTree(pid, 'SIGCONT');
        return 'postgres goes on';
      },
    };
  },
};

export const pauseFaults: readonly Fault[] = [pauseHub, pauseMachine, pauseRedis, pausePostgres];
