import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import type { Fleet, MachineSpec } from '#runtime/dev.ts';
import { systemClock } from '#runtime/env.ts';
import { closeRestMsOf, readHubConfig } from '#runtime/hub-config.ts';
import { percentile } from '#runtime/percentile.ts';
import { quietClient, quietEnv } from '#runtime/quiet-client.ts';
import { missingPostgres } from '#runtime/toolchain/postgres-server.ts';
import { findRedisServer, redisMissing } from '#runtime/toolchain/redis-server.ts';
import { benchEnv, figure, withFleet } from './bench/bench-fleet.ts';
import { type KillReport, type KillRig, measureKills } from './bench/recovery-kills.ts';
import { Cluster } from './faults/cluster.ts';
import { appendOnly, singleRedis } from './faults/redis-side.ts';

const killsFull = 20;
const leaseTtlMs = 1_000;
const settings = { EMP_LEASE_TTL_MS: String(leaseTtlMs) };
/** One machine is killed at a time; the other two have a slot free for its job. */
const machineCount = 3;

/**
 * From the end of a killed machine's lease to the start of its job's next run: with one hub on the
 * embedded stores, then with two hubs on Redis and PostgreSQL. A killed machine's socket closes at once,
 * which leaves its lease what `closeRestMsOf` says; all times are by the clock of this computer.
 */
export async function run(host: BenchHost): Promise<BenchReport> {
  const kills = Math.max(1, Math.round(killsFull * host.scale));
  const restMs = closeRestMsOf(readHubConfig({ variables: settings, flags: {} }));
  const embedded = await onEmbeddedStores(host, { kills, restMs });
  const servers = await onServers(host, { kills, restMs });
  const reports = servers === null ? [embedded] : [embedded, servers];
  const restart = (report: KillReport) => {
    const sorted = report.kills.map(({ afterExpiryMs }) => afterExpiryMs).sort((a, b) => a - b);
    return figure(percentile(sorted, 0.99), 'ms', { atMost: 1_000 });
  };
  const sum = (pick: (report: KillReport) => number) =>
    figure(
      reports.reduce((total, report) => total + pick(report), 0),
      'jobs',
      { atMost: 0 },
    );
  return {
    bench: 'recovery',
    figures: {
      restartAfterExpiryMs: restart(embedded),
      ...(servers === null ? {} : { twoHubsRestartAfterExpiryMs: restart(servers) }),
      lost: sum(({ lost }) => lost),
      doubled: sum(({ doubled }) => doubled),
    },
    rows: reports.flatMap((report) =>
      report.kills.map(({ kill, afterExpiryMs, afterKillMs }) => ({
        stores: report === embedded ? 'embedded' : 'servers',
        kill,
        afterExpiryMs: Math.round(afterExpiryMs),
        afterKillMs: Math.round(afterKillMs),
      })),
    ),
    env: benchEnv(),
  };
}

type Plan = { kills: number; restMs: number };

async function onEmbeddedStores(host: BenchHost, plan: Plan): Promise<KillReport> {
  const machines = Array.from({ length: machineCount }, (_, index) => spec(index));
  const hub = { port: 0, dataDir: null, settings };
  return await withFleet(host, { hub, machines }, (fleet) => measureKills(host, fleetRig(fleet), plan));
}

function spec(index: number): MachineSpec {
  return { id: `recovery-${index}`, pool: 'fast-lane', services: ['simulation:1'] };
}

function fleetRig(fleet: Fleet): KillRig {
  let started = machineCount;
  return {
    client: fleet.client,
    async kill(machineId) {
      const holder = fleet.machines.find(
        ({ name, isRunning }) => isRunning && name === `machine ${machineId}`,
      );
      if (holder === undefined) throw new Error(`${machineId} is none of ours`);
      const atMs = systemClock.now();
      holder.kill('SIGKILL');
      await holder.ended;
      return atMs;
    },
    async replace() {
      await fleet.addMachine(spec(started++));
    },
  };
}

/** Null where a server is missing. */
async function onServers(host: BenchHost, plan: Plan): Promise<KillReport | null> {
  const missing = missingPostgres() ?? (findRedisServer() === null ? redisMissing : null);
  if (missing !== null) {
    host.note(`twoHubsRestartAfterExpiryMs is left out: ${missing}`);
    return null;
  }
  const dir = await mkdtemp(join(tmpdir(), 'emp-bench-'));
  const shape = {
    hubs: 2,
    machines: machineCount,
    slots: 1,
    leaseTtlMs,
    wires: [],
    postgres: { durable: true },
  };
  const clusterHost = {
    clock: systemClock,
    rng: quietEnv().rng,
    dir,
    logDir: join(dir, 'logs'),
    signal: host.signal,
    onProcess: () => {},
  };
  let cluster: Cluster | null = null;
  try {
    cluster = await Cluster.start(shape, clusterHost, () => singleRedis(appendOnly));
    return await measureKills(host, clusterRig(cluster), plan);
  } finally {
    await cluster?.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

function clusterRig(cluster: Cluster): KillRig {
  const [hub] = cluster.hubs;
  const post = (machineId: string) => {
    const found = cluster.machines.find(({ name }) => name === machineId);
    if (found === undefined) throw new Error(`${machineId} is none of ours`);
    return found;
  };
  return {
    client: quietClient(hub?.url ?? ''),
    async kill(machineId) {
      const atMs = systemClock.now();
      await post(machineId).kill();
      return atMs;
    },
    replace: (machineId) => post(machineId).start(),
  };
}
