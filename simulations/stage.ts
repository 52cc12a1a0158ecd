import assert from 'node:assert/strict';
import type { Broker, BrokerView } from '#protocol/broker.ts';
import type { Clock } from '#protocol/env.ts';
import { isTerminal, type Job, type JobRun, type JobSubmissionInput } from '#protocol/job.ts';
import type { Records, SingletonLease } from '#protocol/records.ts';
import { composeHub, type HubCore } from '#runtime/compose-hub.ts';
import { cancelJob } from '#runtime/hub/cancel.ts';
import { promoteDue } from '#runtime/hub/promote.ts';
import { reconcile } from '#runtime/hub/reconcile.ts';
import { Recorder } from '#runtime/hub/record.ts';
import { requeueJob } from '#runtime/hub/requeue.ts';
import type { RoleLease } from '#runtime/hub/roles.ts';
import { StaleEntries } from '#runtime/hub/stale-entries.ts';
import { submitJob } from '#runtime/hub/submit.ts';
import { sweepLapsed } from '#runtime/hub/sweep.ts';
import { HubConfig } from '#runtime/hub-config.ts';
import { CheckerSet } from './checkers.ts';
import { type BrokerFaults, brokerFaults, faultyBroker } from './faulty-broker.ts';
import { faultyRecords, type RecordsFaults, recordsFaults } from './faulty-records.ts';
import { allCheckers } from './invariants.ts';
import { observing } from './observation.ts';
import { type SimEnv, simEnv } from './sim-env.ts';
import { SimObjects } from './sim-objects.ts';
import { StageMachine } from './stage-machine.ts';
import { VirtualClock } from './virtual-clock.ts';

/** A pair of stores under test and what can happen to the Broker's server. */
export interface StoreFactory {
  name: string;
  open(options: { env: SimEnv }): Promise<OpenStores>;
  /** For stores on real servers: resolves when none of their calls is under way. Virtual time waits for it. */
  afterTurn?: () => Promise<void>;
}

/** The Broker's half of a pair of stores, and what can happen to its server. */
export interface BrokerPart {
  /** One client of the Broker per hub, as in production. */
  broker(): Promise<Broker>;
  /** The server comes back empty, as another server. */
  loseAll(): Promise<void>;
  /** Remembers the writes so far; `rollback` brings the server back with these alone. */
  mark(): Promise<unknown>;
  rollback(mark: unknown): Promise<void>;
  /** Disagreements between the Broker's entries and its indexes, in words; empty is sound. */
  indexProblems(): Promise<string[]>;
  close(): Promise<void>;
}

/** The Records' half of a pair of stores. */
export interface RecordsPart {
  records(): Promise<Records>;
  close(): Promise<void>;
}

export type OpenStores = BrokerPart & RecordsPart;

export const stageTtlMs = 30_000;
const graceMs = 5_000;

/** One hub on a stage: its verbs, the faults before its ports, and its standing work done when told. */
export class StageHub {
  readonly core: HubCore;
  readonly broker: BrokerFaults;
  readonly records: RecordsFaults;
  readonly #recorders = new Map<number, Recorder>();
  readonly #stale = new StaleEntries();

  constructor(options: { core: HubCore; broker: BrokerFaults; records: RecordsFaults }) {
    this.core = options.core;
    this.broker = options.broker;
    this.records = options.records;
  }

  async submit(id: string, rest: Partial<JobSubmissionInput> = {}): Promise<{ created: boolean; job: Job }> {
    const document = { id, service: 'simulation', pool: 'standard', payload: {}, ...rest };
    return await submitJob(this.core.hub, document, { traceparent: null });
  }

  async cancel(jobId: string): Promise<'cancelled' | 'requested'> {
    return (await cancelJob(this.core.hub, jobId, 'client')).state;
  }

  async requeue(jobId: string): Promise<Job> {
    return await requeueJob(this.core.hub, jobId, 'operator');
  }

  async sweep(): Promise<void> {
    await this.#as('sweeper', (role) => sweepLapsed(this.core.hub, role));
  }

  async reconcile(): Promise<void> {
    await this.#as('reconciler', (role) =>
      reconcile(this.core.hub, role, { stale: this.#stale, pulse: null }),
    );
  }

  async record(): Promise<void> {
    await this.#as('recorder', async (role, lease) => {
      const recorder = this.#recorders.get(lease.token) ?? new Recorder(this.core.hub, role);
      this.#recorders.set(lease.token, recorder);
      await recorder.run();
    });
  }

  async promote(): Promise<void> {
    await promoteDue(this.core.hub);
  }

  /** Holds the role for one piece of work, as the production charts do for many. */
  async #as(name: string, work: (role: RoleLease, lease: SingletonLease) => Promise<unknown>): Promise<void> {
    const { records, hubId } = this.core.hub;
    const lease = await records.holdSingleton({ name, holder: hubId, ttlMs: 6_000, current: null });
    assert(lease, `${hubId} could not hold ${name}`);
    const role = {
      current: (): SingletonLease | null => lease,
      stale: () => assert.fail(`${name} went stale`),
    };
    await work(role, lease);
    await records.dropSingleton(lease);
  }
}

/** Two hubs on shared stores, a virtual clock, and the checkers behind every call. */
export class Stage {
  readonly env: SimEnv;
  readonly stores: OpenStores;
  readonly checkers: CheckerSet;
  readonly h1: StageHub;
  readonly h2: StageHub;
  readonly #broker: Broker;
  readonly #records: Records;

  private constructor(options: {
    env: SimEnv;
    stores: OpenStores;
    checkers: CheckerSet;
    hubs: [StageHub, StageHub];
    broker: Broker;
    records: Records;
  }) {
    this.env = options.env;
    this.stores = options.stores;
    this.checkers = options.checkers;
    [this.h1, this.h2] = options.hubs;
    this.#broker = options.broker;
    this.#records = options.records;
  }

  static async open(factory: StoreFactory, seed: string): Promise<Stage> {
    const { afterTurn } = factory;
    const env = simEnv({ seed, clock: new VirtualClock(afterTurn ? { afterTurn } : {}) });
    const nowMs = () => env.clock.monotonic();
    const checkers = new CheckerSet(allCheckers({ nowMs, leaseTtlMs: stageTtlMs, beatMs: stageTtlMs / 6 }));
    const stores = await factory.open({ env });
    const [broker, records] = [await stores.broker(), await stores.records()];
    const hubs = [
      await openHub('hub-1', { env, stores, checkers }),
      await openHub('hub-2', { env, stores, checkers }),
    ] as const;
    const stage = new Stage({ env, stores, checkers, hubs: [...hubs], broker, records });
    // A new Broker is closed until its first reconcile.
    await stage.h1.reconcile();
    return stage;
  }

  get clock(): SimEnv['clock'] {
    return this.env.clock;
  }

  /** A machine that joined these hubs. */
  async machine(machineId: string, ...hubs: StageHub[]): Promise<StageMachine> {
    const machine = new StageMachine(machineId);
    for (const hub of hubs) assert.equal(await machine.join(hub.core), 'welcome');
    return machine;
  }

  async job(jobId: string): Promise<Job> {
    const job = await this.#records.getJob(jobId);
    assert(job, `there is no row of ${jobId}`);
    return job;
  }

  /** The Broker's entry, null if it knows none. */
  async entry(jobId: string): Promise<BrokerView | null> {
    return await this.#broker.inspect(jobId);
  }

  async brokerOpen(): Promise<boolean> {
    return (await this.#broker.identity()).open;
  }

  async loseAll(): Promise<void> {
    await this.stores.loseAll();
    this.checkers.observe({ kind: 'brokerLost' });
  }

  async rollback(mark: unknown): Promise<void> {
    await this.stores.rollback(mark);
    this.checkers.observe({ kind: 'brokerLost' });
  }

  /** Lets everything that hubs do in the background come to its end. */
  async settle(): Promise<void> {
    await this.clock.settle();
    this.checkers.throwIfBroken();
  }

  /** One lease time and a little goes by; the machines given keep beating on their hub. */
  async passTtl(...beating: [StageMachine, StageHub][]): Promise<void> {
    const endMs = this.clock.monotonic() + stageTtlMs + 1_000;
    while (this.clock.monotonic() < endMs) {
      await this.clock.advanceBy(Math.min(5_000, endMs - this.clock.monotonic()));
      for (const [machine, hub] of beating) await machine.beat(hub.core);
    }
  }

  /**
   * Faults are over: hub 2 does the standing work, a fresh machine does what is left. Every job must
   * end, both stores must agree, and no invariant may have been broken on the way.
   */
  async finish(): Promise<Map<string, Job>> {
    const finisher = await this.machine('finisher', this.h2);
    for (let round = 0; round < 12; round++) {
      await this.h2.reconcile();
      await this.h2.sweep();
      await this.h2.promote();
      await this.h2.record();
      await finisher.beat(this.h2.core);
      for (let tries = 0; tries < 50; tries++) {
        const claim = await finisher.claim(this.h2.core);
        if (claim.kind !== 'leased') break;
        await finisher.complete(this.h2.core, claim.assignment.jobId);
      }
      await this.settle();
      const open = await this.#records.openJobs({ after: null, limit: 100 });
      if (open.length === 0 && round > 3) break;
      for (let beats = 0; beats < 3; beats++) {
        await this.clock.advanceBy(5_000);
        await finisher.beat(this.h2.core);
      }
    }
    const jobs = await this.audit(true);
    for (const job of jobs) assert(isTerminal(job.state), `${job.id} is still ${job.state}`);
    return new Map(jobs.map((job) => [job.id, job]));
  }

  /** Both stores as they are, judged by every checker; throws the first breach. */
  async audit(atRest: boolean): Promise<Job[]> {
    const [broker, records] = [this.#broker, this.#records];
    const indexProblems = () => this.stores.indexProblems();
    const { jobs } = await this.checkers.audit({ broker, records, atRest, indexProblems });
    this.checkers.throwIfBroken();
    return jobs;
  }

  /** Executions of a job, in their order. */
  async runs(jobId: string): Promise<JobRun[]> {
    return (await this.#records.timeline(jobId)).runs.toSorted((a, b) => a.run - b.run);
  }

  /** Committed completions of a job: never more than one. */
  async completions(jobId: string): Promise<number> {
    const { transitions } = await this.#records.timeline(jobId);
    return transitions.filter((transition) => transition.to === 'succeeded').length;
  }

  async close(): Promise<void> {
    await this.stores.close();
  }
}

async function openHub(
  hubId: string,
  options: { env: SimEnv; stores: OpenStores; checkers: CheckerSet },
): Promise<StageHub> {
  const { env, stores, checkers } = options;
  const clock: Clock = env.clock;
  const [broker, records] = [brokerFaults(clock), recordsFaults(clock)];
  const below = [observing((seen) => checkers.observe(seen))];
  const core = await composeHub({
    config: HubConfig.parse({ hubId, leaseTtlMs: stageTtlMs, reconcileGraceMs: graceMs, retryBaseMs: 0 }),
    env: env.process(hubId),
    ports: {
      broker: faultyBroker(await stores.broker(), { process: hubId, faults: broker, below }),
      records: faultyRecords(await stores.records(), { process: hubId, faults: records, below }),
      objects: new SimObjects({ clock }),
    },
    services: [],
  });
  return new StageHub({ core, broker, records });
}
