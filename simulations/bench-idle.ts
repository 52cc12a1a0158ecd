import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sleep } from '#protocol/env.ts';
import { bootMachine, type RunningMachine } from '#runtime/boot-machine.ts';
import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { startHub } from '#runtime/dev.ts';
import { systemClock } from '#runtime/env.ts';
import type { FleetProcess } from '#runtime/fleet-process.ts';
import { beatMsOf, readHubConfig } from '#runtime/hub-config.ts';
import { quietClient } from '#runtime/quiet-client.ts';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { benchEnv, figure } from './bench/bench-fleet.ts';
import { cpuMs } from './bench/cpu-time.ts';
import { type RedisCommands, watchRedis } from './bench/redis-commands.ts';

const machinesFull = 50;
const minutesFull = 2;
/** As an orchestrator asks whether a container may be sent requests, ms. */
const probeEveryMs = 10_000;

/**
 * A hub as a process of its own on a private Redis, and machines that have nothing to do, each with a
 * link of its own from this process. Counts every command that reaches Redis from outside its scripts.
 */
export async function run(host: BenchHost): Promise<BenchReport> {
  const closing: (() => Promise<unknown>)[] = [];
  try {
    return await measure(host, closing);
  } finally {
    for (const close of closing.splice(0).reverse()) await close();
  }
}

async function measure(host: BenchHost, closing: (() => Promise<unknown>)[]): Promise<BenchReport> {
  const { signal } = host;
  const count = Math.max(5, Math.round(machinesFull * host.scale));
  const seconds = Math.max(6, 60 * minutesFull * host.scale);
  const beatMs = beatMsOf(readHubConfig({ variables: {}, flags: {} }));
  const dir = await mkdtemp(join(tmpdir(), 'emp-bench-'));
  closing.push(() => rm(dir, { recursive: true, force: true }));
  const redis = await RedisServer.start({ tcp: true });
  closing.push(() => redis.close());
  const settings = { REDIS_URL: `redis://127.0.0.1:${redis.port}`, EMP_LOG_LEVEL: 'warn' };
  const hub = await startHub({ port: 0, dataDir: join(dir, 'hub'), settings, signal });
  closing.push(() => hub.process.stop());
  const machines = await startMachines(hub.url, { count, dir, signal });
  closing.push(() => leave(machines));
  // One job makes a group known, so that machines stand in the idle index as in a fleet that has worked.
  const client = quietClient(hub.url);
  const { job } = await client.submit({ service: 'simulation', payload: { durationMs: 1 } }, { signal });
  await client.wait(job.id, { signal });
  host.note(`${count} machines are ready; they settle for ${(3 * beatMs) / 1_000} s`);
  await sleep(systemClock, 3 * beatMs, signal);
  const watched = await watchRedis(redis.path);
  closing.push(() => watched.close());
  host.note(`counting for ${Math.round(seconds)} s`);
  const measured = await idleFor(hub, { redis, watched, seconds, signal });
  return report({ count, watched, redisVersion: await watched.version(), ...measured });
}

/** Every machine has a link, an incarnation and beats of its own; one process spares the memory of fifty. */
async function startMachines(
  hubUrl: string,
  options: { count: number; dir: string; signal: AbortSignal },
): Promise<RunningMachine[]> {
  const { token } = await quietClient(hubUrl).joinToken({ signal: options.signal });
  const machines: RunningMachine[] = [];
  for (let at = 1; at <= options.count; at++) {
    const machineId = `idle-${at}`;
    const flags = {
      hubUrls: [hubUrl],
      joinToken: token,
      machineId,
      pool: 'fast-lane',
      services: ['simulation:1'],
      dataDir: join(options.dir, machineId),
      diskBudgetMb: '1',
      logLevel: 'error',
    };
    machines.push(await bootMachine({ flags, variables: {} }));
  }
  await Promise.all(machines.map((machine) => machine.ready));
  options.signal.throwIfAborted();
  return machines;
}

async function leave(machines: readonly RunningMachine[]): Promise<void> {
  for (const machine of machines) machine.stop('the bench is over');
  await Promise.all(machines.map((machine) => machine.stopped));
}

interface Idled {
  hubCpuMs: number;
  redisCpuMs: number;
  elapsedMs: number;
}

/** Lets the time pass, asking for readiness now and then. */
async function idleFor(
  hub: { process: FleetProcess; url: string },
  options: { redis: RedisServer; watched: RedisCommands; seconds: number; signal: AbortSignal },
): Promise<Idled> {
  const { redis, watched, seconds, signal } = options;
  const startMs = systemClock.monotonic();
  const cpu = async () => ({ hub: await cpuMs(hub.process.pid), redis: await cpuMs(redis.pid) });
  const before = await cpu();
  watched.begin();
  for (let leftMs = seconds * 1_000; leftMs > 0; leftMs -= probeEveryMs) {
    const answer = await fetch(`${hub.url}/readyz`, { signal });
    if (!answer.ok) throw new Error(`the hub is not ready: ${await answer.text()}`);
    await sleep(systemClock, Math.min(leftMs, probeEveryMs), signal);
  }
  watched.end();
  const after = await cpu();
  const elapsedMs = systemClock.monotonic() - startMs;
  return { hubCpuMs: after.hub - before.hub, redisCpuMs: after.redis - before.redis, elapsedMs };
}

function report(
  measured: Idled & { count: number; watched: RedisCommands; redisVersion: string },
): BenchReport {
  const { watched, elapsedMs, redisVersion, count } = measured;
  const perMinute = (calls: number) => (calls * 60_000) / elapsedMs;
  const total = [...watched.calls.values()].reduce((sum, calls) => sum + calls, 0);
  return {
    bench: 'idle',
    figures: {
      commandsPerMinutePerHub: figure(perMinute(total), 'commands', { atMost: 15 }),
      redisCpu: figure((100 * measured.redisCpuMs) / elapsedMs, '%', { atMost: 1 }),
      hubCpu: figure((100 * measured.hubCpuMs) / elapsedMs, '%', { atMost: 5 }),
    },
    rows: [
      ...[...watched.calls].map(([command, calls]) => ({ command, calls, perMinute: perMinute(calls) })),
      {
        command: `inside scripts, ${count} machines`,
        calls: watched.inner,
        perMinute: perMinute(watched.inner),
      },
    ],
    env: { ...benchEnv(), redis: redisVersion },
  };
}
