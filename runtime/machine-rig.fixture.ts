import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { onTestFinished } from 'vitest';
import { z } from 'zod';
import { cpuGpus } from '#actors/gpu.ts';
import { nodeDisk } from '#actors/node-disk.ts';
import { nodeHttp } from '#actors/node-http.ts';
import type { Connector, ConnectorRun } from '#protocol/connector.ts';
import type { Disk } from '#protocol/disk.ts';
import { EmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';
import { wsDialer } from '#protocol/peer/ws-dialer.ts';
import { composeMachine, type Machine } from './compose-machine.ts';
import { systemEnv } from './env.ts';
import { processLog } from './log.ts';
import { TestHub } from './machine-hub.fixture.ts';
import { type MachineSettings, machineSettings } from './machine-settings.ts';
import type { MachineOptions } from './machine-tree.ts';

export interface MachineRig {
  hub: TestHub;
  machine: Machine;
  /** Runs that began, in order; a test ends each by hand unless the payload says `auto`. */
  runs: (ConnectorRun & { finish(): void; fail(error: Error): void })[];
  began(count: number): Promise<void>;
  dir: string;
}

/** A connector that runs a job for as long as the test wants. */
function testConnector(runs: MachineRig['runs'], onRun: () => void): Connector {
  return {
    spec: {
      service: 'test',
      version: '1',
      payload: z.looseObject({}) as z.ZodType<JsonObject>,
      models: () => [],
      expectedMs: () => 100,
      inputs: { min: 0, max: 16 },
    },
    start: async () => undefined,
    probe: async () => undefined,
    run: (run) =>
      new Promise((resolve, reject) => {
        const finish = async () => {
          if (run.payload['output'] === undefined) return resolve({ outputs: [], data: { ok: true } });
          await writeFile(`${run.outDir}/out.txt`, String(run.payload['output']));
          resolve({
            outputs: [{ name: 'out.txt', path: `${run.outDir}/out.txt`, mime: 'text/plain' }],
            data: null,
          });
        };
        run.signal.addEventListener('abort', () => reject(new EmpError('LEASE_LOST')), { once: true });
        runs.push({ ...run, finish: () => void finish(), fail: reject });
        onRun();
        if (run.payload['auto'] === true) void finish();
      }),
    evict: async () => undefined,
    stop: async () => undefined,
  };
}

/** A whole machine on real sockets and a real disk, linked to a hub in the hands of the test. */
export async function machineRig(
  options: {
    slots?: number;
    settings?: Partial<MachineSettings>;
    budgetBytes?: number;
    /** Data folder of an earlier machine; a new one if absent. */
    dir?: string;
    disk?: Disk;
    hub?: (hub: TestHub) => void;
  } = {},
): Promise<MachineRig> {
  const dir = options.dir ?? (await mkdtemp(`${tmpdir()}/emp-machine-`));
  const hub = await new TestHub().listen();
  options.hub?.(hub);
  const runs: MachineRig['runs'] = [];
  const waiters: { count: number; resolve: () => void }[] = [];
  const onRun = () => {
    for (const waiter of waiters) if (runs.length >= waiter.count) waiter.resolve();
  };
  const config: MachineOptions['config'] = {
    machineId: 'm1',
    hubUrls: [hub.url],
    joinToken: 'join',
    machineClass: {
      pool: 'standard',
      vramMb: 0,
      ramMb: 1_000,
      diskMb: 1_000,
      cpuCores: 2,
      tags: [],
      region: null,
    },
    dataDir: dir,
    budgetBytes: options.budgetBytes ?? 1_000_000,
    software: 'test',
    settings: { ...machineSettings, ...options.settings },
  };
  const machine = composeMachine({
    config,
    env: systemEnv(processLog({ level: 'silent', fields: {} })),
    ports: {
      dialer: wsDialer,
      disk: options.disk ?? nodeDisk,
      http: nodeHttp,
      gpus: cpuGpus({ name: 'cpu', memoryMb: 1_000, freeMemoryMb: () => 1_000 }),
    },
    connectors: { test: { factory: () => testConnector(runs, onRun), slots: options.slots ?? 1 } },
  });
  onTestFinished(async () => {
    machine.kill();
    await hub.close();
    await rm(dir, { recursive: true, force: true });
  });
  machine.start();
  const began = (count: number) =>
    runs.length >= count
      ? Promise.resolve()
      : new Promise<void>((resolve) => waiters.push({ count, resolve }));
  return { hub, machine, runs, began, dir };
}
