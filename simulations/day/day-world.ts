import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import type { EvictionRule } from '#machines/policy/eviction.ts';
import type { Broker } from '#protocol/broker.ts';
import type { JobSubmissionInput } from '#protocol/job.ts';
import { type ModelManifest, modelObjectKey } from '#protocol/model.ts';
import type { Records } from '#protocol/records.ts';
import { machineClassId } from '#protocol/requirements.ts';
import { composeHub, type HubCore } from '#runtime/compose-hub.ts';
import { submitJob } from '#runtime/hub/submit.ts';
import { joinTokenLimitMs } from '#runtime/hub/tokens.ts';
import { HubConfig } from '#runtime/hub-config.ts';
import { type SimEnv, simEnv } from '#simulations/sim-env.ts';
import { SimNetwork } from '#simulations/sim-link.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { SimProcess } from '#simulations/sim-process.ts';
import type { OpenStores, StoreFactory } from '#simulations/stage.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { scaledBytes, scaledRate } from './byte-scale.ts';
import { type DayFloor, DayMachine, machineClassOf } from './day-machine.ts';
import { type DayWatch, deafWatch, watchAll } from './day-watch.ts';
import { observedBroker } from './observed-broker.ts';
import type { DayPlan, PlannedJob, PlannedMachine, PlannedModel } from './plan.ts';
import { SharedPipe } from './shared-pipe.ts';

export interface DayWorldOptions {
  plan: DayPlan;
  stores: StoreFactory;
  /** Put around the Broker: a policy other than ours claims through it. */
  aroundBroker: (broker: Broker) => Broker;
  /** What the caches of machines give up first. */
  eviction: EvictionRule;
  watch: DayWatch;
}

export const dayTtlMs = 60_000;
/**
 * One hub, alone for a whole day: what it does by the clock alone is done less often, which changes no
 * decision. A lost machine's jobs start again half a minute later than with the default lease.
 */
const hubSettings = {
  hubId: 'hub',
  leaseTtlMs: dayTtlMs,
  beatsPerLease: 3,
  singletonTtlMs: 120_000,
  sweepEveryMs: 30_000,
  recordEveryMs: 60_000,
  reconcileEveryMs: 300_000,
};
/** Mean rate from a store to a machine, real bytes per ms: what a hub assumes of machines it has not measured. */
const assumedBytesPerMs = 49_000;
const hubUrl = 'ws://hub.sim/v1/link';

/** One installation for one day: a hub, machines as the plan has them, clients that submit. */
export class DayWorld {
  readonly env: SimEnv;
  readonly stores: OpenStores;
  readonly records: Records;
  readonly #options: DayWorldOptions;
  readonly #core: HubCore;
  readonly #floor: DayFloor;
  readonly #machines: Map<string, DayMachine>;
  readonly #counts: { ended: number };
  #failure: unknown = null;

  private constructor(
    options: DayWorldOptions,
    parts: {
      env: SimEnv;
      stores: OpenStores;
      records: Records;
      core: HubCore;
      floor: DayFloor;
      machines: Map<string, DayMachine>;
      counts: { ended: number };
    },
  ) {
    this.#options = options;
    this.env = parts.env;
    this.stores = parts.stores;
    this.records = parts.records;
    this.#core = parts.core;
    this.#floor = parts.floor;
    this.#machines = parts.machines;
    this.#counts = parts.counts;
  }

  static async open(options: DayWorldOptions): Promise<DayWorld> {
    const { plan } = options;
    const machines = new Map<string, DayMachine>();
    const counts = { ended: 0 };
    const watch = watchAll([options.watch, holding(machines, counts)]);
    const { afterTurn } = options.stores;
    const env = simEnv({ seed: `day ${plan.seed}`, clock: new VirtualClock(afterTurn ? { afterTurn } : {}) });
    const stores = await options.stores.open({ env });
    const records = await stores.records();
    const objects = new SimObjects({ clock: env.clock });
    for (const model of plan.models) await records.putModel(manifestOf(objects, model));
    await rememberClasses(records, { plan, nowMs: env.clock.now() });
    const network = new SimNetwork({
      clock: env.clock,
      rng: env.rng.fork('network'),
      latencyMs: { min: 10, max: 60 },
      onFrame: ({ machine, direction, text }) => {
        // An answer names what it answers; anything else of the hub may be the word that there is work.
        if (direction === 'down' && !text.includes('"re":')) machines.get(machine)?.told();
      },
    });
    const process = new SimProcess({ name: 'hub', world: env });
    const core = await composeHub({
      config: {
        ...HubConfig.parse(hubSettings),
        // Below 1, which no operator may set: only here is a byte a mebibyte.
        fetchBytesPerMs: scaledRate(assumedBytesPerMs),
      },
      env: process.env,
      ports: {
        records,
        broker: observedBroker(options.aroundBroker(await stores.broker()), watch),
        objects,
      },
      services: [simulationSpec],
    });
    network.listen(hubUrl, {
      process,
      accept: ({ link, token }) => {
        const session = core.connect(link, { token, baseUrl: 'http://hub.sim' });
        return { open: () => {}, message: (text) => session.message(text), closed: () => session.closed() };
      },
    });
    const joinToken = core.hub.tokens.join({
      id: 'day',
      nowMs: env.clock.now(),
      ttlMs: joinTokenLimitMs,
    }).token;
    const floor: DayFloor = {
      env,
      network,
      objects,
      pipe: new SharedPipe({
        clock: env.clock,
        totalBytesPerMs: plan.originBytesPerMs === null ? null : scaledRate(plan.originBytesPerMs),
      }),
      hubUrls: [hubUrl],
      joinToken,
      jobs: new Map(plan.jobs.map((job) => [job.id, job])),
      models: new Map(plan.models.map((model) => [model.id, model])),
      watch,
      eviction: options.eviction,
      failed: new Map(),
    };
    return new DayWorld(options, { env, stores, records, core, floor, machines, counts });
  }

  get clock(): VirtualClock {
    return this.env.clock;
  }

  /** Jobs of the plan. */
  get planned(): number {
    return this.#options.plan.jobs.length;
  }

  /** Plays the whole plan, then goes on until every job has ended, or until `patienceMs` after the span. */
  async play(patienceMs: number): Promise<void> {
    const { plan } = this.#options;
    await this.#start();
    for (const machine of plan.machines) this.rent(machine);
    this.#submitFrom(0);
    const endMs = plan.spanMs + patienceMs;
    for (let next = this.clock.nextMs; next !== null && next <= endMs; next = this.clock.nextMs) {
      this.clock.step();
      await this.clock.settle();
      if (this.#failure !== null) throw this.#failure;
      if (this.#counts.ended === plan.jobs.length && this.clock.monotonic() >= plan.spanMs) break;
    }
  }

  /** Makes a machine fetch a model ahead of any job; one that is gone does not. */
  copy({ machineId, modelId }: { machineId: string; modelId: string }): void {
    this.#machines.get(machineId)?.copy(modelId);
  }

  /** The machine starts at its time, if it ever does, and ends at its time. Answers how to withdraw it before. */
  rent(plan: PlannedMachine): () => void {
    const { clock } = this;
    const { startMs } = plan;
    if (startMs === null) return () => {};
    // Composed only when it starts: a fleet of a day is many times as many machines as run at once.
    const timer = clock.setTimeout(() => {
      const machine = new DayMachine(this.#floor, plan);
      this.#machines.set(plan.id, machine);
      machine.start();
      if (plan.ending !== 'stays') clock.setTimeout(() => machine.finish(), plan.endMs - startMs);
    }, startMs - clock.monotonic());
    return () => clock.clearTimeout(timer);
  }

  /** The machine takes no more work and goes; one that is gone does not. */
  drain(machineId: string): void {
    this.#machines.get(machineId)?.drain();
  }

  async close(): Promise<void> {
    await this.stores.close();
  }

  async #start(): Promise<void> {
    let started = false;
    const starting = this.#core.start().then(() => {
      started = true;
    });
    await this.clock.settle();
    while (!started && this.clock.step()) await this.clock.settle();
    await starting;
  }

  /** One timer at a time: each arrival arms the next. */
  #submitFrom(index: number): void {
    const job = this.#options.plan.jobs[index];
    if (job === undefined) return;
    this.clock.setTimeout(
      () => {
        this.#submitFrom(index + 1);
        this.#submit(job);
      },
      Math.max(0, job.atMs - this.clock.monotonic()),
    );
  }

  #submit(job: PlannedJob): void {
    this.#floor.watch.jobAsked(job.id);
    submitJob(this.#core.hub, submissionOf(job), { traceparent: null }).catch((error: unknown) => {
      this.#failure ??= error;
    });
  }
}

/** Tells each machine how much it holds, which paces its clock; and counts what has ended. */
function holding(machines: ReadonlyMap<string, DayMachine>, counts: { ended: number }): DayWatch {
  const holders = new Map<string, DayMachine>();
  const free = (jobId: string) => {
    holders.get(jobId)?.holds(-1);
    holders.delete(jobId);
  };
  return {
    ...deafWatch,
    claimed({ jobId, machineId }) {
      free(jobId);
      const machine = machines.get(machineId);
      if (machine === undefined) return;
      holders.set(jobId, machine);
      machine.holds(1);
    },
    runLost: ({ jobId }) => free(jobId),
    jobEnded({ jobId }) {
      free(jobId);
      counts.ended++;
    },
  };
}

/** What its user would send: the plan's other fields are what then turns out. */
function submissionOf(job: PlannedJob): JobSubmissionInput & { id: string } {
  return {
    id: job.id,
    service: simulationSpec.service,
    pool: job.pool,
    customer: job.customer,
    priority: job.priority,
    requirements: job.vramMb > 0 ? { vramMb: job.vramMb } : {},
    payload: { durationMs: Math.round(job.runMs), models: job.models },
    labels: { kind: job.kind },
  };
}

/** Machines like those of the plan were here before: a job for a class that is not rented yet is accepted. */
async function rememberClasses(
  records: Records,
  { plan, nowMs }: { plan: DayPlan; nowMs: number },
): Promise<void> {
  const classes = new Map(
    [...plan.machines, ...(plan.auto?.kinds ?? [])].map((machine) => {
      const machineClass = machineClassOf(machine);
      return [machineClassId(machineClass), machineClass];
    }),
  );
  for (const [classId, machineClass] of classes)
    await records.enrolMachine({
      machineId: `before-${classId}`,
      classId,
      machineClass,
      hubId: 'hub',
      nowMs,
    });
}

/** Content that follows from the id, so that hashes differ and runs agree. */
function manifestOf(objects: SimObjects, model: PlannedModel): ModelManifest {
  const bytes = Buffer.alloc(scaledBytes(model.bytes), model.id);
  const mime = 'application/octet-stream';
  const { sha256 } = objects.store({ key: `stock/${model.id}`, bytes, mime });
  objects.store({ key: modelObjectKey({ sha256 }), bytes, mime });
  return {
    id: model.id,
    service: simulationSpec.service,
    kind: model.kind,
    files: [{ name: 'weights.bin', bytes: bytes.length, sha256, sources: [] }],
    memoryMb: model.vramMb,
    licence: 'none: invented bytes',
  };
}
