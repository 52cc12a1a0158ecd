import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { decodeHubFrame, encodeHubFrame, type HubFrame, type HubFrameType } from '#protocol/hub-link.ts';
import { type MemoryServer, memoryBroker, memoryServer } from '#protocol/memory/memory-broker.ts';
import type { PeerLink } from '#protocol/peer.ts';
import type { Records } from '#protocol/records.ts';
import { openSqliteRecords } from '#protocol/sqlite/records.ts';
import { composeHub, type HubCore } from '#runtime/compose-hub.ts';
import type { Hub } from '#runtime/hub/hub.ts';
import { cpuClass, RigMachine } from '#runtime/hub/hub-rig.ts';
import { submitJob } from '#runtime/hub/submit.ts';
import { HubConfig, type HubConfigInput } from '#runtime/hub-config.ts';
import { type PortLayer, withLayers } from './port-layer.ts';
import { type SimEnv, simEnv } from './sim-env.ts';
import { SimNetwork } from './sim-link.ts';
import { SimObjects } from './sim-objects.ts';
import { SimProcess } from './sim-process.ts';

const stepMs = 10;
const untilLimitMs = 120_000;

/** Several hubs on one store, on a simulated network and the virtual clock. */
export class PeerWorld {
  readonly env: SimEnv;
  readonly network: SimNetwork;
  readonly server: MemoryServer;
  readonly records: Records;
  readonly hubs: RigHub[] = [];
  readonly #config: HubConfigInput;

  private constructor(options: { config: HubConfigInput; env: SimEnv; records: Records }) {
    const { clock } = options.env;
    this.env = options.env;
    this.#config = { leaseTtlMs: 30_000, ...options.config };
    this.records = options.records;
    this.network = new SimNetwork({
      clock,
      rng: this.env.rng.fork('network'),
      latencyMs: { min: 1, max: 3 },
    });
    const { leaseTtlMs, priorityBoostMs } = HubConfig.parse(this.#config);
    this.server = memoryServer({ settings: { leaseTtlMs, priorityBoostMs }, clock, name: 'server-1' });
  }

  static async open(config: HubConfigInput = {}): Promise<PeerWorld> {
    const env = simEnv({ seed: 'peers' });
    const records = await openSqliteRecords({ path: ':memory:', clock: env.clock, rng: env.rng });
    return new PeerWorld({ config, env, records });
  }

  get clock(): SimEnv['clock'] {
    return this.env.clock;
  }

  /** A process of a hub, started; announced where it is reached unless `url` says otherwise. */
  async hub(hubId: string, options: { config?: HubConfigInput; url?: string | null } = {}): Promise<RigHub> {
    const process = new SimProcess({ name: `${hubId}#${this.hubs.length + 1}`, world: this.env });
    const layers: PortLayer[] = [(_call, next) => process.receive(next())];
    const port = <T extends object>(name: string, value: T): T =>
      withLayers(value, { process: process.name, port: name, layers });
    const core = await composeHub({
      config: HubConfig.parse({ ...this.#config, ...options.config, hubId }),
      env: process.env,
      ports: {
        records: port('records', this.records),
        broker: port('broker', memoryBroker(this.server)),
        objects: new SimObjects({ clock: this.clock }),
      },
      services: [simulationSpec],
      dialer: this.network.dialer(process),
    });
    await core.start();
    const hub = new RigHub({ world: this, process, core });
    this.hubs.push(hub);
    const { url = `http://${hubId}.sim` } = options;
    if (url !== null) hub.listen(`ws://${new URL(url).host}/v1/peer`);
    core.announce(url);
    await this.clock.settle();
    return hub;
  }

  /** Steps on until `check` holds; the error names what never came. */
  async until(what: string, check: () => boolean | Promise<boolean>, limitMs = untilLimitMs): Promise<void> {
    for (let passed = 0; passed <= limitMs; passed += stepMs) {
      if (await check()) return;
      await this.clock.advanceBy(stepMs);
    }
    throw new Error(`${what}: not within ${limitMs} ms\n${this.env.ring.text(this.clock.now())}`);
  }

  /** Until every hub that runs is linked to every other. */
  async linked(): Promise<void> {
    await this.until('links between all hubs', () => {
      const alive = this.hubs.filter((hub) => hub.process.state === 'running' && !hub.hub.stopping);
      const all = alive.map((each) => each.hub.hubId);
      return alive.every((each) => all.every((id) => id === each.hub.hubId || each.links().includes(id)));
    });
  }

  async close(): Promise<void> {
    for (const hub of this.hubs) hub.process.kill();
    await this.records.close();
  }
}

export class RigHub {
  readonly process: SimProcess;
  readonly core: HubCore;
  readonly #world: PeerWorld;

  constructor(options: { world: PeerWorld; process: SimProcess; core: HubCore }) {
    this.#world = options.world;
    this.process = options.process;
    this.core = options.core;
  }

  get hub(): Hub {
    return this.core.hub;
  }

  listen(url: string): void {
    this.#world.network.listen(url, {
      process: this.process,
      accept: ({ link, token }) => {
        let session: ReturnType<HubCore['acceptPeer']> = null;
        return {
          // Only now the link takes frames, as a socket does after its upgrade.
          open: () => {
            session = this.core.acceptPeer(link, { token: token === '' ? null : token });
          },
          message: (text) => session?.message(text),
          closed: (info) => session?.closed(info),
        };
      },
    });
  }

  /** Hubs to which a link is open. */
  links(): string[] {
    return this.hub.peers
      .list()
      .filter((peer) => peer.linked)
      .map((peer) => peer.hubId);
  }

  async machine(
    machineId: string,
    options: { token?: string; incarnation?: number } = {},
  ): Promise<RigMachine> {
    const { clock } = this.#world;
    const token =
      options.token ?? this.hub.tokens.join({ id: 'rig', nowMs: clock.now(), ttlMs: 3_600_000 }).token;
    const machine = new RigMachine({ core: this.core, token, settle: () => clock.advanceBy(1) });
    machine.welcome = await machine.ask('hello', {
      machineId,
      incarnation: options.incarnation ?? null,
      machineClass: cpuClass,
      software: 'rig',
    });
    return machine;
  }

  async submit(id: string, more: object = {}): Promise<void> {
    await submitJob(this.hub, { service: 'simulation', id, ...more }, { traceparent: null });
  }

  /** Ends without a word; the kernel closes its sockets. */
  kill(): void {
    this.process.kill();
    this.#world.network.processEnded(this.process.name, 'clean');
  }
}

/** Something that speaks to a hub as another hub would, or worse. */
export class RawPeer {
  readonly frames: { type: string; body: unknown }[] = [];
  closed: { code: number; reason: string } | null = null;
  link: PeerLink | null = null;

  constructor(world: PeerWorld, options: { url: string; token: string }) {
    const process = new SimProcess({ name: 'stranger', world: world.env });
    world.network.dialer(process).dial({
      ...options,
      handlers: {
        open: (link) => {
          this.link = link;
        },
        message: (text) => {
          const decoded = decodeHubFrame(text);
          if (decoded.kind !== 'ok') throw new Error(`the hub sent ${text}`);
          this.frames.push(decoded.frame);
        },
        closed: (info) => {
          this.closed = info;
        },
      },
    });
  }

  send<T extends HubFrameType>(type: T, body: HubFrame<T>): void {
    this.raw(encodeHubFrame(type, body));
  }

  raw(text: string): void {
    this.link?.send(text);
  }
}
