import type { MachineClass } from '#protocol/requirements.ts';
import { SimDisk } from './sim-disk.ts';
import { SimProcess } from './sim-process.ts';
import { stageClass } from './stage-machine.ts';
import type { World } from './world.ts';

/** What a world needs of a machine's process, model or production. */
export interface RunningMachine {
  start(): void;
  /** Provider's notice: finish or give back, leave, end. `ended` is called when it is over. */
  drain(options: { deadlineMs: number; ended: () => void }): void;
  /** It has ended by itself: superseded by a newer incarnation, or drained. */
  readonly over: boolean;
  /** Paths of living actors that no living parent holds; none for a machine without actors. */
  orphans?(): string[];
  /** What waits at each edge of the process, and how many children the largest family has. */
  depths?(): Record<string, number>;
  /** Linked and ready to work. */
  readonly serving: boolean;
  /** Models that it holds, as its own disk says; null where it has none. */
  resident?(): Promise<string[]>;
  /** The kernel kills its service; nothing for a machine without one. */
  killService?(): void;
  /** An operator's look at it after a bad day: what was given up is tried again. */
  repair?(): void;
}

/** What a machine's surroundings do to whichever of its processes lives. Faults add up. */
export interface MachineWeather {
  /** Time that each call of the disk takes, ms. */
  diskCallMs: number;
  /** Above 0: downloads get a wrong byte; the service answers nothing; the driver is silent. */
  corrupting: number;
  hanging: number;
  gpuLost: number;
}

/** Makes one process of a machine; a restart makes another on the same disk. */
export type MachineMaker = (options: {
  world: World;
  process: SimProcess;
  machineId: string;
  machineClass: MachineClass;
  disk: SimDisk;
  weather: MachineWeather;
}) => RunningMachine;

const diskBytes = 1_000_000_000;
/** Where production machines of a world keep their files, and how many bytes models may take there. */
export const simDataDir = '/data';
export const simBudgetBytes = 2_000_000;

/** What tells machines of one world apart beside their shape; `version` is that of their connector. */
export type MachineTraits = Partial<Omit<MachineClass, 'pool' | 'services'>> & { version?: string };

/** Where the provider put it, and how many slots its owner configured. */
export interface MachineShape {
  pool: string;
  slots: number;
}

/** One rented container through its lives. Twins share its machine id, not its disk. */
export class WorldMachine {
  readonly machineId: string;
  readonly index: number;
  readonly disk = new SimDisk({ capacityBytes: diskBytes });
  readonly weather: MachineWeather = { diskCallMs: 0, corrupting: 0, hanging: 0, gpuLost: 0 };
  /** Taken up by the next start of a process. */
  shape: MachineShape;
  readonly #world: World;
  readonly #twins: SimProcess[] = [];
  #process: SimProcess;
  #running: RunningMachine | null = null;
  #starts = 0;

  constructor(world: World, index: number) {
    this.#world = world;
    this.index = index;
    this.machineId = `machine-${index + 1}`;
    this.shape = { pool: index % 2 === 0 ? 'fast-lane' : 'standard', slots: 2 };
    this.#process = this.#newProcess();
  }

  /** Its present process; twins not included. */
  get process(): SimProcess {
    return this.#process;
  }

  get alive(): boolean {
    return this.#running !== null;
  }

  /** Null while the machine is down. */
  get running(): RunningMachine | null {
    return this.#running;
  }

  /** Empty while the machine is down. */
  orphans(): string[] {
    return this.#running?.orphans?.() ?? [];
  }

  /** Bytes of models on its disk, those on their way included. */
  get cacheBytes(): number {
    return this.disk.bytesUnder(`${simDataDir}/models`);
  }

  get cacheLimitBytes(): number {
    return simBudgetBytes;
  }

  start(): void {
    if (this.#running !== null) return;
    if (this.#process.state === 'dead') this.#process = this.#newProcess();
    this.#running = this.#launch(this.#process, this.disk);
  }

  crash(options: { silent: boolean; disk: 'kept' | 'unsynced lost' | 'wiped' }): void {
    if (this.#running === null) return;
    this.#running = null;
    this.#end(this.#process, options.silent ? 'silent' : 'clean');
    if (options.disk === 'unsynced lost') this.disk.crash();
    if (options.disk === 'wiped') this.disk.wipe();
  }

  /** A second container under the same id; it takes over, and the first must notice. */
  twin(): void {
    const process = this.#newProcess();
    this.#twins.push(process);
    this.#launch(process, new SimDisk({ capacityBytes: diskBytes }));
  }

  drain(options: { deadlineMs: number; ended: () => void }): void {
    const process = this.#process;
    if (this.#running === null || process.state !== 'running') return options.ended();
    const running = this.#running;
    const over = () => {
      if (this.#process !== process || this.#running !== running) return;
      this.#running = null;
      this.#end(process, 'clean');
      options.ended();
    };
    running.drain({ deadlineMs: options.deadlineMs, ended: over });
    // The provider does not wait for ever.
    this.#world.clock.setTimeout(over, options.deadlineMs + 10_000);
  }

  /** Ends every twin, thaws what stands still, starts what has ended: the world is healthy again. */
  heal(): void {
    for (const twin of this.#twins.splice(0)) this.#end(twin, 'clean');
    this.#process.thaw();
    this.#process.skewWall(0);
    this.#running?.repair?.();
    this.revive();
  }

  /** A container whose process has ended, superseded or drained, is started again by its provider. */
  revive(): void {
    if (this.#running?.over) {
      this.#running = null;
      this.#end(this.#process, 'clean');
    }
    this.start();
  }

  #end(process: SimProcess, how: 'clean' | 'silent'): void {
    process.kill();
    this.#world.network.processEnded(process.name, how);
  }

  #newProcess(): SimProcess {
    this.#starts++;
    const { env, options } = this.#world;
    const { buggify } = options;
    return new SimProcess({
      name: `${this.machineId}#${this.#starts}`,
      world: env,
      ...(buggify ? { buggify } : {}),
    });
  }

  #launch(process: SimProcess, disk: SimDisk): RunningMachine {
    const world = this.#world;
    const { pool, slots } = this.shape;
    const own = world.options.traits?.({ index: this.index, starts: this.#starts }) ?? {};
    const { version = '1', ...traits } = own;
    const services = [{ service: 'simulation', version, slots }];
    const machineClass: MachineClass = { ...stageClass, ...traits, pool, services };
    const running = world.options.makeMachine({
      world,
      process,
      machineId: this.machineId,
      machineClass,
      disk,
      weather: this.weather,
    });
    process.enter(() => running.start());
    return running;
  }
}
