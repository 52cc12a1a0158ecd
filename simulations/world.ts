import type { Broker } from '#protocol/broker.ts';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import { isTerminal, type Job } from '#protocol/job.ts';
import type { LimitDefinition } from '#protocol/limit.ts';
import type { Records } from '#protocol/records.ts';
import { cancelJob } from '#runtime/hub/cancel.ts';
import { removeLimit, saveLimit } from '#runtime/hub/limits.ts';
import { linkCloseCodes } from '#runtime/hub/link-limits.ts';
import { cordonMachine, drainMachine } from '#runtime/hub/machines.ts';
import { pauseWork, resumeWork } from '#runtime/hub/pauses.ts';
import { requeueJob } from '#runtime/hub/requeue.ts';
import { submitJob } from '#runtime/hub/submit.ts';
import type { Buggify } from './buggify.ts';
import { checkMachine, checkRested } from './check-machine.ts';
import { CheckerSet } from './checkers.ts';
import { allCheckers } from './invariants.ts';
import type { Observation } from './observation.ts';
import { pick } from './seeded-rng.ts';
import { type SimEnv, simEnv } from './sim-env.ts';
import { SimNetwork } from './sim-link.ts';
import { SimObjects } from './sim-objects.ts';
import { SimProcess } from './sim-process.ts';
import type { OpenStores, StoreFactory } from './stage.ts';
import { Trace } from './trace.ts';
import { VirtualClock } from './virtual-clock.ts';
import { WorldHub } from './world-hub.ts';
import { type MachineMaker, type MachineTraits, WorldMachine } from './world-machine.ts';
import { stock } from './world-stock.ts';

export interface WorldOptions {
  seed: number | string;
  machines: number;
  hubs: number;
  stores: StoreFactory;
  leaseTtlMs: number;
  makeMachine: MachineMaker;
  /** Numbers of the machines, from 0, where not all of them: the others draw what they draw anyway. */
  machineNumbers?: readonly number[];
  /** What each start of a machine has and others have not; all are alike unless told otherwise. */
  traits?: (machine: { index: number; starts: number }) => MachineTraits;
  /** Makes the ports misbehave within what they may do. */
  buggify?: Buggify;
  /** Told of everything that happens, after checkers and trace: for `sometimes` counters. */
  onObservation?: (seen: Observation) => void;
}

/** A client tries another hub when one has not answered for this long, ms. */
const clientPatienceMs = 5_000;
const clientRetryMs = 1_000;
/** Where too many wait it comes again when some may have begun, ms. */
const fullRetryMs = 20_000;
const auditEverySteps = 10_000;
const openPage = 1_000;
/** Of each frame, that it meets a reset of its link. */
const resetChance = 0.0005;

/**
 * A whole installation in virtual time: production hubs on shared stores, machines that dial them over
 * a simulated network, clients that submit. One thing happens at a time; the seed decides which.
 */
export class World {
  readonly env: SimEnv;
  readonly network: SimNetwork;
  readonly checkers: CheckerSet;
  readonly trace: Trace;
  readonly stores: OpenStores;
  readonly objects: SimObjects;
  readonly hubs: WorldHub[] = [];
  readonly machines: WorldMachine[] = [];
  readonly options: WorldOptions;
  /** Every hub of this world accepts it, for as long as a run lasts. */
  joinToken = '';
  /** Healed: links are reset by nobody any more. */
  calm = false;
  /** An operator has asked for limits or pauses, which are to be lifted in the end. */
  limited = false;
  /** Faults under way that keep everybody from the object store. */
  objectsDown = 0;
  readonly #client: SimProcess;
  /** The stores past all faults and delays, for audits. */
  readonly #broker: Broker;
  readonly #records: Records;
  #steps = 0;
  #asks = 0;

  private constructor(
    options: WorldOptions,
    parts: { env: SimEnv; stores: OpenStores; broker: Broker; records: Records },
  ) {
    this.options = options;
    this.env = parts.env;
    const { leaseTtlMs } = options;
    const nowMs = () => this.env.clock.monotonic();
    this.checkers = new CheckerSet(allCheckers({ nowMs, leaseTtlMs, beatMs: leaseTtlMs / 6 }));
    this.stores = parts.stores;
    this.#broker = parts.broker;
    this.#records = parts.records;
    this.trace = new Trace({ clock: this.env.clock });
    this.objects = new SimObjects({ clock: this.env.clock });
    const world = this;
    this.network = new SimNetwork({
      clock: this.env.clock,
      rng: this.env.rng.fork('network'),
      latencyMs: { min: 5, max: 90 },
      get resetChance() {
        return world.calm ? 0 : resetChance;
      },
      ...(options.buggify ? { buggify: options.buggify } : {}),
      onFrame: (frame) => this.observe({ kind: 'frame', ...frame }),
      onClose: ({ code }) => {
        if (code === linkCloseCodes.limit)
          this.observe({ kind: 'noted', what: 'a link was closed at a limit' });
      },
    });
    this.#client = new SimProcess({ name: 'client', world: this.env });
  }

  static async open(options: WorldOptions): Promise<World> {
    const { afterTurn } = options.stores;
    const env = simEnv({ seed: options.seed, clock: new VirtualClock(afterTurn ? { afterTurn } : {}) });
    const stores = await options.stores.open({ env });
    const world = new World(options, {
      env,
      stores,
      broker: await stores.broker(),
      records: await stores.records(),
    });
    await stock(world.objects, await stores.records());
    for (let index = 0; index < options.hubs; index++) world.hubs.push(new WorldHub(world, index));
    for (const hub of world.hubs) await hub.start();
    world.joinToken = world.hubs[0]?.joinToken() ?? '';
    const numbers = options.machineNumbers ?? Array.from({ length: options.machines }, (_, index) => index);
    for (const index of numbers) world.machines.push(new WorldMachine(world, index));
    for (const machine of world.machines) machine.start();
    return world;
  }

  get clock(): SimEnv['clock'] {
    return this.env.clock;
  }

  get steps(): number {
    return this.#steps;
  }

  /** The machine of that number, where it is part of this world. */
  machine(index: number): WorldMachine | undefined {
    return this.machines.find((machine) => machine.index === index);
  }

  observe(seen: Observation): void {
    this.trace.observe(seen);
    this.checkers.observe(seen);
    this.options.onObservation?.(seen);
  }

  /**
   * Runs until `monotonic()` is `untilMs`, one timer at a time; throws the first breach of an invariant.
   * Both stores are audited as a whole after each 10 000 steps as well.
   */
  async runTo(untilMs: number): Promise<void> {
    await this.clock.settle();
    for (let next = this.clock.nextMs; next !== null && next <= untilMs; next = this.clock.nextMs) {
      this.clock.step();
      await this.clock.settle();
      this.#steps++;
      this.checkers.throwIfBroken();
      if (this.#steps % auditEverySteps === 0) await this.audit(false);
    }
    this.clock.skipTo(untilMs);
  }

  /** Both stores as they are, judged by every checker; and every machine's actors and disk. */
  async audit(atRest: boolean): Promise<Job[]> {
    const { jobs } = await this.checkers.audit({
      broker: this.#broker,
      records: this.#records,
      atRest,
      indexProblems: () => this.stores.indexProblems(),
    });
    this.checkers.throwIfBroken();
    for (const machine of this.machines) checkMachine(machine);
    if (atRest) await checkRested(this);
    return jobs;
  }

  async openJobs(): Promise<Job[]> {
    const open: Job[] = [];
    for (let after: string | null = null; ; after = open.at(-1)?.id ?? null) {
      const page = await this.#records.openJobs({ after, limit: openPage });
      open.push(...page);
      if (page.length < openPage) return open.filter((job) => !isTerminal(job.state));
    }
  }

  async job(jobId: string): Promise<Job | null> {
    return await this.#records.getJob(jobId);
  }

  /**
   * Submits until some hub accepts it, as a client with an idempotent id does; gives up where a limit lets
   * nothing wait. Once accepted a repeat is answered with the same job.
   */
  submit(document: { id: string }): void {
    const { id: jobId } = document;
    this.#persist(
      `submit ${jobId}`,
      async ({ name: process, core: { hub } }) => {
        const ask = this.#asks++;
        this.observe({ kind: 'asked', ask, jobId, process, run: hub.hubId });
        try {
          await submitJob(hub, document, { traceparent: null });
        } catch (error) {
          const { code, retryable } = toEmpError(error);
          this.observe({ kind: 'answered', ask, jobId, refusal: { code, retryable } });
          throw error;
        }
        this.observe({ kind: 'answered', ask, jobId, refusal: null });
        this.observe({ kind: 'accepted', jobId });
      },
      ({ code }) => {
        if (code === 'QUEUE_FULL') this.observe({ kind: 'gaveUp', jobId });
      },
    );
  }

  /** An operator's order, repeated until some hub has done it. */
  cordon(machineId: string, cordoned: boolean): void {
    this.#persist(
      `${cordoned ? 'cordon' : 'uncordon'} ${machineId}`,
      async (hub) => void (await cordonMachine(hub.core.hub, machineId, cordoned)),
    );
  }

  drainByOperator(machineId: string, deadlineMs: number): void {
    this.#persist(
      `drain ${machineId}`,
      async (hub) => void (await drainMachine(hub.core.hub, machineId, { deadlineMs })),
    );
  }

  /** Sets or, with null, removes a limit. */
  limit(name: string, document: LimitDefinition | null): void {
    if (document !== null) this.limited = true;
    this.#persist(`limit ${name} ${document === null ? 'removed' : 'set'}`, async ({ core: { hub } }) => {
      if (document === null) await removeLimit(hub, { name, actor: 'operator' });
      else await saveLimit(hub, { name, document, actor: 'operator' });
    });
  }

  pauseCustomer(name: string, isPaused: boolean): void {
    if (isPaused) this.limited = true;
    const asked = { kind: 'customer' as const, name, actor: 'operator' };
    this.#persist(`${isPaused ? 'pause' : 'resume'} ${name}`, async ({ core: { hub } }) => {
      if (isPaused) await pauseWork(hub, { ...asked, reason: '' });
      else await resumeWork(hub, asked);
    });
  }

  /** Removes every limit and every pause. */
  liftLimits(): void {
    this.#persist('lift limits', async ({ core: { hub } }) => {
      const actor = 'operator';
      for (const { name } of await hub.records.listLimits()) await removeLimit(hub, { name, actor });
      for (const { kind, name } of await hub.records.listPauses())
        await resumeWork(hub, { kind, name, actor });
    });
  }

  cancel(jobId: string): void {
    this.#persist(`cancel ${jobId}`, async (hub) => void (await cancelJob(hub.core.hub, jobId, 'client')));
  }

  /** Requeues the `nth` (round and round) of the jobs that failed, died or were cancelled so far. */
  requeueEnded(nth: number): void {
    const filter = { state: ['failed' as const, 'dead' as const, 'cancelled' as const] };
    const asking = this.#records.listJobs({ filter, limit: 100, cursor: null }).then(({ items }) => {
      const jobId = items.at(nth % Math.max(1, items.length))?.id ?? `job-${nth}`;
      this.#persist(
        `requeue ${jobId}`,
        async (hub) => void (await requeueJob(hub.core.hub, jobId, 'operator')),
      );
    });
    asking.catch((error: unknown) => this.trace.note(`requeue: ${toEmpError(error).message}`));
  }

  async close(): Promise<void> {
    for (const machine of this.machines) machine.process.kill();
    for (const hub of this.hubs) hub.process.kill();
    await this.stores.close();
  }

  /** Asks one hub after another until one answers; a refusal that is not worth repeating ends it. */
  #persist(
    what: string,
    ask: (hub: WorldHub) => Promise<void>,
    gaveUp: (refusal: EmpError) => void = () => {},
  ): void {
    const { clock, rng } = this.#client.env;
    const attempt = (triesLeft: number): void => {
      const alive = this.hubs.filter((hub) => hub.serving);
      const again = () => {
        if (triesLeft > 0) clock.setTimeout(() => attempt(triesLeft - 1), clientRetryMs * rng.next());
      };
      if (alive.length === 0) return again();
      const hub = pick(rng, alive);
      let settled = false;
      const once = (then: () => void) => () => {
        if (settled) return;
        settled = true;
        clock.clearTimeout(timer);
        then();
      };
      const timer = clock.setTimeout(once(again), clientPatienceMs);
      const refused = (error: unknown) => {
        const failure = error instanceof EmpError ? error : toEmpError(error);
        this.trace.note(`${what} refused by ${hub.name}: ${failure.code}`);
        // A machine that meets a requirement may join any moment: this client waits for it.
        const isWorthIt = failure.retryable || failure.code === 'REQUIREMENT_UNMET';
        // Who is told that too many wait has been answered: it is no try that failed.
        const later = () => clock.setTimeout(() => attempt(triesLeft), fullRetryMs * rng.next());
        once(!isWorthIt ? () => gaveUp(failure) : failure.code === 'QUEUE_FULL' ? later : again)();
      };
      // The request reaches the hub's process and its answer leaves it: neither happens while it is frozen.
      hub.process.enter(() => {
        ask(hub).then(
          once(() => {}),
          refused,
        );
      });
    };
    attempt(200);
  }
}
