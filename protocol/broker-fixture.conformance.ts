import { expect } from 'vitest';
import type {
  BeatAnswer,
  BeatRequest,
  Broker,
  BrokerEntry,
  BrokerSettings,
  ClaimAnswer,
  ClaimRequest,
  ExitAnswer,
  ExitRequest,
  LeaseGrant,
  ReconcileTicket,
  SubmitAnswer,
} from './broker.ts';
import type { MachineRef } from './names.ts';
import { type FencingToken, tokenAfter } from './token.ts';

/** What every broker under test is set to. */
export const brokerSettings: BrokerSettings = { leaseTtlMs: 30_000, priorityBoostMs: 600_000 };
export const ttlMs = brokerSettings.leaseTtlMs;

/** One Broker under test: fresh, empty and therefore closed, set to `brokerSettings`. */
export interface BrokerUnderTest {
  broker: Broker;
  /** A second client of the same server, as another hub has. */
  connect(): Promise<Broker>;
  /** The Broker's time, ms since 1970; stands still unless `advance` moves it. */
  now(): Promise<number>;
  /** Lets `ms` pass on the clock by which this Broker judges leases. */
  advance(ms: number): Promise<void>;
  /** The same data, another identity: a restart or failover that lost nothing. */
  restart(): Promise<void>;
  /** Another server with nothing on it. */
  loseAll(): Promise<void>;
  /** Remembers the writes so far. */
  mark(): Promise<unknown>;
  /** Another server that has the writes up to the mark: those since are lost. */
  rollback(mark: unknown): Promise<void>;
  /** Closes every client and removes the server. */
  close(): Promise<void>;
}

export type BrokerSetup = () => Promise<BrokerUnderTest>;

export function entryOf(jobId: string, over: Partial<BrokerEntry> = {}): BrokerEntry {
  return {
    jobId,
    group: 'g1',
    affinity: '-',
    pool: 'standard',
    customer: 'alice',
    priority: 50,
    costMs: 1_000,
    attempts: 0,
    runs: 0,
    fenceFloor: '0',
    notBeforeMs: null,
    body: { service: 'simulation', payload: { of: jobId } },
    lease: null,
    ...over,
  };
}

/** One incarnation of a machine, which numbers its requests and names what it runs. */
export class RigMachine {
  readonly broker: Broker;
  readonly ref: MachineRef;
  readonly groups: string[];
  requestId = 0;
  running: { jobId: string; token: FencingToken }[] = [];
  /** Requests that were answered with a lease. */
  readonly granted = new Set<number>();

  constructor(broker: Broker, ref: MachineRef, groups: string[]) {
    this.broker = broker;
    this.ref = ref;
    this.groups = groups;
  }

  /** A fresh request unless `over` repeats one. */
  async claim(over: Partial<ClaimRequest> = {}): Promise<ClaimAnswer> {
    if (over.requestId === undefined) this.requestId++;
    return await this.broker.claim({
      ...this.ref,
      requestId: this.requestId,
      groups: this.groups.map((group) => ({ group, penaltyMs: 0 })),
      warmLanes: [],
      classId: 'c1',
      ...over,
    });
  }

  /** Claims and runs; fails where nothing is leased. */
  async lease(over: Partial<ClaimRequest> = {}): Promise<LeaseGrant> {
    const answer = await this.claim(over);
    if (answer.kind !== 'leased')
      throw new Error(`the claim of ${this.ref.machineId} answered ${answer.kind}`);
    this.running.push({ jobId: answer.lease.jobId, token: answer.lease.token });
    return answer.lease;
  }

  /** A beat that names what runs; without a free slot unless `over` or `free` says so. */
  request(over: Partial<BeatRequest> = {}): BeatRequest {
    return {
      ...this.ref,
      running: this.running,
      highestRequestId: this.requestId,
      openRequestId: null,
      groups: [],
      classId: 'c1',
      ...over,
    };
  }

  /** A beat with free slots for all its groups. */
  free(): BeatRequest {
    return this.request({ groups: this.groups.map((group) => ({ group, penaltyMs: 0 })) });
  }

  async beat(over: Partial<BeatRequest> = {}): Promise<BeatAnswer> {
    return await this.broker.beat(this.request(over));
  }

  async beatOk(over: Partial<BeatRequest> = {}): Promise<Extract<BeatAnswer, { kind: 'ok' }>> {
    const answer = await this.beat(over);
    if (answer.kind !== 'ok') throw new Error(`the beat of ${this.ref.machineId} answered ${answer.kind}`);
    return answer;
  }

  async idle(): Promise<Extract<BeatAnswer, { kind: 'ok' }>> {
    return await this.beatOk(this.free());
  }
}

/** Short ways to do what hubs do, on one Broker. */
export class Rig {
  readonly under: BrokerUnderTest;
  #nonces = 0;

  constructor(under: BrokerUnderTest) {
    this.under = under;
  }

  get broker(): Broker {
    return this.under.broker;
  }

  async identity(): Promise<string> {
    return (await this.broker.identity()).identity;
  }

  async start(): Promise<ReconcileTicket> {
    return await this.broker.reconcileStart({ nonce: `nonce-${++this.#nonces}` });
  }

  /** A full reconcile: the entries are what Records know. */
  async reconcile(...entries: BrokerEntry[]): Promise<void> {
    const ticket = await this.start();
    if (entries.length > 0) {
      const answer = await this.broker.submit({ identity: ticket.identity, ticket, entries });
      expect(answer.kind).toBe('ok');
    }
    expect(await this.broker.reconcileFinish(ticket)).toEqual({ kind: 'open' });
  }

  async submit(...entries: BrokerEntry[]): Promise<SubmitAnswer[]> {
    const answer = await this.broker.submit({ identity: await this.identity(), entries });
    if (answer.kind !== 'ok') throw new Error(`the submit answered ${answer.kind}`);
    return answer.answers;
  }

  /** Submits one entry that is not there yet. */
  async add(
    jobId: string,
    over: Partial<BrokerEntry> = {},
  ): Promise<Extract<SubmitAnswer, { kind: 'added' }>> {
    const [answer] = await this.submit(entryOf(jobId, over));
    if (answer?.kind !== 'added') throw new Error(`the submit of ${jobId} answered ${answer?.kind}`);
    return answer;
  }

  /** An enrolled machine that serves these groups. */
  async machine(
    machineId: string,
    options: { incarnation?: number; groups?: string[] } = {},
  ): Promise<RigMachine> {
    const ref = { machineId, incarnation: options.incarnation ?? 1 };
    expect(await this.broker.enrol(ref)).toEqual({ kind: 'ok' });
    return new RigMachine(this.broker, ref, options.groups ?? ['g1']);
  }

  /** After the commit of a release: the floor shuts out the token, the attempt is kept. */
  async release(
    lease: { jobId: string; token: FencingToken },
    over: Partial<ExitRequest> = {},
  ): Promise<ExitAnswer> {
    const { jobId, token } = lease;
    return await this.broker.exit({
      jobId,
      token,
      fenceFloor: tokenAfter(token),
      state: 'waiting',
      attempts: 0,
      runs: 1,
      notBeforeMs: null,
      cancelRequested: false,
      ...over,
    });
  }

  /** The Broker's time, ms. */
  now(): Promise<number> {
    return this.under.now();
  }

  /** One lease time passes, with a beat each 5 s; then the hub's timer promotes what is due. */
  async passTtl(beat: () => Promise<unknown>): Promise<void> {
    for (let passedMs = 0; passedMs < ttlMs; passedMs += 5_000) {
      await this.under.advance(5_000);
      await beat();
    }
    await this.broker.promote({ limit: 1_000 });
  }

  /** Where the entry is: `waiting`, `delayed`, `leased`, or null. */
  async stateOf(jobId: string): Promise<string | null> {
    return (await this.broker.inspect(jobId))?.state ?? null;
  }

  /** Ids in the order in which this machine would get them; each is leased. */
  async drain(machine: RigMachine, over: Partial<ClaimRequest> = {}): Promise<string[]> {
    const order: string[] = [];
    for (;;) {
      const answer = await machine.claim(over);
      if (answer.kind !== 'leased') return order;
      order.push(answer.lease.jobId);
    }
  }

  /** All that a caller could see, to tell that nothing was written. */
  async seen(): Promise<unknown> {
    const list = await this.broker.list({ after: null, limit: 1_000 });
    const entries = await Promise.all(list.map(({ jobId }) => this.broker.inspect(jobId)));
    const { events } = await this.broker.events({ after: 0, limit: 1_000 });
    return { stats: await this.broker.stats(), list, entries, events };
  }
}

/** A rig whose Broker is open and empty. */
export async function openRig(setup: BrokerSetup): Promise<Rig> {
  const rig = new Rig(await setup());
  await rig.reconcile();
  return rig;
}

/** m1 runs a, b waits; `known` is what Records would re-drive of a. */
export async function runningRig(setup: BrokerSetup) {
  const rig = await openRig(setup);
  const machine = await rig.machine('m1');
  await rig.submit(entryOf('a'), entryOf('b'));
  const lease = await machine.lease();
  const known = entryOf('a', { runs: 1, lease: { token: lease.token, ...machine.ref } });
  return { rig, machine, lease, known };
}

/** m1 holds a, and nothing else is there. */
export async function leasedRig(setup: BrokerSetup) {
  const rig = await openRig(setup);
  const machine = await rig.machine('m1');
  await rig.add('a');
  return { rig, machine, lease: await machine.lease() };
}
