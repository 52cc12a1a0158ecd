import type { Broker, BrokerEntry, BrokerSettings, ClaimRequest, LeaseGrant } from '#protocol/broker.ts';
import { openRedisBroker, type RedisBroker } from '#protocol/redis/redis-broker.ts';
import { systemClock } from '#runtime/env.ts';
import { withTurns } from '#runtime/hub/turns.ts';
import { nextTurn } from '#runtime/open-stores.ts';
import {
  batchesOf,
  groupName,
  inLanes,
  jobsPerBatch,
  modelName,
  type Peer,
  type PeerJob,
  submitsAtOnce,
  workersAtOnce,
} from './bench-peers-load.ts';

/** A phase takes seconds: nobody beats, as nobody renews locks on the other side. */
const settings: BrokerSettings = { leaseTtlMs: 600_000, priorityBoostMs: 600_000 };
/**
 * The recorder's part: copied events are trimmed, in pages of this many. A hub's recorder copies what has come since
 * its last commit, which takes it some 10 ms at this rate; it does not wait for a page to fill.
 */
const eventsPerPage = 250;
const warmLanesPerMachine = 3;

/** Our Broker on one connection, each claim and each completion a step of its own. */
export async function brokerPeer(path: string): Promise<BrokerPeer> {
  const { broker, identity } = await openBroker(path);
  return new BrokerPeer(broker, identity);
}

/** The same as hubs use it: completions and claims that are under way at once share steps. */
export async function hubPeer(path: string): Promise<BrokerPeer> {
  const { broker, identity } = await openBroker(path);
  const background = (_name: string, work: Promise<void>) => void work;
  return new BrokerPeer(withTurns({ broker, clock: systemClock, nextTurn, background }), identity);
}

async function openBroker(path: string): Promise<{ broker: RedisBroker; identity: string }> {
  const broker = await openRedisBroker({ url: { path }, settings, clock: systemClock });
  const ticket = await broker.reconcileStart({ nonce: 'peers' });
  await broker.reconcileFinish(ticket);
  return { broker, identity: ticket.identity };
}

export class BrokerPeer implements Peer {
  readonly name = 'ours';
  readonly #broker: Broker;
  readonly #identity: string;
  #jobs = 0;
  #incarnation = 0;
  #requests = 0;
  /** Of each machine by the number of groups: what it names in every claim, made once as its hub does. */
  readonly #targets = new Map<string, Pick<ClaimRequest, 'groups' | 'warmLanes'>>();
  #lastEvent = 0;

  constructor(broker: Broker, identity: string) {
    this.#broker = broker;
    this.#identity = identity;
  }

  async enqueueBatches(jobs: PeerJob[]): Promise<void> {
    for (const batch of batchesOf(jobs, jobsPerBatch)) await this.#submit(batch);
  }

  async enqueueSingles(jobs: PeerJob[]): Promise<void> {
    await inLanes(jobs.length, submitsAtOnce, (index) => this.#submit([jobs[index] as PeerJob]));
  }

  async prepare(): Promise<void> {
    this.#incarnation++;
    for (let at = 0; at < workersAtOnce; at++)
      await this.#broker.enrol({ machineId: `machine-${at}`, incarnation: this.#incarnation });
  }

  /** Machines that leave give their leases back; they hold none here. */
  async rest(): Promise<void> {
    for (let at = 0; at < workersAtOnce; at++)
      await this.#broker.leave({ machineId: `machine-${at}`, incarnation: this.#incarnation });
  }

  async process(count: number, groups: number): Promise<void> {
    let recorded: Promise<void> = Promise.resolve();
    let left = count;
    const work = async (machine: number) => {
      left--;
      let grant: LeaseGrant | null = await this.claim(machine, groups);
      while (grant !== null) {
        const ended: Promise<void> = this.complete(grant);
        const more = left-- > 0;
        // As a hub does: the next job is claimed beside the Broker step of the completion.
        [grant] = await Promise.all([more ? this.claim(machine, groups) : null, ended]);
        if (left % eventsPerPage === 0) recorded = recorded.then(() => this.#record());
      }
    };
    await Promise.all(Array.from({ length: Math.min(workersAtOnce, count) }, (_, at) => work(at)));
    await recorded;
    await this.#record();
  }

  async close(): Promise<void> {
    await this.#broker.close();
  }

  async #submit(jobs: PeerJob[]): Promise<void> {
    const entries = jobs.map((job) => this.#entry(job));
    const answer = await this.#broker.submit({ identity: this.#identity, entries });
    if (answer.kind !== 'ok') throw new Error(`the submit answered ${answer.kind}`);
  }

  /** One claim of a machine that serves all groups and has three models of them. */
  async claim(machine: number, groups: number): Promise<LeaseGrant> {
    const answer = await this.#broker.claim({
      machineId: `machine-${machine}`,
      incarnation: this.#incarnation,
      requestId: ++this.#requests,
      ...this.#targetsOf(machine, groups),
      classId: 'bench',
    });
    if (answer.kind !== 'leased') throw new Error(`the claim answered ${answer.kind}`);
    return answer.lease;
  }

  #targetsOf(machine: number, groups: number): Pick<ClaimRequest, 'groups' | 'warmLanes'> {
    const key = `${machine}/${groups}`;
    const known = this.#targets.get(key);
    if (known !== undefined) return known;
    const targets = {
      groups: Array.from({ length: groups }, (_, index) => ({ group: groupName(index), penaltyMs: 0 })),
      warmLanes: Array.from({ length: warmLanesPerMachine }, (_, index) => ({
        group: groupName((machine + index) % groups),
        affinity: modelName(machine + index),
        bonusMs: 8_000,
      })),
    };
    this.#targets.set(key, targets);
    return targets;
  }

  async complete({ jobId, token, fenceFloor }: LeaseGrant): Promise<void> {
    const { kind } = await this.#broker.complete({ jobId, token, fenceFloor });
    if (kind !== 'removed') throw new Error(`the completion answered ${kind}`);
  }

  /** The stream of events must not grow for ever: on the other side it is trimmed inside the steps. */
  async #record(): Promise<void> {
    const { identity, events } = await this.#broker.events({ after: this.#lastEvent, limit: eventsPerPage });
    this.#lastEvent = events.at(-1)?.id ?? this.#lastEvent;
    if (events.length > 0) await this.#broker.trimEvents({ identity, upTo: this.#lastEvent });
  }

  #entry({ group, model, customer, payload }: PeerJob): BrokerEntry {
    return {
      // As long as the ids that a hub makes.
      jobId: `job_${String(this.#jobs++).padStart(28, '0')}`,
      group,
      affinity: model,
      pool: 'standard',
      customer,
      priority: 50,
      costMs: 20_000,
      attempts: 0,
      runs: 0,
      fenceFloor: '0',
      notBeforeMs: null,
      body: payload,
      lease: null,
    };
  }
}
