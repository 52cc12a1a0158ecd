import {
  type BeatAnswer,
  type BeatRequest,
  type Broker,
  beatsLimit,
  beatsRunsLimit,
} from '#protocol/broker.ts';
import type { Env, TimerId } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { MachineLink } from './links.ts';
import type { Pulse } from './pulse.ts';

/** Longest that a beat waits for others to share its step, ms. */
const shareMs = 2;

export interface BeatsOptions {
  broker: Pick<Broker, 'beats'>;
  env: Env;
  pulse: Pulse;
  /** How long the beats of idle machines are collected, ms. */
  collectMs: number;
  /** True if what a collected beat says still holds; asked right before it is sent. */
  stillHolds(machine: MachineLink, request: BeatRequest): boolean;
  /** What became of the collected beats. Never throws. */
  carried(beats: readonly CollectedBeat[]): void;
  /** Work that nobody waits for. */
  background(name: string, work: Promise<unknown>): void;
}

/** A beat that was collected; null answer: it was left out or not served. */
export interface CollectedBeat {
  machine: MachineLink;
  request: BeatRequest;
  answer: SentAnswer | null;
}

export interface SentAnswer {
  answer: BeatAnswer;
  /** When the step was sent, monotonic ms: from then on the lease has its whole time. */
  sentMs: number;
}

interface Waiting {
  request: BeatRequest;
  resolve(answer: SentAnswer): void;
  reject(error: unknown): void;
}

/**
 * The beats of this hub's machines on their way to the Broker. One that matters goes at once, or,
 * while another step is under way, with those that come within 2 ms. Those of idle machines only keep
 * a place that the Broker has given already: they are collected for one beat interval and go together.
 */
export class Beats {
  readonly #options: BeatsOptions;
  readonly #collected = new Map<MachineLink, BeatRequest>();
  #waiting: Waiting[] = [];
  #underWay = 0;
  #shareTimer: TimerId | null = null;
  #collectTimer: TimerId | null = null;
  #stopped = false;

  constructor(options: BeatsOptions) {
    this.#options = options;
  }

  /** Resolves with the Broker's answer; rejects as the Broker does. */
  send(request: BeatRequest): Promise<SentAnswer> {
    const answer = this.#enqueue(request);
    const { clock } = this.#options.env;
    if (this.#underWay === 0 || this.#waiting.length >= beatsLimit) this.#sendWaiting();
    else this.#shareTimer ??= clock.setTimeout(() => this.#sendWaiting(), shareMs);
    return answer;
  }

  /** Goes with the next collection; of one machine the newest beat. */
  collect(machine: MachineLink, request: BeatRequest): void {
    if (this.#stopped) return;
    const { env, collectMs } = this.#options;
    this.#collected.set(machine, request);
    this.#collectTimer ??= env.clock.setTimeout(() => this.#carry(), collectMs);
  }

  /** A newer beat of this machine goes at once. */
  discard(machine: MachineLink): void {
    this.#collected.delete(machine);
  }

  /** Collects no more. What was collected is not sent: nothing depends on it. */
  stop(): void {
    const { clock } = this.#options.env;
    this.#stopped = true;
    if (this.#collectTimer !== null) clock.clearTimeout(this.#collectTimer);
    this.#collectTimer = null;
    this.#collected.clear();
  }

  #carry(): void {
    this.#collectTimer = null;
    const collected = [...this.#collected];
    this.#collected.clear();
    const carrying = collected.map(async ([machine, request]): Promise<CollectedBeat> => {
      if (!this.#options.stillHolds(machine, request)) return { machine, request, answer: null };
      return { machine, request, answer: await this.#enqueue(request).catch(() => null) };
    });
    this.#sendWaiting();
    this.#options.background('beats.collected', Promise.all(carrying).then(this.#options.carried));
  }

  #enqueue(request: BeatRequest): Promise<SentAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<SentAnswer>();
    this.#waiting.push({ request, resolve, reject });
    return promise;
  }

  #sendWaiting(): void {
    if (this.#shareTimer !== null) this.#options.env.clock.clearTimeout(this.#shareTimer);
    this.#shareTimer = null;
    for (const step of steps(this.#waiting.splice(0))) this.#options.background('beats', this.#call(step));
  }

  async #call(step: readonly Waiting[]): Promise<void> {
    const { broker, env, pulse } = this.#options;
    const sentMs = env.clock.monotonic();
    this.#underWay++;
    try {
      const given = await broker.beats(step.map(({ request }) => request));
      pulse.note(given.pulse, sentMs);
      for (const [index, { resolve, reject }] of step.entries()) {
        const answer = given.answers[index];
        if (answer === undefined) reject(new RangeError('the broker answered fewer beats than it was sent'));
        else resolve({ answer, sentMs });
      }
    } catch (error) {
      this.#refused(step, error);
    } finally {
      this.#underWay--;
    }
    if (this.#underWay === 0 && this.#waiting.length > 0) this.#sendWaiting();
  }

  /** A malformed beat must not end the leases of those that shared its step. */
  #refused(step: readonly Waiting[], error: unknown): void {
    if (step.length > 1 && toEmpError(error).code === 'VALIDATION_FAILED') {
      for (const each of step) this.#options.background('beats', this.#call([each]));
      return;
    }
    const { env, pulse } = this.#options;
    const { code } = toEmpError(error, 'BROKER_UNAVAILABLE');
    env.log.info('beats.refused', { beats: step.length, code });
    pulse.forget();
    for (const { reject } of step) reject(error);
  }
}

/** In the order in which they came, as many in one step as it may take. */
function steps(waiting: readonly Waiting[]): Waiting[][] {
  const made: Waiting[][] = [];
  let runs = 0;
  for (const each of waiting) {
    const last = made.at(-1);
    const more = each.request.running.length;
    if (last === undefined || last.length === beatsLimit || runs + more > beatsRunsLimit) {
      made.push([each]);
      runs = more;
    } else {
      last.push(each);
      runs += more;
    }
  }
  return made;
}
