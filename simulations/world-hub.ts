import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { type Clock, sleep } from '#protocol/env.ts';
import { hubLinkPath } from '#protocol/hub-link.ts';
import type { PeerDialer } from '#protocol/peer.ts';
import { composeHub, type HubCore } from '#runtime/compose-hub.ts';
import { HubConfig } from '#runtime/hub-config.ts';
import type { Buggify } from './buggify.ts';
import { type BrokerFaults, brokerFaults, faultyBroker } from './faulty-broker.ts';
import { faultyRecords, type RecordsFaults, recordsFaults } from './faulty-records.ts';
import { observing } from './observation.ts';
import type { PortLayer } from './port-layer.ts';
import type { SimConnection } from './sim-link.ts';
import { SimProcess } from './sim-process.ts';
import { storeLatency } from './store-latency.ts';
import type { World } from './world.ts';
import { simulatedObjects } from './world-objects.ts';

const joinTokenMs = 24 * 3_600_000;
/** A call of a store that waits for a lock waits up to so long, ms. */
const lockLimitMs = 2_000;

function lockedStore(clock: Clock, buggify: Buggify): PortLayer {
  return async (_call, next) => {
    if (buggify.fires('store.slow')) await sleep(clock, buggify.amount('store.slow', 0, lockLimitMs));
    return await next();
  };
}

/** One hub of a world, through its crashes: each start is a new process with nothing of the one before. */
export class WorldHub {
  readonly name: string;
  readonly url: string;
  readonly broker: BrokerFaults;
  readonly records: RecordsFaults;
  readonly #world: World;
  /** Where other hubs reach it. */
  readonly #url: string;
  readonly #peerUrl: string;
  #process: SimProcess;
  #core: HubCore | null = null;
  #starts = 0;
  #isStarting = false;
  /** Faults under way that keep other hubs out of reach. */
  #partitions = 0;

  constructor(world: World, index: number) {
    this.#world = world;
    this.name = `hub-${index + 1}`;
    this.url = `ws://${this.name}.sim`;
    this.#url = `http://${this.name}.sim`;
    this.#peerUrl = `${this.url}${hubLinkPath}`;
    this.broker = brokerFaults(world.env.clock);
    this.records = recordsFaults(world.env.clock);
    this.#process = this.#newProcess();
  }

  #newProcess(): SimProcess {
    const { env, options } = this.#world;
    const { buggify } = options;
    return new SimProcess({ name: this.name, world: env, ...(buggify ? { buggify } : {}) });
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
    const process = this.#starts === 1 ? this.#process : this.#newProcess();
    this.#process = process;
    this.#isStarting = true;
    try {
      this.#core = await this.#compose(process);
    } finally {
      this.#isStarting = false;
    }
    const { core } = this;
    process.enter(() => {
      core.start().catch((error: unknown) => {
        // As in production: a hub that cannot start ends, and whoever runs it starts it again.
        world.trace.note(`${this.name} could not start: ${(error as Error).message}`);
        if (this.#process !== process) return;
        this.crash('clean');
        world.clock.setTimeout(() => this.startLater(), 1_000);
      });
    });
    this.#listenForHubs();
    process.enter(() => core.announce(this.#url));
    world.network.listen(this.url, {
      process,
      accept: ({ link, token }) => {
        const session = core.connect(link, { token, baseUrl: 'http://hub.sim' });
        return { open: () => {}, message: (text) => session.message(text), closed: () => session.closed() };
      },
    });
  }

  /** Other hubs reach it from now on. */
  #listenForHubs(): void {
    const core = this.#core;
    if (core === null || this.#partitions > 0) return;
    this.#world.network.listen(this.#peerUrl, {
      process: this.#process,
      accept: ({ link, token }) => {
        let session: ReturnType<HubCore['acceptPeer']> = null;
        return {
          // Only now the link takes frames, as a socket does after its upgrade.
          open: () => {
            session = core.acceptPeer(link, { token });
          },
          message: (text) => session?.message(text),
          closed: (info) => session?.closed(info),
        };
      },
    });
  }

  /** Links to other hubs, dialled by either. */
  peerLinks(): SimConnection[] {
    return this.#world.network.connections(this.name).filter(({ url }) => url.endsWith(hubLinkPath));
  }

  /** No hub reaches it and it hears of none; machines and clients do. Answers the way back. */
  partition(): () => void {
    this.#partitions++;
    this.#world.network.unlisten(this.#peerUrl);
    for (const link of this.peerLinks()) link.set({ up: 'vanishing', down: 'vanishing' });
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#partitions--;
      this.#listenForHubs();
    };
  }

  /** While the others are out of reach a dial gets no answer at all. */
  #dialer(process: SimProcess): PeerDialer {
    const dialer = this.#world.network.dialer(process);
    return { dial: (options) => (this.#partitions > 0 ? { abort: () => {} } : dialer.dial(options)) };
  }

  /** For timers: a start whose failure is noted and tried again. */
  startLater(): void {
    // Whoever is about to be up needs no second process beside it.
    if (this.#core !== null || this.#isStarting) return;
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

  /** Told to end, as in a rolling replacement; `ended` is called when its process is gone. */
  stop(ended: () => void): void {
    const [core, process] = [this.#core, this.#process];
    if (core === null) return ended();
    const gone = () => {
      if (this.#process === process) this.crash('clean');
      ended();
    };
    process.enter(() => {
      core.stop().then(gone, (error: unknown) => {
        this.#world.trace.note(`${this.name} could not stop: ${(error as Error).message}`);
        gone();
      });
    });
  }

  async #compose(process: SimProcess): Promise<HubCore> {
    const { stores, env, options } = this.#world;
    const { buggify } = options;
    const layers = (port: string): { above: PortLayer[]; below: PortLayer[] } => ({
      above: [(_call, next) => process.receive(next())],
      below: [
        ...(buggify ? [lockedStore(env.clock, buggify)] : []),
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
      config: HubConfig.parse({
        hubId: `${this.name}-${this.#starts}`,
        leaseTtlMs: options.leaseTtlMs,
        // A beat: what waits beside an idle machine is judged after three of them.
        holdLimitMs: options.leaseTtlMs / 6,
      }),
      env: process.env,
      ports: {
        records: faultyRecords(records, { process: this.name, faults: this.records, ...layers('records') }),
        broker: faultyBroker(broker, { process: this.name, faults: this.broker, ...layers('broker') }),
        objects: simulatedObjects(this.#world, process),
      },
      services: [simulationSpec],
      dialer: this.#dialer(process),
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
    if (this.#world.steps === 0) await clock.settle();
    while (!done && this.#world.steps === 0 && clock.step()) await clock.settle();
    return await ended;
  }
}
