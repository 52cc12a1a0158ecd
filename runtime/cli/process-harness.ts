import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RecordedEvent } from '#protocol/records.ts';
import type { HubClient } from '#runtime/client.ts';
import { type MachineSpec, startHub, startMachine, untilReady } from '#runtime/dev.ts';
import type { FleetProcess } from '#runtime/fleet-process.ts';
import { quietClient } from '#runtime/quiet-client.ts';

/**
 * Real processes for fault tests: a hub that can be killed and started again on its port and data, and
 * machines that can be killed, frozen and doubled. Tests wait for recorded events, never for a time.
 */

/** Repetitions of a fault run: `EMP_REPEAT`, else 1. */
export const repetitions: number[] = Array.from(
  { length: Math.max(1, Number(process.env['EMP_REPEAT'] ?? 1)) },
  (_, index) => index + 1,
);

export interface WorldOptions {
  /** Lease of a machine, ms. */
  leaseTtlMs?: number;
  machines?: number;
  /** Further settings of the hub (`EMP_…`). */
  settings?: Record<string, string>;
}

/** Every recorded event in order, as one client saw them over all restarts of the hub. */
export class EventLog {
  readonly all: RecordedEvent[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #stop = new AbortController();
  #failure: unknown = null;
  readonly #reading: Promise<void>;

  constructor(client: HubClient) {
    this.#reading = this.#read(client);
  }

  async #read(client: HubClient): Promise<void> {
    try {
      for await (const event of client.follow({ after: 0, signal: this.#stop.signal })) {
        this.all.push(event);
        this.#tell();
      }
    } catch (error) {
      this.#failure = error;
      this.#tell();
    }
  }

  #tell(): void {
    for (const check of [...this.#waiting]) check();
  }

  /** The first event that matches, at once if it is there, else when it is recorded. */
  until(matches: (event: RecordedEvent) => boolean): Promise<RecordedEvent> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const found = this.all.find(matches);
        if (found === undefined && this.#failure === null) return;
        this.#waiting.delete(check);
        if (found !== undefined) resolve(found);
        else reject(this.#failure);
      };
      this.#waiting.add(check);
      check();
    });
  }

  untilJob(jobId: string, type: string): Promise<RecordedEvent> {
    return this.until((event) => event.jobId === jobId && event.type === type);
  }

  /** Types of a job's events in order; repeated progress is one. */
  story(jobId: string): string[] {
    const types = this.all
      .filter((event) => event.jobId === jobId)
      .map(({ type }) => type.replace('job.', ''));
    return types.filter((type, index) => type !== 'progressed' || types[index - 1] !== 'progressed');
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#reading;
  }
}

export class World {
  readonly dir: string;
  readonly url: string;
  readonly client: HubClient;
  readonly events: EventLog;
  readonly #settings: Record<string, string>;
  readonly #processes: FleetProcess[] = [];
  readonly #end = new AbortController();
  hub: FleetProcess;

  constructor(options: { dir: string; url: string; hub: FleetProcess; settings: Record<string, string> }) {
    this.dir = options.dir;
    this.url = options.url;
    this.hub = options.hub;
    this.#settings = options.settings;
    this.#processes.push(options.hub);
    this.client = quietClient(options.url);
    this.events = new EventLog(this.client);
  }

  static async start(options: WorldOptions = {}): Promise<World> {
    const dir = await mkdtemp(join(tmpdir(), 'emp-world-'));
    const settings = { EMP_LEASE_TTL_MS: String(options.leaseTtlMs ?? 1_000), ...options.settings };
    const { process: hub, url } = await startHub({
      port: 0,
      dataDir: join(dir, 'hub'),
      settings,
      signal: new AbortController().signal,
    });
    const world = new World({ dir, url, hub, settings });
    const names = ['a', 'b', 'c', 'd'].slice(0, options.machines ?? 2);
    await Promise.all(names.map((name) => world.machine({ id: `machine-${name}` })));
    return world;
  }

  /** A machine that runs one simulated job at a time; resolves when it may claim. */
  async machine(
    spec: Pick<MachineSpec, 'id'> & Partial<MachineSpec> & { folder?: string },
  ): Promise<FleetProcess> {
    const { token } = await this.client.joinToken();
    const machine = startMachine(this.url, {
      pool: 'fast-lane',
      ...spec,
      services: [...(spec.services ?? ['simulation:1'])],
      dataDir: join(this.dir, spec.folder ?? spec.id),
      joinToken: token,
    });
    this.#processes.push(machine);
    await untilReady(machine, this.#end.signal);
    return machine;
  }

  /** The running process of a machine. */
  processOf(machineId: string | null): FleetProcess {
    const found = this.#processes.find(({ name, isRunning }) => isRunning && name === `machine ${machineId}`);
    if (found === undefined) throw new Error(`no process of ${machineId} runs`);
    return found;
  }

  /** Submits a simulated job; it takes `durationMs` and reports progress every 100 ms. */
  async submit(durationMs: number, change: { machineId?: string; outputs?: number } = {}): Promise<string> {
    const { job } = await this.client.submit({
      service: 'simulation',
      payload: { durationMs, progressSteps: Math.ceil(durationMs / 100), outputs: change.outputs ?? 0 },
      requirements: change.machineId === undefined ? {} : { machineId: change.machineId },
    });
    return job.id;
  }

  /** Resolves once the job is in its middle, with the process that runs it. */
  async running(jobId: string): Promise<{ machineId: string; process: FleetProcess }> {
    const { machineId } = await this.events.untilJob(jobId, 'job.progressed');
    return { machineId: machineId ?? '?', process: this.processOf(machineId) };
  }

  /** Resolves once the hub has heard that the machine is in this state, or that it has left. */
  async reported(machineId: string, state: string): Promise<void> {
    for (;;) {
      const row = (await this.client.machines({ all: true })).find(
        (machine) => machine.machineId === machineId,
      );
      if (row?.report['state'] === state || row?.state === 'left') return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Starts a hub on the port and data of the one that has ended. */
  async restartHub(): Promise<void> {
    const { process: hub } = await startHub({
      port: Number(new URL(this.url).port),
      dataDir: join(this.dir, 'hub'),
      settings: this.#settings,
      signal: this.#end.signal,
    });
    this.hub = hub;
    this.#processes.push(hub);
  }

  async stop(): Promise<void> {
    this.#end.abort(new Error('the test is over'));
    await this.events.close();
    for (const child of this.#processes) child.kill('SIGKILL');
    await Promise.all(this.#processes.map((child) => child.ended));
    await rm(this.dir, { recursive: true, force: true });
  }
}
