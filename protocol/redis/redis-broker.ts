import type { Redis } from 'ioredis';
import {
  type Broker,
  type BrokerSettings,
  groupLanesLimit,
  leadersLimit,
  statsLanesLimit,
  viewedLanesLimit,
} from '#protocol/broker.ts';
import type { Clock } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import * as check from '#protocol/memory/arguments.ts';
import { machineKey } from '#protocol/names.ts';
import {
  beatArguments,
  claimArguments,
  exitArguments,
  type StepArguments,
  submitArguments,
  turnsArguments,
} from './arguments.ts';
import { brokerError, checkEviction, connect, type RedisTarget } from './connection.ts';
import { Loader, type LoaderKind } from './loader.ts';
import {
  beatAnswer,
  beatsAnswer,
  cancelAnswer,
  claimAnswer,
  eventsAnswer,
  exitAnswer,
  inspectAnswer,
  lapsedAnswer,
  leaveAnswer,
  listAnswer,
  promoteAnswer,
  type RedisBrokerStats,
  Reply,
  statsAnswer,
  submitAnswer,
  turnsAnswer,
  wakeAnswer,
} from './replies.ts';
import type { StepName } from './scripts.ts';
import { submitInParts } from './submit-parts.ts';

export interface RedisBrokerOptions {
  /** `redis://…`, `rediss://…` (TLS), or the options of ioredis (a Unix socket's `path`, sentinels). */
  url: string | RedisTarget;
  settings: BrokerSettings;
  /** Measures the time between two calls, so that a step of the server's clock is told from silence, and deadlines. */
  clock: Pick<Clock, 'monotonic' | 'setTimeout' | 'clearTimeout'>;
  /** Keys are `{prefix:0}:…`; all of them lie in one slot of a cluster. */
  prefix?: string;
  /**
   * Name of the records that the jobs stand in, one for each store. The first who comes writes it to the server;
   * who comes with another is refused with CONFIG_INVALID: a reconcile would end all jobs of the others.
   */
  owner?: string;
  protocol?: 2 | 3;
  /** `auto` takes functions where the server has them, else EVALSHA. */
  loader?: LoaderKind | 'auto';
  /** Accept a server that does not tell its eviction policy. */
  allowUnknownEviction?: boolean;
  /** Every call is refused as BROKER_UNAVAILABLE after this long, ms. Far below the life of a tombstone. */
  deadlineMs?: number;
  /**
   * Given: a server that cannot be reached at the opening is no failure; this is told why, and the
   * connection goes on trying. Calls are refused as BROKER_UNAVAILABLE until it is there.
   */
  unreachable?: (detail: string) => void;
  /** Virtual time for tests and simulations, ms; absent = the server's own TIME, read in the step. */
  now?: () => number;
}

export interface RedisBroker extends Broker {
  stats(): Promise<RedisBrokerStats>;
}

/**
 * Opens one connection to the Broker in Redis. Rejects where the server cannot be reached
 * (BROKER_UNAVAILABLE) or must not be used (CONFIG_INVALID). Afterwards the connection is made again
 * by itself whenever it breaks, and checked again before the next step runs on it.
 */
export async function openRedisBroker(options: RedisBrokerOptions): Promise<RedisBroker> {
  const connection = new StepConnection(options);
  await connection.open();
  return brokerOn(connection, options);
}

/**
 * Attempts to connect that calls wait for after a break: one that is made anew at once is worth it. With the
 * pauses before them (connection.ts: 50, 100 and 200 ms) that is a third of a second and what the attempts take.
 */
const awaitedAttempts = 3;

class StepConnection {
  readonly #options: RedisBrokerOptions;
  readonly #deadlineMs: number;
  readonly #key: string;
  readonly #redis: Redis;
  readonly #loader: Loader;
  /** Check of the present connection; null = to be made, also where the last one failed. */
  #checked: Promise<void> | null = null;
  /** Time of the newest step, and when it was sent by our own clock. */
  #newest: { serverMs: number; sentMs: number } | null = null;
  /** Why the connection broke or could not be made; ioredis tells calls only that there is none. */
  #lastError: Error | null = null;
  /** Connections that broke or were not made since the last one that was. */
  #failures = 0;
  #isClosed = false;

  constructor(options: RedisBrokerOptions) {
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? 5_000;
    this.#key = `{${options.prefix ?? 'emp'}:0}`;
    this.#redis = connect({
      target: options.url,
      protocol: options.protocol ?? 3,
      deadlineMs: this.#deadlineMs,
    });
    this.#loader = new Loader(this.#redis, options.loader ?? 'auto');
    this.#redis.on('ready', () => {
      // Another server may have another clock.
      this.#newest = null;
      this.#lastError = null;
      this.#failures = 0;
      this.#checked = null;
    });
    this.#redis.on('close', () => {
      this.#failures++;
    });
    // Without a listener ioredis prints to the console. Each call tells its own caller what failed.
    this.#redis.on('error', (error) => {
      this.#lastError = error;
    });
  }

  async open(): Promise<void> {
    try {
      await this.#redis.connect();
      await this.#ready();
    } catch (error) {
      const refusal = this.#refusal(error, 'open');
      const { unreachable } = this.#options;
      if (unreachable !== undefined && refusal.code === 'BROKER_UNAVAILABLE') {
        unreachable(refusal.message);
        return;
      }
      this.close();
      throw refusal;
    }
  }

  /** Many callers share one check; one that failed is made again by the next call. */
  async #ready(): Promise<void> {
    this.#checked ??= this.#check();
    const checked = this.#checked;
    try {
      await checked;
    } catch (error) {
      if (this.#checked === checked) this.#checked = null;
      throw error;
    }
  }

  async #check(): Promise<void> {
    await checkEviction(this.#redis, { allowUnknown: this.#options.allowUnknownEviction ?? false });
    await this.#loader.ensure();
    const { owner, settings } = this.#options;
    if (owner !== undefined)
      await this.#loader.run('identity', this.#key, [this.#now(), '', settings.leaseTtlMs, owner]);
  }

  async run(step: StepName, args: StepArguments): Promise<Reply> {
    if (this.#isClosed)
      throw new EmpError('BROKER_UNAVAILABLE', { detail: 'this connection to the broker is closed' });
    try {
      return await this.#inTime((lateMs) => this.#step(step, args, lateMs));
    } catch (error) {
      throw this.#refusal(error, step);
    }
  }

  /** One deadline for all that a call may have to do first: to connect, to check the server, to load the Lua. */
  async #inTime<T>(work: (lateMs: number) => Promise<T>): Promise<T> {
    const { clock } = this.#options;
    let timer: unknown;
    const late = new Promise<never>((_, reject) => {
      timer = clock.setTimeout(() => reject(this.#late()), this.#deadlineMs);
    });
    try {
      return await Promise.race([work(clock.monotonic() + this.#deadlineMs), late]);
    } finally {
      clock.clearTimeout(timer);
    }
  }

  #late(): Error {
    return new Error(`Command timed out: no answer within ${this.#deadlineMs} ms`);
  }

  async #step(step: StepName, args: StepArguments, lateMs: number): Promise<Reply> {
    // Waits for a connection with a command that may be late: a step must not run after its caller left.
    if (this.#redis.status !== 'ready') {
      this.#refuseWhileBroken();
      await this.#redis.ping();
    }
    await this.#ready();
    const sentMs = this.#options.clock.monotonic();
    if (sentMs >= lateMs) throw this.#late();
    const head = [this.#now(), this.#latest(sentMs, lateMs), this.#options.settings.leaseTtlMs];
    const values = await this.#loader.run(step, this.#key, [...head, ...args]);
    if (!Array.isArray(values)) throw new EmpError('INTERNAL', { detail: `${step} answered no list` });
    this.#newest = { serverMs: Number(values[0]), sentMs };
    return new Reply(values.slice(1));
  }

  /** A server that has been away for longer is tried by the connection itself: callers go on without it. */
  #refuseWhileBroken(): void {
    if (this.#failures > awaitedAttempts) throw this.#lastError ?? new Error('Connection is closed');
  }

  #refusal(error: unknown, step: string): EmpError {
    const isEmpty =
      error instanceof Error && /^(Connection is closed|Reached the max retries)/.test(error.message);
    if (error instanceof Error && error.message.includes('EMPOWNER'))
      return new EmpError('CONFIG_INVALID', {
        detail: `REDIS_URL: the keys ${this.#key}:* of this Redis are the queue of other records than those of this hub: give each installation an EMP_REDIS_PREFIX, or a Redis, of its own. Where those records are gone for good, delete these keys`,
        fields: { step },
        cause: error,
      });
    return brokerError(isEmpty ? (this.#lastError ?? error) : error, step);
  }

  close(): void {
    this.#isClosed = true;
    this.#redis.disconnect();
  }

  #now(): string {
    return this.#options.now === undefined ? '' : String(Math.floor(this.#options.now()));
  }

  /** The server's time beyond which this step would run late or on a moved clock; '' before the first answer. */
  #latest(sentMs: number, lateMs: number): string {
    if (this.#newest === null) return '';
    const elapsedMs = sentMs - this.#newest.sentMs;
    return String(Math.ceil(this.#newest.serverMs + elapsedMs + lateMs - sentMs));
  }
}

/** Arguments are judged as in memory, before anything is sent. */
function brokerOn(
  connection: StepConnection,
  { settings, owner = '' }: Pick<RedisBrokerOptions, 'settings' | 'owner'>,
): RedisBroker {
  const run: Run = (step, args) => connection.run(step, args);
  return {
    ...jobMethods(run, settings),
    ...machineMethods(run),
    ...standingMethods(run, owner),
    async close() {
      connection.close();
    },
  };
}

type Run = (step: StepName, args: StepArguments) => Promise<Reply>;

type JobMethods = Pick<
  Broker,
  'submit' | 'claim' | 'progress' | 'complete' | 'turns' | 'exit' | 'cancel' | 'promote' | 'inspect' | 'list'
>;

function jobMethods(run: Run, settings: BrokerSettings): JobMethods {
  return {
    async submit(options) {
      check.submit(options);
      return await submitInParts(options.entries, async (entries) =>
        submitAnswer(await run('submit', submitArguments({ ...options, entries }, settings))),
      );
    },
    async claim(request) {
      check.claim(request);
      return claimAnswer(await run('claim', claimArguments(request)));
    },
    async progress(items) {
      check.progress(items);
      const flat = items.flatMap(({ jobId, token, fraction }) => [jobId, token, fraction]);
      await run('progress', [items.length, ...flat]);
    },
    async complete(request) {
      check.end(request);
      const reply = await run('complete', [request.jobId, request.token, request.fenceFloor]);
      return { kind: reply.one('removed', 'unchanged') };
    },
    async turns(request) {
      check.turns(request);
      return turnsAnswer(await run('turns', turnsArguments(request)));
    },
    async exit(request) {
      check.exit(request);
      return exitAnswer(await run('exit', exitArguments(request)));
    },
    async cancel(request) {
      check.cancel(request);
      return cancelAnswer(await run('cancel', [request.jobId, request.fenceFloor]));
    },
    async promote(options) {
      check.limit(options);
      return promoteAnswer(await run('promote', [options.limit]));
    },
    async inspect(jobId) {
      check.jobId(jobId);
      return inspectAnswer(await run('inspect', [jobId, viewedLanesLimit, leadersLimit]), jobId);
    },
    async list(options) {
      check.page(options);
      return listAnswer(await run('list', [options.after ?? '', options.limit]));
    },
  };
}

type MachineMethods = Pick<Broker, 'beat' | 'beats' | 'lapsed' | 'enrol' | 'shorten' | 'leave' | 'passWake'>;

function machineMethods(run: Run): MachineMethods {
  return {
    async beat(request) {
      check.beat(request);
      return beatAnswer(await run('beat', beatArguments([request])));
    },
    async beats(requests) {
      check.beats(requests);
      return beatsAnswer(await run('beat', beatArguments(requests)));
    },
    async lapsed(options) {
      check.limit(options);
      return lapsedAnswer(await run('lapsed', [options.limit]));
    },
    async enrol(ref) {
      check.ref(ref);
      return { kind: (await run('enrol', [machineKey(ref)])).one('ok', 'superseded') };
    },
    async shorten(options) {
      check.shorten(options);
      const reply = await run('shorten', [machineKey(options), options.restMs]);
      return { earliestExpiryMs: reply.numberOrNull(0) };
    },
    async leave(ref) {
      check.ref(ref);
      return leaveAnswer(await run('leave', [machineKey(ref)]));
    },
    async passWake(options) {
      check.passWake(options);
      const { groups } = options;
      return wakeAnswer(await run('pass-wake', [machineKey(options), groups.length, ...groups]));
    },
  };
}

type StandingMethods = Pick<
  Broker,
  'identity' | 'events' | 'trimEvents' | 'reconcileStart' | 'reconcileFinish'
> &
  Pick<RedisBroker, 'stats'>;

/** Entries that one step puts back in order: some 10 ms of Redis. */
const repairLimit = 1_000;

function standingMethods(run: Run, owner: string): StandingMethods {
  return {
    async identity() {
      const reply = await run('identity', [owner]);
      return { identity: reply.text(0), open: reply.flag(1) };
    },
    async events(options) {
      check.events(options);
      return eventsAnswer(await run('events', [options.after, options.limit]));
    },
    async trimEvents(options) {
      check.trimEvents(options);
      const { identity, upTo } = options;
      // Short steps, repeated: what is trimmed stays trimmed, whoever is interrupted.
      for (;;) {
        const reply = await run('trim-events', [identity, upTo]);
        if (!reply.flag(0)) return;
      }
    },
    async reconcileStart(options) {
      check.reconcileStart(options);
      const { nonce } = options;
      const reply = await run('reconcile-start', [nonce, owner]);
      // Only then is there a ticket: what a reconcile opens has been put in order.
      let after = reply.flag(1) ? null : '';
      while (after !== null) after = (await run('repair', [nonce, after, repairLimit])).text(0) || null;
      return { identity: reply.text(0), nonce };
    },
    async reconcileFinish(ticket) {
      check.ticket(ticket);
      const reply = await run('reconcile-finish', [ticket.identity, ticket.nonce]);
      return { kind: reply.one('open', 'changed') };
    },
    async stats() {
      return statsAnswer(await run('stats', [groupLanesLimit, statsLanesLimit]));
    },
  };
}
