import type { Redis } from 'ioredis';
import type {
  BeatRequest,
  Broker,
  BrokerEntry,
  ClaimAnswer,
  ClaimRequest,
  EndRequest,
  ReconcileTicket,
} from '#protocol/broker.ts';
import { brokerSettings } from '#protocol/broker-fixture.conformance.ts';
import {
  type BrokerMark,
  type MemoryServer,
  memoryBroker,
  memoryServer,
} from '#protocol/memory/memory-broker.ts';
import { type MachineRef, machineKey } from '#protocol/names.ts';
import { tokenAfter } from '#protocol/token.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { AnswerTally } from './answer-tally.conformance.ts';
import type { RedisTarget } from './connection.ts';
import { dumpAll, restoreAll } from './data-copy.conformance.ts';
import { Difference, differ, type Pair, type Side } from './difference.conformance.ts';
import type {
  Beat,
  Claim,
  Completion,
  Entry,
  FloorName,
  Machine,
  Operation,
  TokenName,
} from './history.conformance.ts';
import type { LoaderKind } from './loader.ts';
import { openRedisBroker, type RedisBroker } from './redis-broker.ts';

/** Plays one history on the memory broker and on Redis, on one virtual clock, and compares every answer. */
export class Differential {
  readonly #clock: VirtualClock;
  readonly #server: MemoryServer;
  readonly #brokers: Pair<Broker>;
  readonly #redis: Redis;
  readonly #redisBroker: RedisBroker;
  #at = 0;
  #operation: Operation = { kind: 'stats' };
  #births = 0;
  #nonces = 0;
  readonly #identities: Pair<string>[] = [];
  readonly #tickets: Pair<ReconcileTicket>[] = [];
  #mark: Pair<unknown> | null = null;
  /** Tokens that each job was ever granted, and what each incarnation runs as far as it knows. */
  readonly #tokens = new Map<string, string[]>();
  readonly #running = new Map<string, Map<string, string>>();
  readonly #requests = new Map<string, number>();
  #lastEvent = 0;
  readonly #lives = new Map<string, number>();
  readonly #tally = new AnswerTally();

  constructor(options: { redis: Redis; redisBroker: RedisBroker; clock: VirtualClock }) {
    this.#clock = options.clock;
    this.#server = memoryServer({ settings: brokerSettings, clock: this.#clock, name: 'memory' });
    this.#brokers = { memory: memoryBroker(this.#server), redis: options.redisBroker };
    this.#redisBroker = options.redisBroker;
    this.#redis = options.redis;
  }

  /** How often each kind of operation was answered in each way: a history that reaches little proves little. */
  get reached(): ReadonlyMap<string, number> {
    return this.#tally.reached;
  }

  /** On an empty server, reached by `redis` and by `target`. */
  static async open(options: {
    redis: Redis;
    target: RedisTarget;
    loader: LoaderKind;
  }): Promise<Differential> {
    await options.redis.flushall();
    const clock = new VirtualClock();
    const redisBroker = await openRedisBroker({
      url: options.target,
      settings: brokerSettings,
      clock,
      loader: options.loader,
      now: () => clock.now(),
    });
    return new Differential({ redis: options.redis, redisBroker, clock });
  }

  async close(): Promise<void> {
    await this.#redisBroker.close();
  }

  /** Throws a `Difference`; after each operation that `audits` picks, everything that can be seen is compared. */
  async play(history: readonly Operation[], audits: (at: number) => boolean): Promise<void> {
    await this.#noteIdentity();
    for (const [at, operation] of history.entries()) {
      this.#at = at;
      this.#operation = operation;
      await this.#step(operation);
      if (audits(at) || at === history.length - 1) await this.#audit();
    }
  }

  async #both<T>(call: (broker: Broker, side: Side) => Promise<T>): Promise<Pair<T>> {
    const run = (side: Side) =>
      call(this.#brokers[side], side).catch((error: unknown) => ({ error: String(error) }) as T);
    const answers = { memory: await run('memory'), redis: await run('redis') };
    if (differ(answers, this.#identities)) throw new Difference(this.#at, this.#operation, answers);
    this.#tally.count(this.#operation.kind, answers.memory);
    return answers;
  }

  #ref({ machineId, life }: Machine): MachineRef {
    const present = this.#lives.get(machineId) ?? 1;
    const incarnation = { present, former: Math.max(1, present - 1), next: present + 1 }[life];
    this.#lives.set(machineId, Math.max(present, incarnation));
    return { machineId, incarnation };
  }

  async #noteIdentity(): Promise<void> {
    const [memory, redis] = [await this.#brokers.memory.identity(), await this.#brokers.redis.identity()];
    const newest = this.#identities.at(-1);
    if (newest?.memory !== memory.identity || newest.redis !== redis.identity)
      this.#identities.push({ memory: memory.identity, redis: redis.identity });
    await this.#both((broker) => broker.identity());
  }

  async #audit(): Promise<void> {
    const { memory } = await this.#both((broker) => broker.list({ after: null, limit: 1_000 }));
    for (const { jobId } of memory) await this.#both((broker) => broker.inspect(jobId));
    await this.#both((broker) => broker.stats());
    await this.#both((broker) => broker.events({ after: 0, limit: 10_000 }));
  }

  async #token(jobId: string, name: TokenName): Promise<string> {
    const { memory } = await this.#both((broker) => broker.inspect(jobId));
    const current = memory?.token ?? '0';
    if (name === 'zero') return '0';
    if (name === 'earlier') return this.#tokens.get(jobId)?.at(-2) ?? '0';
    if (name === 'future') return String((this.#clock.now() + 3_600_000) * 1_000);
    const token = current === '0' ? (this.#tokens.get(jobId)?.at(-1) ?? '0') : current;
    return name === 'next' ? tokenAfter(token) : token;
  }

  async #floor(jobId: string, name: FloorName): Promise<string> {
    if (name === 'zero') return '0';
    const { memory } = await this.#both((broker) => broker.inspect(jobId));
    const entry = memory?.fenceFloor ?? '0';
    if (name === 'entry') return entry;
    if (name === 'afterEntry') return tokenAfter(entry);
    const token = await this.#token(jobId, 'current');
    return name === 'afterToken' ? tokenAfter(token) : token;
  }

  async #entry(entry: Entry): Promise<BrokerEntry> {
    const { floor, delayMs, body, lease, ...fields } = entry;
    return {
      ...fields,
      fenceFloor: await this.#floor(entry.jobId, floor),
      notBeforeMs: delayMs === null ? null : this.#clock.now() + delayMs,
      body: body ? { of: entry.jobId, text: 'ä€\n"' } : null,
      lease:
        lease === null ? null : { ...this.#ref(lease), token: await this.#token(entry.jobId, lease.token) },
    };
  }

  #granted(key: string, jobId: string, token: string): void {
    const tokens = this.#tokens.get(jobId) ?? [];
    if (tokens.at(-1) !== token) this.#tokens.set(jobId, [...tokens, token]);
    const running = this.#running.get(key) ?? new Map<string, string>();
    this.#running.set(key, running.set(jobId, token));
  }

  async #step(operation: Operation): Promise<void> {
    switch (operation.kind) {
      case 'submit':
        return await this.#submit(operation);
      case 'claim':
        return await this.#claim(operation);
      case 'turns':
        return await this.#turns(operation);
      case 'beat':
        return await this.#beat(operation);
      case 'advance':
        return await this.#clock.advanceBy(operation.ms);
      case 'restart':
      case 'loseAll':
      case 'mark':
      case 'rollback':
        return await this.#loss(operation.kind);
      case 'complete':
      case 'exit':
      case 'cancel':
      case 'progress':
        return await this.#end(operation);
      default:
        return await this.#standing(operation);
    }
  }

  async #submit({ identity, ticket, entries }: Extract<Operation, { kind: 'submit' }>): Promise<void> {
    const known = this.#identities.at(identity === 'now' ? -1 : -2) ?? this.#identities[0];
    const held = ticket ? this.#tickets.at(-1) : undefined;
    const made = await Promise.all(entries.map((each) => this.#entry(each)));
    await this.#both((broker, side) =>
      broker.submit({
        identity: known?.[side] ?? '',
        entries: made,
        ...(held ? { ticket: held[side] } : {}),
      }),
    );
  }

  async #claim(operation: Claim): Promise<void> {
    const request = this.#claimOf(operation);
    const { memory } = await this.#both((broker) => broker.claim(request));
    this.#claimed(request, memory);
  }

  #claimOf({ machine: named, request, groups, warmLanes }: Claim): ClaimRequest {
    const machine = this.#ref(named);
    const key = machineKey(machine);
    const last = this.#requests.get(key) ?? 0;
    const requestId = { next: last + 1, repeat: Math.max(1, last), first: 1 }[request];
    this.#requests.set(key, Math.max(last, requestId));
    return { ...machine, requestId, groups, warmLanes, classId: 'c1' };
  }

  #claimed(request: ClaimRequest, answer: ClaimAnswer | undefined): void {
    if (answer?.kind === 'leased') this.#granted(machineKey(request), answer.lease.jobId, answer.lease.token);
  }

  async #turns(operation: Extract<Operation, { kind: 'turns' }>): Promise<void> {
    const completions: EndRequest[] = [];
    for (const each of operation.completions) completions.push(await this.#completionOf(each));
    const claims = operation.claims.map((each) => this.#claimOf(each));
    const { memory } = await this.#both((broker) => broker.turns({ completions, claims }));
    for (const [at, request] of claims.entries()) this.#claimed(request, memory.claims[at]);
  }

  async #completionOf({ jobId, token, floor }: Completion): Promise<EndRequest> {
    const fenceFloor = await this.#floor(jobId, floor);
    return { jobId, token: await this.#token(jobId, token), fenceFloor };
  }

  async #beat({ beats }: Extract<Operation, { kind: 'beat' }>): Promise<void> {
    const requests: BeatRequest[] = [];
    for (const beat of beats) requests.push(await this.#beatOf(beat));
    const [alone] = requests;
    const answers =
      alone !== undefined && requests.length === 1
        ? [(await this.#both((broker) => broker.beat(alone))).memory]
        : (await this.#both((broker) => broker.beats(requests))).memory.answers;
    for (const [index, request] of requests.entries()) {
      const answer = answers[index];
      const key = machineKey(request);
      if (answer?.kind === 'ok') for (const jobId of answer.drop) this.#running.get(key)?.delete(jobId);
      else this.#running.delete(key);
    }
  }

  async #beatOf({ machine, omit, extra, open, groups }: Beat): Promise<BeatRequest> {
    const ref = this.#ref(machine);
    const key = machineKey(ref);
    const running = [...(this.#running.get(key) ?? [])]
      .filter(([jobId]) => Number(jobId.slice(4)) % 4 !== omit)
      .map(([jobId, token]) => ({ jobId, token }));
    if (extra !== null)
      running.push({ jobId: extra.jobId, token: await this.#token(extra.jobId, extra.token) });
    const highestRequestId = this.#requests.get(key) ?? 0;
    return {
      ...ref,
      running,
      highestRequestId,
      openRequestId: open && highestRequestId > 0 ? highestRequestId : null,
      groups: groups.map((group) => ({ group, penaltyMs: 0 })),
      classId: 'c1',
    };
  }

  async #end(
    operation: Extract<Operation, { kind: 'complete' | 'exit' | 'cancel' | 'progress' }>,
  ): Promise<void> {
    if (operation.kind === 'progress') {
      const items = await Promise.all(
        operation.items.map(async (item) => ({ ...item, token: await this.#token(item.jobId, item.token) })),
      );
      await this.#both(async (broker) => (await broker.progress(items)) ?? null);
      return;
    }
    const { jobId } = operation;
    const fenceFloor = await this.#floor(jobId, operation.floor);
    if (operation.kind === 'cancel') {
      await this.#both((broker) => broker.cancel({ jobId, fenceFloor }));
      return;
    }
    const token = await this.#token(jobId, operation.token);
    if (operation.kind === 'complete') {
      await this.#both((broker) => broker.complete({ jobId, token, fenceFloor }));
      return;
    }
    const { state, attempts, runs, delayMs, cancelRequested } = operation;
    const notBeforeMs = delayMs === null ? null : this.#clock.now() + delayMs;
    await this.#both((broker) =>
      broker.exit({ jobId, token, fenceFloor, state, attempts, runs, notBeforeMs, cancelRequested }),
    );
  }

  async #standing(operation: Operation): Promise<void> {
    switch (operation.kind) {
      case 'lapsed':
        await this.#both((broker) => broker.lapsed({ limit: operation.limit }));
        return;
      case 'promote':
        await this.#both((broker) => broker.promote({ limit: operation.limit }));
        return;
      case 'stats':
        await this.#both((broker) => broker.stats());
        return;
      case 'list':
        await this.#both((broker) => broker.list(operation));
        return;
      case 'enrol':
      case 'leave':
      case 'shorten':
      case 'passWake':
        return await this.#machine(operation);
      default:
        return await this.#recording(operation);
    }
  }

  async #machine(
    operation: Extract<Operation, { kind: 'enrol' | 'leave' | 'shorten' | 'passWake' }>,
  ): Promise<void> {
    const ref = this.#ref(operation.machine);
    if (operation.kind === 'enrol') await this.#both((broker) => broker.enrol(ref));
    else if (operation.kind === 'leave') await this.#both((broker) => broker.leave(ref));
    else if (operation.kind === 'shorten')
      await this.#both((broker) => broker.shorten({ ...ref, restMs: operation.restMs }));
    else if (operation.kind === 'passWake')
      await this.#both((broker) => broker.passWake({ ...ref, groups: operation.groups }));
  }

  async #recording(operation: Operation): Promise<void> {
    switch (operation.kind) {
      case 'events': {
        const { memory } = await this.#both((broker) =>
          broker.events({ after: this.#lastEvent, limit: operation.limit }),
        );
        this.#lastEvent = memory.events.at(-1)?.id ?? this.#lastEvent;
        return;
      }
      case 'trim': {
        const known = this.#identities.at(operation.identity === 'now' ? -1 : -2) ?? this.#identities[0];
        const upTo = Math.floor(this.#lastEvent * operation.share);
        await this.#both(
          async (broker, side) => (await broker.trimEvents({ identity: known?.[side] ?? '', upTo })) ?? null,
        );
        return;
      }
      case 'reconcileStart': {
        const nonce = `nonce-${++this.#nonces}`;
        this.#tickets.push(await this.#both((broker) => broker.reconcileStart({ nonce })));
        return;
      }
      case 'reconcileFinish': {
        const ticket = this.#tickets.at(operation.ticket === 'last' ? -1 : -2);
        if (ticket !== undefined) await this.#both((broker, side) => broker.reconcileFinish(ticket[side]));
        return;
      }
      default:
        throw new Error(`nothing plays ${operation.kind}`);
    }
  }

  /** The same for both: another identity, with all, none or the marked part of the data. */
  async #loss(kind: 'restart' | 'loseAll' | 'mark' | 'rollback'): Promise<void> {
    if (kind === 'mark') {
      this.#mark = { memory: this.#server.mark(), redis: await dumpAll(this.#redis) };
      return;
    }
    if (kind === 'rollback' && this.#mark === null) return;
    if (kind === 'restart') this.#server.restart();
    else if (kind === 'loseAll') this.#server.loseAll();
    else this.#server.rollback(this.#mark?.memory as BrokerMark);
    if (kind !== 'restart') await this.#redis.flushall();
    if (kind === 'rollback') await restoreAll(this.#redis, this.#mark?.redis as [string, Buffer][]);
    // The birth is part of the identity: a stand-in for the run id, which only a new process has.
    if (kind !== 'loseAll') await this.#redis.hset('{emp:0}:meta', 'birth', `r${++this.#births}`);
    await this.#noteIdentity();
  }
}
