import {
  type Broker,
  type ClaimAnswer,
  type ClaimRequest,
  type EndRequest,
  turnsLimit,
} from '#protocol/broker.ts';
import type { Clock, TimerId } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';

/** Longest that a completion or a claim waits for others to share its step, ms. */
const shareMs = 2;

type Ended = Awaited<ReturnType<Broker['complete']>>;

export interface TurnsOptions {
  broker: Pick<Broker, 'complete' | 'claim' | 'turns'>;
  clock: Clock;
  /**
   * Calls `fn` when what this turn of the event loop brings has been read; costs an idle process nothing.
   * Requests that arrive together go together.
   */
  nextTurn: (fn: () => void) => void;
  /** Steps under way, which the stop awaits. None of them rejects. */
  background(name: string, work: Promise<void>): void;
}

interface Asked<R, A> {
  request: R;
  resolve(answer: A): void;
  reject(error: unknown): void;
}

type Waiting =
  | ({ kind: 'completion' } & Asked<EndRequest, Ended>)
  | ({ kind: 'claim' } & Asked<ClaimRequest, ClaimAnswer>);

/**
 * Completions and claims of this hub's machines on their way to the Broker. Where no step is under way
 * they go at once; those that come meanwhile go together when it is answered, when they fill a step, or
 * after 2 ms. One alone is the step of its own.
 */
export class Turns {
  readonly #options: TurnsOptions;
  #waiting: Waiting[] = [];
  #underWay = 0;
  #shareTimer: TimerId | null = null;
  #isSending = false;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /** As the Broker's `complete`. */
  complete(request: EndRequest): Promise<Ended> {
    const { promise, resolve, reject } = Promise.withResolvers<Ended>();
    this.#enqueue({ kind: 'completion', request, resolve, reject });
    return promise;
  }

  /** As the Broker's `claim`. */
  claim(request: ClaimRequest): Promise<ClaimAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<ClaimAnswer>();
    this.#enqueue({ kind: 'claim', request, resolve, reject });
    return promise;
  }

  #enqueue(asked: Waiting): void {
    this.#waiting.push(asked);
    if (this.#waiting.length >= turnsLimit) this.#send();
    else if (this.#underWay === 0) this.#sendSoon();
    else this.#shareTimer ??= this.#options.clock.setTimeout(() => this.#send(), shareMs);
  }

  #sendSoon(): void {
    if (this.#isSending) return;
    this.#isSending = true;
    this.#options.nextTurn(() => {
      this.#isSending = false;
      this.#send();
    });
  }

  #send(): void {
    if (this.#shareTimer !== null) this.#options.clock.clearTimeout(this.#shareTimer);
    this.#shareTimer = null;
    while (this.#waiting.length > 0)
      this.#options.background('turns', this.#call(this.#waiting.splice(0, turnsLimit)));
  }

  async #call(step: readonly Waiting[]): Promise<void> {
    this.#underWay++;
    try {
      const [alone] = step;
      if (alone !== undefined && step.length === 1) await this.#callAlone(alone);
      else await this.#callTogether(step);
    } finally {
      this.#underWay--;
    }
    if (this.#underWay === 0 && this.#waiting.length > 0) this.#sendSoon();
  }

  async #callAlone(asked: Waiting): Promise<void> {
    const { broker } = this.#options;
    try {
      if (asked.kind === 'claim') asked.resolve(await broker.claim(asked.request));
      else asked.resolve(await broker.complete(asked.request));
    } catch (error) {
      asked.reject(error);
    }
  }

  async #callTogether(step: readonly Waiting[]): Promise<void> {
    const completions = step.filter((each) => each.kind === 'completion');
    const claims = step.filter((each) => each.kind === 'claim');
    try {
      const answer = await this.#options.broker.turns({
        completions: completions.map(({ request }) => request),
        claims: claims.map(({ request }) => request),
      });
      for (const [at, each] of completions.entries()) settle(each, answer.completions[at]);
      for (const [at, each] of claims.entries()) settle(each, answer.claims[at]);
    } catch (error) {
      // A malformed request must not fail those that shared its step; nothing was sent.
      if (toEmpError(error).code === 'VALIDATION_FAILED')
        await Promise.all(step.map((each) => this.#callAlone(each)));
      else for (const { reject } of step) reject(error);
    }
  }
}

function settle<A>({ resolve, reject }: Asked<unknown, A>, answer: A | undefined): void {
  if (answer === undefined) reject(new RangeError('the broker answered fewer requests than it was sent'));
  else resolve(answer);
}

/** The Broker as this hub uses it: completions and claims share steps. */
export function withTurns(options: TurnsOptions & { broker: Broker }): Broker {
  const turns = new Turns(options);
  return {
    ...options.broker,
    complete: (request) => turns.complete(request),
    claim: (request) => turns.claim(request),
  };
}
