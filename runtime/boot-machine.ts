import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, freemem, hostname, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { cpuGpus } from '#actors/gpu.ts';
import { nodeDisk } from '#actors/node-disk.ts';
import { nodeHttp } from '#actors/node-http.ts';
import type { Env } from '#protocol/env.ts';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import { MachineId } from '#protocol/names.ts';
import { wsDialer } from '#protocol/peer/ws-dialer.ts';
import { composeMachine, type Machine } from './compose-machine.ts';
import { systemEnv } from './env.ts';
import { type HealthServer, type HealthSource, serveHealth } from './health.ts';
import { hubVersion } from './hub-version.ts';
import { processLog } from './log.ts';
import { monitorLoop } from './loop-monitor.ts';
import { machineClassOf } from './machine-class.ts';
import { type MachineConfig, type MachineFlags, readMachineConfig } from './machine-config.ts';
import { builtInConnectors, loadConnectors } from './machine-connectors.ts';
import { memoryMb } from './machine-memory.ts';
import { machineSettings } from './machine-settings.ts';
import { warnOfUnknown } from './unknown-variables.ts';

export interface RunningMachine {
  readonly machineId: string;
  readonly healthUrl: string;
  readonly machine: Machine;
  /** Resolves with the time from the start of the process when the machine may claim; rejects if it ends before. */
  readonly ready: Promise<{ incarnation: number; readyMs: number }>;
  /** Begins a drain; a second call ends at once. */
  stop(reason: string): void;
  /** Resolves with the exit code when everything is closed: 0 drained, 1 failed, 3 superseded. */
  readonly stopped: Promise<{ code: number; reason: string }>;
}

const MiB = 1_048_576;
/** An event loop that is later than this degrades the machine, ms. */
const loopLimitMs = 1_000;

/**
 * Starts a machine in this process from flags and variables. Rejects with `CONFIG_INVALID` and all
 * problems at once; signals are the caller's: the first calls `stop`.
 */
export async function bootMachine(options: {
  flags?: MachineFlags;
  variables: Record<string, string | undefined>;
}): Promise<RunningMachine> {
  const config = readMachineConfig({
    variables: options.variables,
    flags: options.flags ?? {},
    defaultServices: builtInConnectors,
  });
  const env = systemEnv(processLog({ level: config.logLevel, fields: {} }));
  warnOfUnknown(options.variables, env.log);
  const dataDir = resolve(config.dataDir);
  const [connectors, machineId] = await Promise.all([
    loadConnectors(config.services, config),
    ownId(config, { dataDir, env }),
  ]);
  const ramMb = memoryMb({ totalBytes: totalmem(), constrainedBytes: process.constrainedMemory() });
  const gpus = cpuGpus({
    name: cpus()[0]?.model ?? 'cpu',
    memoryMb: ramMb,
    freeMemoryMb: () => Math.floor(freemem() / MiB),
  });
  const devices = await gpus.list(new AbortController().signal);
  let loopDelayMs = () => 0;
  const machine = composeMachine({
    config: {
      machineId,
      hubUrls: config.hubUrls,
      joinToken: config.joinToken,
      machineClass: machineClassOf(config, { devices, ramMb, cpuCores: availableParallelism() }),
      dataDir,
      budgetBytes: config.diskBudgetMb * MiB,
      software: hubVersion,
      settings: {
        ...machineSettings,
        jobRun: { ...machineSettings.jobRun, stallMs: config.stallMs },
        gpu: { ...machineSettings.gpu, reserveMb: config.vramReserveMb },
        staging: { ...machineSettings.staging, leadMs: config.stageLeadMs },
      },
    },
    env: { ...env, log: env.log.child({ machineId }) },
    ports: {
      dialer: wsDialer,
      disk: nodeDisk,
      http: nodeHttp,
      gpus,
    },
    connectors,
    vitals: () => ({ loopDelayMs: loopDelayMs(), rssBytes: process.memoryUsage.rss() }),
  });
  const health = await serveHealth({
    host: config.healthHost,
    port: config.healthPort,
    source: healthSource(machine),
  });
  const loop = monitorLoop(env.clock, {
    everyMs: 250,
    windowMs: 10_000,
    limitMs: loopLimitMs,
    onChange: (slow, delayMs) =>
      machine.setProblem('event-loop', slow ? `the event loop was ${Math.round(delayMs)} ms late` : null),
  });
  loopDelayMs = () => loop.delayMs();
  machine.start();
  return running({ machine, machineId, health, env, config, release: () => loop.stop() });
}

function running(parts: {
  machine: Machine;
  machineId: string;
  health: HealthServer;
  env: Env;
  config: MachineConfig;
  release: () => void;
}): RunningMachine {
  const { machine, machineId, health, env, config } = parts;
  const stopped = machine.stopped.then(async (end) => {
    parts.release();
    await health.close();
    return end;
  });
  const ready = machine.ready.then(({ incarnation }) => ({
    incarnation,
    readyMs: Math.round(env.clock.monotonic()),
  }));
  // Whoever awaits it sees the failure; a caller that does not must not end the process.
  ready.catch(() => undefined);
  let stops = 0;
  return {
    machineId,
    healthUrl: health.url,
    machine,
    ready,
    stop: (reason) => {
      stops++;
      if (stops === 1) machine.drain(reason, config.drainMs);
      else machine.stop(reason);
    },
    stopped,
  };
}

/** The one line on stdout that a parent process waits for. */
export function machineReadyLine(
  { machineId, healthUrl }: RunningMachine,
  { incarnation, readyMs }: { incarnation: number; readyMs: number },
): string {
  return JSON.stringify({ kind: 'machine.ready', machineId, incarnation, healthUrl, readyMs });
}

function healthSource(machine: Machine): HealthSource {
  const health = () => machine.health();
  return {
    live: () => {
      const { state } = health();
      return { ok: state !== 'stopped', reasons: state === 'stopped' ? ['the machine has stopped'] : [] };
    },
    started: () => {
      const { started, state } = health();
      return { ok: started, reasons: started ? [] : [`the machine is ${state}`] };
    },
    ready: () => {
      const { ready, state, linked, reasons } = health();
      return {
        ok: ready,
        reasons: ready
          ? reasons
          : [`the machine is ${state}${linked ? '' : ' and not linked to a hub'}`, ...reasons],
      };
    },
    verbose: () => ({
      ...health(),
      ...machine.inspect.counters(),
      actors: machine.inspect
        .tree()
        .map(({ path, value, status }) => ({ path, value: JSON.stringify(value), status })),
    }),
  };
}

/**
 * The configured id, or the one kept in the data folder, or a new one from the host name: a machine
 * that comes back with its disk is the same machine.
 */
async function ownId(
  config: MachineConfig,
  { dataDir, env }: { dataDir: string; env: Env },
): Promise<string> {
  try {
    await mkdir(dataDir, { recursive: true });
    if (config.machineId !== null) return config.machineId;
    const path = `${dataDir}/machine-id`;
    const kept = await nodeDisk.readText(path);
    if (kept !== null) return MachineId.parse(kept.trim());
    const host =
      hostname()
        .replace(/[^A-Za-z0-9._-]/g, '-')
        .replace(/^[^A-Za-z0-9]+/, '')
        .slice(0, 32) || 'machine';
    const made = `${host}-${env.newId('m').slice(-8)}`;
    await writeFile(path, `${made}\n`, { flag: 'wx' });
    return made;
  } catch (error) {
    throw new EmpError('CONFIG_INVALID', {
      detail: `EMP_DATA_DIR: ${dataDir} cannot be used: ${toEmpError(error).message}`,
      cause: error,
    });
  }
}
