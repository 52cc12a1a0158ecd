import { Redis } from 'ioredis';
import type { BrokerEntry, BrokerSettings, LeaseGrant } from '#protocol/broker.ts';
import { openRedisBroker, type RedisBroker } from '#protocol/redis/redis-broker.ts';
import { systemClock } from '#runtime/env.ts';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';

const settings: BrokerSettings = { leaseTtlMs: 600_000, priorityBoostMs: 600_000 };
const groupCount = 16;
const laneCount = 8;
const machineCount = 50;
const entriesPerSubmit = 500;

export interface StepTimes {
  medianUs: number;
  meanUs: number;
  cpuUs: number;
}

/** A private server with an open Broker, 16 groups of 8 lanes, and 50 enrolled machines. */
export class RedisBench {
  readonly broker: RedisBroker;
  readonly #server: RedisServer;
  readonly #redis: Redis;
  readonly #identity: string;
  #jobs = 0;
  #requests = 0;
  /** Leases of claims, to be ended by `complete` and `release`. */
  readonly #leases: LeaseGrant[] = [];

  private constructor(options: { broker: RedisBroker; server: RedisServer; redis: Redis; identity: string }) {
    this.broker = options.broker;
    this.#server = options.server;
    this.#redis = options.redis;
    this.#identity = options.identity;
  }

  /** `now`: virtual time, ms; absent = the server's own. */
  static async open(now?: () => number): Promise<RedisBench> {
    const server = await RedisServer.start();
    const redis = new Redis({ path: server.path });
    const broker = await openRedisBroker({
      url: { path: server.path },
      settings,
      clock: systemClock,
      ...(now && { now }),
    });
    const ticket = await broker.reconcileStart({ nonce: 'bench' });
    await broker.reconcileFinish(ticket);
    for (let at = 1; at <= machineCount; at++)
      await broker.enrol({ machineId: `machine-${at}`, incarnation: 1 });
    return new RedisBench({ broker, server, redis, identity: ticket.identity });
  }

  async close(): Promise<void> {
    await this.broker.close();
    this.#redis.disconnect();
    await this.#server.close();
  }

  async version(): Promise<string> {
    return await this.#info('server', /^redis_version:(\S+)/m);
  }

  async usedBytes(): Promise<number> {
    return Number(await this.#info('memory', /^used_memory:(\d+)/m));
  }

  /** Adds waiting jobs whose bodies are kept in Records, over all lanes. */
  async fill(count: number, signal: AbortSignal): Promise<void> {
    for (let left = count; left > 0; left -= entriesPerSubmit) {
      signal.throwIfAborted();
      const entries = Array.from({ length: Math.min(left, entriesPerSubmit) }, () => this.#entry());
      const answer = await this.broker.submit({ identity: this.#identity, entries });
      if (answer.kind !== 'ok') throw new Error(`the submit answered ${answer.kind}`);
    }
  }

  /** One claim of 16 groups and 3 warm lanes; `hit` = of groups that have work. */
  async claim(hit: boolean): Promise<void> {
    const requestId = ++this.#requests;
    const at = requestId % machineCount;
    const name = (index: number) => `${hit ? 'g' : 'x'}${String(index).padStart(16, '0')}`;
    const answer = await this.broker.claim({
      machineId: `machine-${at + 1}`,
      incarnation: 1,
      requestId,
      groups: Array.from({ length: groupCount }, (_, index) => ({
        group: name(index),
        penaltyMs: index * 10,
      })),
      warmLanes: Array.from({ length: 3 }, (_, index) => ({
        group: name((at + index) % groupCount),
        affinity: `model-${(at + index) % laneCount}`,
        bonusMs: 8_000,
      })),
      classId: 'bench',
    });
    if (answer.kind !== (hit ? 'leased' : 'empty')) throw new Error(`the claim answered ${answer.kind}`);
    if (answer.kind === 'leased') this.#leases.push(answer.lease);
  }

  /** Ends the newest lease with success. */
  async complete(): Promise<void> {
    const { jobId, token, fenceFloor } = this.#newestLease();
    const { kind } = await this.broker.complete({ jobId, token, fenceFloor });
    if (kind !== 'removed') throw new Error(`the completion answered ${kind}`);
  }

  /** What follows the end of all jobs: the recorder has copied the events, and the sweeper ran until nothing was left to forget. */
  async forgetEnded(): Promise<void> {
    const { identity, events } = await this.broker.events({ after: 0, limit: 1 });
    const first = events[0]?.id ?? 0;
    await this.broker.trimEvents({ identity, upTo: first + this.#requests });
    while ((await this.broker.stats()).tombstones > 0) await this.broker.lapsed({ limit: 64 });
  }

  /** Puts the job of the newest lease back into its lane. */
  async release(): Promise<void> {
    const { jobId, token, attempts, run } = this.#newestLease();
    const fenceFloor = String(BigInt(token) + 1n);
    const state = 'waiting';
    const row = { jobId, token, fenceFloor, state, attempts, runs: run } as const;
    const { kind } = await this.broker.exit({ ...row, notBeforeMs: null, cancelRequested: false });
    if (kind !== 'requeued') throw new Error(`the exit answered ${kind}`);
  }

  #newestLease(): LeaseGrant {
    const lease = this.#leases.pop();
    if (lease === undefined) throw new Error('no lease is left to end');
    return lease;
  }

  /**
   * Time of one step inside the server, µs, over the calls of `work`, all of which must be steps: the
   * median, which a server that lost its core for a while does not move, and the mean. `cpuUs` is what the
   * server's process computed for each, sockets included: it counts no time for which others had the core.
   */
  async scriptUs(work: () => Promise<void>): Promise<StepTimes> {
    await this.#redis.config('RESETSTAT');
    const before = await this.#cpuSeconds();
    await work();
    const seconds = (await this.#cpuSeconds()) - before;
    const calls = Number(await this.#info('commandstats', /^cmdstat_fcall:calls=(\d+)/m));
    return {
      medianUs: Number(await this.#info('latencystats', /^latency_percentiles_usec_fcall:p50=([\d.]+)/m)),
      meanUs: Number(await this.#info('commandstats', /^cmdstat_fcall:.*usec_per_call=([\d.]+)/m)),
      cpuUs: (seconds * 1_000_000) / calls,
    };
  }

  async #cpuSeconds(): Promise<number> {
    const user = Number(await this.#info('cpu', /^used_cpu_user:([\d.]+)/m));
    return user + Number(await this.#info('cpu', /^used_cpu_sys:([\d.]+)/m));
  }

  #entry(): BrokerEntry {
    const at = this.#jobs++;
    const lane = at % (groupCount * laneCount);
    return {
      // As long as the ids that a hub makes.
      jobId: `job_${String(at).padStart(26, '0')}`,
      group: `g${String(lane % groupCount).padStart(16, '0')}`,
      affinity: `model-${Math.floor(lane / groupCount)}`,
      pool: 'standard',
      customer: `customer-${at % 20}`,
      priority: 50,
      costMs: 20_000,
      attempts: 0,
      runs: 0,
      fenceFloor: '0',
      notBeforeMs: null,
      body: null,
      lease: null,
    };
  }

  async #info(section: string, form: RegExp): Promise<string> {
    const found = form.exec(await this.#redis.info(section))?.[1];
    if (found === undefined) throw new Error(`INFO ${section} tells no ${form.source}`);
    return found;
  }
}
