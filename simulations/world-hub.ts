import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { composeHub, type HubCore } from '#runtime/compose-hub.ts';
import { HubConfig } from '#runtime/hub-config.ts';
import { type BrokerFaults, brokerFaults, faultyBroker } from './faulty-broker.ts';
import { faultyRecords, type RecordsFaults, recordsFaults } from './faulty-records.ts';
import { observing } from './observation.ts';
import type { PortLayer } from './port-layer.ts';
import { SimProcess } from './sim-process.ts';
import { storeLatency } from './store-latency.ts';
import type { World } from './world.ts';

const joinTokenMs = 24 * 3_600_000;

/** One hub of a world, through its crashes: each start is a new process with nothing of the one before. */
export class WorldHub {
  readonly name: string;
  readonly url: string;
  readonly broker: BrokerFaults;
  readonly records: RecordsFaults;
  readonly #world: World;
  #process: SimProcess;
  #core: HubCore | null = null;
  #starts = 0;

  constructor(world: World, index: number) {
    this.#world = world;
    this.name = `hub-${index + 1}`;
    this.url = `ws://${this.name}.sim`;
    this.broker = brokerFaults(world.env.clock);
    this.records = recordsFaults(world.env.clock);
    this.#process = new SimProcess({ name: this.name, world: world.env });
  }

  get process(): SimProcess {
    return this.#process;
  }

  get core(): HubCore {
    if (!this.#core) throw new Error(`${this.name} is not running`);
    return this.#core;
  }

  /** Up and listening; a frozen one still looks so from outside. */
  get serving(): boolean {
    return this.#core !== null;
  }

  joinToken(): string {
    const { clock } = this.#world.env;
    return this.core.hub.tokens.join({ id: 'world', nowMs: clock.now(), ttlMs: joinTokenMs }).token;
  }

  /** Starts a new process. Resolves when it listens; retries by itself while the stores do not answer. */
  async start(): Promise<void> {
    const world = this.#world;
    this.#starts++;
    const process =
      this.#starts === 1 ? this.#process : new SimProcess({ name: this.name, world: world.env });
    this.#process = process;
    const core = await this.#compose(process);
    this.#core = core;
    process.enter(() => {
      core.start().catch((error: unknown) => {
        // As in production: a hub that cannot start ends, and whoever runs it starts it again.
        world.trace.note(`${this.name} could not start: ${(error as Error).message}`);
        if (this.#process !== process) return;
        this.crash('clean');
        world.clock.setTimeout(() => this.startLater(), 1_000);
      });
    });
    world.network.listen(this.url, {
      process,
      accept: ({ link, token }) => {
        const session = core.connect(link, { token, baseUrl: 'http://hub.sim' });
        return { open: () => {}, message: (text) => session.message(text), closed: () => session.closed() };
      },
    });
  }

  /** For timers: a start whose failure is noted and tried again. */
  startLater(): void {
    if (this.#core !== null) return;
    this.start().catch((error: unknown) => {
      this.#world.trace.note(`${this.name} could not start: ${(error as Error).message}`);
      this.#world.clock.setTimeout(() => this.startLater(), 1_000);
    });
  }

  /** Ends the process wherever it stands; calls that it has sent may still be done. */
  crash(how: 'clean' | 'silent'): void {
    if (this.#core === null) return;
    this.#core = null;
    this.#process.kill();
    this.#world.network.processEnded(this.name, how);
  }

  async #compose(process: SimProcess): Promise<HubCore> {
    const { stores, env, options, objects } = this.#world;
    const layers = (port: string): { above: PortLayer[]; below: PortLayer[] } => ({
      above: [(_call, next) => process.receive(next())],
      below: [
        storeLatency({
          clock: env.clock,
          rng: env.rng.fork(`${port} of ${this.name}`),
          usualMs: 3,
          slowChance: 0.01,
          slowMs: 400,
        }),
        observing((seen) => this.#world.observe(seen)),
      ],
    });
    const records = await stores.records();
    const broker = await stores.broker();
    const core = composeHub({
      config: HubConfig.parse({ hubId: `${this.name}-${this.#starts}`, leaseTtlMs: options.leaseTtlMs }),
      env: process.env,
      ports: {
        records: faultyRecords(records, { process: this.name, faults: this.records, ...layers('records') }),
        broker: faultyBroker(broker, { process: this.name, faults: this.broker, ...layers('broker') }),
        objects,
      },
      services: [simulationSpec],
    });
    return await this.#advanceUntil(core);
  }

  /** Composition asks Records for a secret, through the same delays as everything else. */
  async #advanceUntil<T>(promise: Promise<T>): Promise<T> {
    const { clock } = this.#world;
    let done = false;
    const ended = promise.finally(() => {
      done = true;
    });
    // While the world runs its driver moves the clock; before it does, nobody else would.
    while (!done && this.#world.steps === 0 && clock.step()) await clock.settle();
    return await ended;
  }
}
