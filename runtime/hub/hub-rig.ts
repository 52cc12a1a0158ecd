import type { ServiceSpec } from '#protocol/connector.ts';
import type { Env } from '#protocol/env.ts';
import type { Job, JobError } from '#protocol/job.ts';
import type { JsonObject } from '#protocol/json.ts';
import {
  type Assignment,
  decodeFrame,
  type LinkAnswer,
  type LinkBody,
  type LinkRequestType,
  linkVersion,
} from '#protocol/link.ts';
import { type MemoryServer, memoryBroker, memoryServer } from '#protocol/memory/memory-broker.ts';
import type { Objects } from '#protocol/objects.ts';
import type { MachineClass } from '#protocol/requirements.ts';
import { openSqliteRecords } from '#protocol/sqlite/records.ts';
import { composeHub, type HubCore } from '#runtime/compose-hub.ts';
import { HubConfig, type HubConfigInput } from '#runtime/hub-config.ts';
import type { HubPorts } from './hub.ts';
import { submitJob } from './submit.ts';

/** A whole hub on real embedded stores, with machines that speak frames over plain objects: for tests. */
export interface HubRig {
  core: HubCore;
  ports: HubPorts;
  server: MemoryServer;
  join(options: {
    machineId: string;
    machineClass?: Partial<MachineClass>;
    token?: string;
    incarnation?: number | null;
  }): Promise<RigMachine>;
  submit(id: string, more?: object): Promise<Job>;
  /** The row as Records have it; throws if there is none. */
  row(id: string): Promise<Job>;
  eventTypes(jobId: string): Promise<string[]>;
  /** A second hub on the same stores. */
  another(config?: HubConfigInput): Promise<HubCore>;
}

export const cpuClass: MachineClass = {
  pool: 'standard',
  services: [{ service: 'simulation', version: '1', slots: 2 }],
  vramMb: 0,
  ramMb: 4_096,
  diskMb: 10_000,
  cpuCores: 4,
  tags: [],
  region: null,
};

/** Opens stores, composes and starts a hub. `settle` lets what was begun come to its end. */
export async function hubRig(options: {
  env: Env;
  objects: Objects;
  services: readonly ServiceSpec[];
  config?: HubConfigInput;
  recordsPath?: string;
  settle: () => Promise<void>;
  /** Faults around the ports, for tests of bad days. */
  wrap?: (ports: HubPorts) => HubPorts;
}): Promise<HubRig> {
  const { env, services, settle } = options;
  const config = HubConfig.parse({ ...options.config });
  const { leaseTtlMs, priorityBoostMs } = config;
  const server = memoryServer({
    settings: { leaseTtlMs, priorityBoostMs },
    clock: env.clock,
    name: env.newId('broker'),
  });
  const records = await openSqliteRecords({
    path: options.recordsPath ?? ':memory:',
    clock: env.clock,
    rng: env.rng,
  });
  const plain = { records, broker: memoryBroker(server), objects: options.objects };
  const ports = options.wrap?.(plain) ?? plain;
  const core = await composeHub({ config, env, ports, services });
  await core.start();
  await settle();
  return {
    core,
    ports,
    server,
    async join({ machineId, machineClass = {}, token, incarnation = null }) {
      const bearer =
        token ?? core.hub.tokens.join({ id: 'rig', nowMs: env.clock.now(), ttlMs: 3_600_000 }).token;
      const machine = new RigMachine({ core, token: bearer, settle });
      const hello = {
        machineId,
        incarnation,
        machineClass: { ...cpuClass, ...machineClass },
        software: 'rig',
      };
      machine.welcome = await machine.ask('hello', hello);
      return machine;
    },
    submit: async (id, more = {}) =>
      (await submitJob(core.hub, { service: 'simulation', id, ...more }, { traceparent: null })).job,
    async row(id) {
      const job = await records.getJob(id);
      if (job === null) throw new Error(`no job ${id}`);
      return job;
    },
    eventTypes: async (jobId) =>
      (await records.listEvents({ after: 0, limit: 1_000, jobId })).map((event) => event.type),
    async another(more = {}) {
      const second = await composeHub({
        config: HubConfig.parse({ ...options.config, ...more }),
        env,
        ports,
        services,
      });
      await second.start();
      await settle();
      return second;
    },
  };
}

/** The machine's end of a link, as frames and nothing else. */
export class RigMachine {
  readonly session: ReturnType<HubCore['connect']>;
  readonly notices: { type: string; body: JsonObject }[] = [];
  readonly errors: JobError[] = [];
  welcome: LinkAnswer<'hello'> | null = null;
  closed: { code: number; reason: string } | null = null;
  /** Bytes that the network is said not to have taken yet. */
  buffered = 0;
  readonly #answers = new Map<number, JsonObject>();
  readonly #refusals = new Map<number, JobError>();
  readonly #settle: () => Promise<void>;
  #id = 0;
  #request = 0;

  constructor(options: { core: HubCore; token: string | null; settle: () => Promise<void> }) {
    this.#settle = options.settle;
    const link = {
      send: (text: string) => this.#receive(text),
      bufferedBytes: () => this.buffered,
      close: (code: number, reason: string) => {
        this.closed ??= { code, reason };
      },
    };
    this.session = options.core.connect(link, { token: options.token, baseUrl: 'http://127.0.0.1:1' });
  }

  #receive(text: string): boolean {
    if (this.closed !== null) return false;
    const decoded = decodeFrame(text);
    if (decoded.kind === 'invalid') throw new Error(`the hub sent a bad frame: ${decoded.detail}`);
    const { frame } = decoded;
    if ('error' in frame) this.#refusals.set(frame.re, frame.error);
    else if ('re' in frame) this.#answers.set(frame.re, frame.body);
    else this.notices.push({ type: frame.type, body: frame.body });
    return true;
  }

  raw(text: string): void {
    this.session.message(text);
  }

  /** Sends a request and answers what came back; throws the hub's refusal with its fields, as `code: message`. */
  async ask<T extends LinkRequestType>(type: T, body: LinkBody<T>): Promise<LinkAnswer<T>> {
    const id = ++this.#id;
    this.raw(JSON.stringify({ v: linkVersion, id, type, body }));
    for (let turns = 0; turns < 100 && !this.#answers.has(id) && !this.#refusals.has(id); turns++)
      await this.#settle();
    const refusal = this.#refusals.get(id);
    if (refusal !== undefined) {
      const { code, message, retryable } = refusal;
      throw Object.assign(new Error(`${code}: ${message}`), { code, retryable });
    }
    const answer = this.#answers.get(id);
    if (answer === undefined) throw new Error(`no answer to ${type}`);
    return answer as LinkAnswer<T>;
  }

  async notify(type: string, body: JsonObject): Promise<void> {
    this.raw(JSON.stringify({ v: linkVersion, type, body }));
    await this.#settle();
  }

  claim(
    options: { requestId?: number; service?: string; slots?: number; resident?: string[] } = {},
  ): Promise<LinkAnswer<'claim'>> {
    const requestId = options.requestId ?? ++this.#request;
    const { service = 'simulation', slots = 1, resident = [] } = options;
    return this.ask('claim', { requestId, free: [{ service, slots }], resident });
  }

  beat(
    options: {
      running?: { jobId: string; token: string }[];
      slots?: number;
      service?: string;
      openRequestId?: number | null;
    } = {},
  ): Promise<LinkAnswer<'beat'>> {
    const { running = [], slots = 1, service = 'simulation', openRequestId = null } = options;
    const report = {
      state: 'ready' as const,
      reasons: [],
      diskFreeBytes: 1,
      loopDelayMs: 0,
      rssBytes: 1,
      deadLetters: 0,
      restarts: 0,
    };
    return this.ask('beat', {
      running: running.map(({ jobId, token }) => ({ jobId, token })),
      highestRequestId: this.#request,
      openRequestId,
      free: slots === 0 ? [] : [{ service, slots }],
      report,
    });
  }

  complete(
    lease: { jobId: string; token: string },
    more: Partial<LinkBody<'complete'>> = {},
  ): Promise<LinkAnswer<'complete'>> {
    return this.ask('complete', {
      jobId: lease.jobId,
      token: lease.token,
      outputs: [],
      data: null,
      next: null,
      ...more,
    });
  }

  /** Claims a job that must be there. */
  async lease(options: Parameters<RigMachine['claim']>[0] = {}): Promise<Assignment> {
    const answer = await this.claim(options);
    if (answer.kind !== 'leased') throw new Error(`the claim answered ${answer.kind}`);
    return answer.assignment;
  }

  /** Beats twice a second, as long as told. */
  async live(
    clock: { advanceBy(ms: number): Promise<void> },
    options: { forMs: number; running: { jobId: string; token: string }[] },
  ): Promise<void> {
    for (let passed = 0; passed < options.forMs; passed += 500) {
      await clock.advanceBy(500);
      await this.beat({ running: options.running, slots: 0 });
    }
  }

  /** Closes the link without a word. */
  async vanish(): Promise<void> {
    this.session.closed();
    await this.#settle();
  }
}
