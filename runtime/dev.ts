import { createServer } from 'node:net';
import { join } from 'node:path';
import type { JsonObject } from '#protocol/json.ts';
import type { HubClient } from './client.ts';
import { systemClock } from './env.ts';
import { FleetProcess } from './fleet-process.ts';
import { quietClient } from './quiet-client.ts';

/**
 * A hub and machines as real processes on this computer, over real sockets on loopback: what `emp dev`,
 * the demo, the benches and the tests of real processes run.
 */

/** `wanted` if nothing listens there, else 0: any free one. */
export async function freePort(wanted: number): Promise<number> {
  if (wanted === 0) return 0;
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(0));
    server.listen(wanted, '127.0.0.1', () => server.close(() => resolve(wanted)));
  });
}

export interface HubLaunch {
  port: number;
  /** Null: the hub keeps everything in a temporary folder and removes it at its end. */
  dataDir: string | null;
  /** Settings of the hub (`EMP_…`). */
  settings?: Record<string, string>;
  signal: AbortSignal;
  onLog?: (line: string) => void;
}

export interface MachineLaunch {
  id: string;
  pool: string;
  /** `service:slots`, e.g. `image:1`. */
  services: string[];
  dataDir: string;
  joinToken: string;
  /** Settings of the machine (`EMP_…`). */
  settings?: Record<string, string>;
  onLog?: (line: string) => void;
}

/** Longest that a child may take to say that it is ready, ms: a machine may wait for a hub that is starting. */
const readyLimitMs = 60_000;

/** The ready line of a child. Rejects with the reason of `signal`, and where the child ends or stays silent. */
export function untilReady(child: FleetProcess, signal: AbortSignal): Promise<JsonObject> {
  return new Promise((resolve, reject) => {
    const onAbort = () => settle(() => reject(signal.reason));
    const timer = systemClock.setTimeout(() => settle(() => reject(child.failure())), readyLimitMs);
    const settle = (act: () => void) => {
      systemClock.clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      act();
    };
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    child.ready.then(
      (line) => settle(() => resolve(line)),
      (error: unknown) => settle(() => reject(error)),
    );
  });
}

/** Trying things out must not reach the stores of a fleet that this shell happens to be set up for. */
const embeddedStores = {
  REDIS_URL: undefined,
  REDIS_SERVER_URL: undefined,
  REDIS_SERVER_TOKEN: undefined,
  DATABASE_URL: undefined,
} as const;

/** Starts `emp hub` on the embedded stores unless `settings` name others; its URL is in the ready line. A start that fails leaves no process. */
export async function startHub(launch: HubLaunch): Promise<{ process: FleetProcess; url: string }> {
  const data = launch.dataDir === null ? [] : ['--data', launch.dataDir];
  const child = new FleetProcess({
    name: 'hub',
    args: ['hub', '--json', '--watch-stdin', '--listen', `127.0.0.1:${launch.port}`, ...data],
    env: { ...embeddedStores, ...launch.settings },
    ...(launch.onLog === undefined ? {} : { onLog: launch.onLog }),
  });
  try {
    const line = await untilReady(child, launch.signal);
    return { process: child, url: new URL(String(line['url'])).origin };
  } catch (error) {
    await child.stop();
    throw error;
  }
}

/** Starts `emp machine` against a hub; it is ready when it may claim. */
export function startMachine(hubUrl: string, launch: MachineLaunch): FleetProcess {
  return new FleetProcess({
    name: `machine ${launch.id}`,
    args: [
      'machine',
      '--json',
      '--watch-stdin',
      '--hub',
      hubUrl,
      '--id',
      launch.id,
      '--pool',
      launch.pool,
      '--services',
      launch.services.join(','),
      '--data',
      launch.dataDir,
    ],
    // In the environment, not in the arguments: those are shown to every user of the computer.
    env: { ...launch.settings, EMP_JOIN_TOKEN: launch.joinToken },
    ...(launch.onLog === undefined ? {} : { onLog: launch.onLog }),
  });
}

/** Who presses Ctrl-C does not want to wait for long jobs: they are given back after two seconds. */
export const shortDrain = { EMP_DRAIN_MS: '2000' } as const;

export interface MachineSpec {
  id: string;
  pool: string;
  services: readonly string[];
  settings?: Record<string, string>;
}

export interface FleetOptions {
  hub: Omit<HubLaunch, 'onLog' | 'signal'>;
  machines: readonly MachineSpec[];
  /** Folder under which each machine gets one of its own. */
  machinesDir: string;
  /** Done between the start of the hub and that of the machines, e.g. registering models. */
  prepare?: (client: HubClient) => Promise<void>;
  onLog?: (process: string, line: string) => void;
  signal: AbortSignal;
}

/** Running hub and machines; `stop` ends them all, machines first so that they leave in good order. */
export class Fleet {
  readonly hub: FleetProcess;
  readonly url: string;
  readonly client: HubClient;
  readonly machines: FleetProcess[] = [];
  readonly #options: FleetOptions;

  constructor(options: FleetOptions, hub: { process: FleetProcess; url: string }) {
    this.#options = options;
    this.hub = hub.process;
    this.url = hub.url;
    this.client = quietClient(hub.url);
  }

  /** Resolves when every machine may claim. A failed start ends what it had started. */
  static async start(options: FleetOptions): Promise<Fleet> {
    const onLog = (line: string) => options.onLog?.('hub', line);
    const fleet = new Fleet(options, await startHub({ ...options.hub, onLog, signal: options.signal }));
    try {
      options.signal.throwIfAborted();
      await options.prepare?.(fleet.client);
      await Promise.all(options.machines.map((machine) => fleet.addMachine(machine)));
      options.signal.throwIfAborted();
      return fleet;
    } catch (error) {
      await fleet.stop();
      throw error;
    }
  }

  /** Starts one more machine and resolves when it may claim. */
  async addMachine(spec: MachineSpec): Promise<FleetProcess> {
    const { token } = await this.client.joinToken({ signal: this.#options.signal });
    this.#options.signal.throwIfAborted();
    const machine = startMachine(this.url, {
      ...spec,
      services: [...spec.services],
      dataDir: join(this.#options.machinesDir, spec.id),
      joinToken: token,
      onLog: (line) => this.#options.onLog?.(spec.id, line),
    });
    this.machines.push(machine);
    await untilReady(machine, this.#options.signal);
    return machine;
  }

  /** The first process that ends by itself. */
  firstEnd(): Promise<FleetProcess> {
    return Promise.race([this.hub, ...this.machines].map((child) => child.ended.then(() => child)));
  }

  async stop(): Promise<void> {
    await Promise.all(this.machines.map((machine) => machine.stop()));
    await this.hub.stop();
  }
}
