import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { cpuGpus } from '#actors/gpu.ts';
import type { EvictionRule } from '#machines/policy/eviction.ts';
import type { TimerId } from '#protocol/env.ts';
import type { MachineClass } from '#protocol/requirements.ts';
import { composeMachine, type Machine } from '#runtime/compose-machine.ts';
import { machineSettings } from '#runtime/machine-settings.ts';
import type { SimEnv } from '#simulations/sim-env.ts';
import type { SimNetwork } from '#simulations/sim-link.ts';
import type { SimObjects } from '#simulations/sim-objects.ts';
import { SimProcess } from '#simulations/sim-process.ts';
import { scaledBytes, scaledRate } from './byte-scale.ts';
import { dayConnector } from './day-connector.ts';
import { DayDisk } from './day-disk.ts';
import { dayHttp } from './day-http.ts';
import type { DayWatch } from './day-watch.ts';
import type { MachineKind, PlannedJob, PlannedMachine, PlannedModel } from './plan.ts';
import type { SharedPipe } from './shared-pipe.ts';
import { SlowClock } from './slow-clock.ts';

/** What every machine of a day shares. */
export interface DayFloor {
  env: SimEnv;
  network: SimNetwork;
  objects: SimObjects;
  pipe: SharedPipe;
  hubUrls: string[];
  joinToken: string;
  jobs: ReadonlyMap<string, PlannedJob>;
  models: ReadonlyMap<string, PlannedModel>;
  watch: DayWatch;
  eviction: EvictionRule;
  /** Failed runs by job, of all machines together. */
  failed: Map<string, number>;
}

const dataDir = '/data';
const cachePath = 'tree/cache';
/** Between the drain deadline and the provider's kill, ms. */
const graceMs = 10_000;
/** A machine without work whose hub has been silent for this long slows down, ms. */
const restAfterMs = 20_000;
/** Its beats then come after 2.5 × 20 s at most: within the lease time of 60 s. */
const restFactor = 2.5;
/** Nothing fails by itself in a day: services and cards are looked at less often than the defaults say. */
const daySettings = {
  ...machineSettings,
  connector: { ...machineSettings.connector, probeEveryMs: 600_000 },
  gpu: { ...machineSettings.gpu, readEveryMs: 900_000 },
  cache: { ...machineSettings.cache, reserveBytes: 0 },
};
/** Room for manifests, staged files and the identity: none of it is scaled. */
const smallFilesBytes = 4_000_000;

/** What a machine of the plan says of itself, its services aside. */
function ownClass(plan: MachineKind): Omit<MachineClass, 'services'> {
  const { pool, vramMb, ramMb } = plan;
  const diskMb = Math.floor(plan.diskBytes / 1_048_576);
  return { pool, vramMb, ramMb, diskMb, cpuCores: 8, tags: [], region: null };
}

/** The class under which hubs know it. */
export function machineClassOf(plan: MachineKind): MachineClass {
  const { service, version } = simulationSpec;
  return { ...ownClass(plan), services: [{ service, version, slots: 1 }] };
}

/** One rental: the machine that ships, on ports of its own, from its start to its end. */
export class DayMachine {
  readonly plan: PlannedMachine;
  readonly #floor: DayFloor;
  readonly #process: SimProcess;
  readonly #machine: Machine;
  readonly #clock: SlowClock;
  #over = false;
  readonly #copies = new Set<string>();
  #jobs = 0;
  #restTimer: TimerId = null;

  constructor(floor: DayFloor, plan: PlannedMachine) {
    this.plan = plan;
    this.#floor = floor;
    this.#clock = new SlowClock(floor.env.clock);
    this.#process = new SimProcess({
      name: plan.id,
      world: { clock: this.#clock, process: (name) => floor.env.process(name) },
    });
    const { env } = this.#process;
    const { jobs, models, watch, objects, pipe, network, failed } = floor;
    const budgetBytes = scaledBytes(plan.diskBytes);
    this.#machine = composeMachine({
      config: {
        machineId: plan.id,
        hubUrls: floor.hubUrls,
        joinToken: floor.joinToken,
        machineClass: ownClass(plan),
        dataDir,
        budgetBytes,
        software: 'simulation',
        settings: { ...daySettings, cache: { ...daySettings.cache, eviction: floor.eviction } },
      },
      env,
      ports: {
        dialer: network.dialer(this.#process),
        disk: new DayDisk({
          capacityBytes: budgetBytes + smallFilesBytes,
          modelsFolder: `${dataDir}/models`,
          onDisk: (modelId) => {
            watch.model({ machineId: plan.id, modelId, became: 'onDisk' });
            this.#copied(modelId);
          },
          evicted: (modelId) => watch.model({ machineId: plan.id, modelId, became: 'evicted' }),
        }),
        http: dayHttp({
          objects,
          clock: env.clock,
          link: pipe.link(scaledRate(plan.downBytesPerMs)),
          onBytes: (bytes) => watch.downloaded({ machineId: plan.id, scaledBytes: bytes }),
        }),
        gpus: cpuGpus({ name: plan.gpu, memoryMb: plan.vramMb, freeMemoryMb: () => plan.vramMb }),
      },
      connectors: {
        [simulationSpec.service]: {
          factory: dayConnector({ machine: plan, jobs, models, watch, failed }),
          slots: 1,
        },
      },
    });
  }

  start(): void {
    this.#floor.watch.machineStarted(this.plan.id);
    this.#process.enter(() => this.#machine.start());
    this.#rest();
    // A machine may also end by itself, as a drained one does.
    void this.#machine.stopped.then(() => this.#end('clean'));
    const { away } = this.plan;
    if (away !== null) this.#at(away.fromMs, () => this.#cutOff(away.untilMs));
  }

  #at(atMs: number, fn: () => void): void {
    const { clock } = this.#floor.env;
    clock.setTimeout(fn, atMs - clock.monotonic());
  }

  /** Works on alone: nothing that it says arrives and nothing reaches it, until it is back. */
  #cutOff(untilMs: number): void {
    if (this.#over) return;
    this.#wake();
    const reconnect = this.#floor.network.partition((dialer) => dialer === this.plan.id);
    this.#at(untilMs, reconnect);
  }

  /** What its plan says about the end. */
  finish(): void {
    if (this.#over) return;
    if (this.plan.ending === 'scale-in') this.drain();
    else this.#end('silent');
  }

  /** The fleet shrinks: it takes no more work, and has some time to end what it does. */
  drain(): void {
    if (this.#over) return;
    const { drainMs } = this.plan;
    this.#wake();
    this.#floor.watch.machineDraining(this.plan.id);
    this.#process.enter(() => this.#machine.drain('the fleet shrinks', drainMs));
    // The provider does not wait for ever.
    this.#floor.env.clock.setTimeout(() => this.#end('silent'), drainMs + graceMs);
  }

  /** Fetches a model that no job here has asked for, as its cache would for a job. */
  copy(modelId: string): void {
    if (this.#over) return;
    const run = `copy/${modelId}`;
    this.#copies.add(modelId);
    this.#toCache({
      type: 'models.want',
      run,
      jobId: run,
      service: simulationSpec.service,
      models: [modelId],
    });
  }

  /** The copy has arrived: nothing pins it any more. */
  #copied(modelId: string): void {
    if (this.#copies.delete(modelId)) this.#toCache({ type: 'models.release', run: `copy/${modelId}` });
  }

  #toCache(event: { type: string } & Record<string, unknown>): void {
    const { inspect } = this.#machine;
    const cache = inspect.tree().find((actor) => actor.path === cachePath);
    if (cache !== undefined) this.#process.enter(() => void inspect.send(cache.address, event));
  }

  /** It was given a job, or one of its jobs is over. */
  holds(change: 1 | -1): void {
    this.#jobs += change;
    this.#wake();
    if (this.#jobs <= 0) this.#rest();
  }

  /** A frame of the hub that is no answer reached it: it may be about to claim. */
  told(): void {
    this.#wake();
    if (this.#jobs <= 0) this.#rest();
  }

  #wake(): void {
    this.#floor.env.clock.clearTimeout(this.#restTimer);
    this.#clock.factor = 1;
  }

  /** Slows down once nothing has come for a while. */
  #rest(): void {
    const { clock } = this.#floor.env;
    clock.clearTimeout(this.#restTimer);
    this.#restTimer = clock.setTimeout(() => {
      this.#clock.factor = restFactor;
    }, restAfterMs);
  }

  #end(how: 'clean' | 'silent'): void {
    if (this.#over) return;
    this.#over = true;
    this.#floor.env.clock.clearTimeout(this.#restTimer);
    this.#process.kill();
    this.#floor.network.processEnded(this.plan.id, how);
    this.#floor.watch.machineEnded(this.plan.id);
  }
}
