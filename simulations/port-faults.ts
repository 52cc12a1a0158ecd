import { type Clock, sleep } from '#protocol/env.ts';
import { EmpError, type ErrorCode } from '#protocol/errors.ts';
import type { PortCall, PortLayer } from './port-layer.ts';

/** Which calls a fault meets: those of `method`, of `process` if named, for which `where` is true. */
export interface CallMatch<M extends string> {
  method: M | M[];
  process?: string;
  where?: (args: readonly unknown[]) => boolean;
  /** How many calls it meets before it is used up; 1 unless told otherwise. */
  times?: number;
}

type Effect =
  | { kind: 'pause'; when: 'before' | 'after'; pause: Pause }
  | { kind: 'refuse' }
  | { kind: 'loseReply' }
  | { kind: 'delay'; when: 'before' | 'after'; delayMs: number };

interface Fault {
  methods: string[];
  process: string | undefined;
  where: ((args: readonly unknown[]) => boolean) | undefined;
  left: number;
  effect: Effect;
}

/** A call stopped at a named place until the test lets it go on, or never: the process died there. */
export class Pause {
  #open: (() => void) | null = null;
  readonly #gate = new Promise<void>((resolve) => {
    this.#open = resolve;
  });
  #arrive: (() => void) | null = null;
  readonly #arrived = new Promise<void>((resolve) => {
    this.#arrive = resolve;
  });
  #hits = 0;

  /** Resolves when a call has come to this place. */
  reached(): Promise<void> {
    return this.#arrived;
  }

  get hits(): number {
    return this.#hits;
  }

  /** Lets every call that waits here, and later ones, go on. */
  release(): void {
    this.#open?.();
  }

  /** Called by the layer at the place itself. */
  pass(): Promise<void> {
    this.#hits++;
    this.#arrive?.();
    return this.#gate;
  }
}

/**
 * Faults in front of one port, set by tests and fault scripts. Each fault is used up by the calls it
 * meets; faults that were never met are listed by `unmet`, because a test whose fault did not happen
 * has shown nothing.
 */
export class PortFaults<M extends string> {
  readonly #clock: Clock;
  readonly #code: ErrorCode;
  readonly #faults: Fault[] = [];
  readonly #counts = new Map<string, number>();
  readonly #outages = new Set<{ waitMs: number }>();
  /** Failovers so far: a call that was under way at one of them loses its answer. */
  #failovers = 0;

  /** `code` is what callers get when the port does not answer. */
  constructor(options: { clock: Clock; code: ErrorCode }) {
    this.#clock = options.clock;
    this.#code = options.code;
  }

  /** Stops the call before it reaches the store. */
  pauseBefore(match: CallMatch<M>): Pause {
    return this.#pause(match, 'before');
  }

  /** Stops the call after the store has done it, before the caller learns of it. */
  pauseAfter(match: CallMatch<M>): Pause {
    return this.#pause(match, 'after');
  }

  /** The store is not reached: the call fails and nothing was done. */
  refuse(match: CallMatch<M>): void {
    this.#add(match, { kind: 'refuse' });
  }

  /** The store does the work and its answer is lost: the call fails all the same. */
  loseReply(match: CallMatch<M>): void {
    this.#add(match, { kind: 'loseReply' });
  }

  delay(match: CallMatch<M> & { delayMs: number; when: 'before' | 'after' }): void {
    this.#add(match, { kind: 'delay', when: match.when, delayMs: match.delayMs });
  }

  /**
   * The port answers nobody until the returned function is called; callers learn of it after `waitMs`,
   * the deadline of a client that hears nothing. Outages may overlap.
   */
  outage(options: { waitMs?: number } = {}): () => void {
    const outage = { waitMs: options.waitMs ?? 0 };
    this.#outages.add(outage);
    return () => void this.#outages.delete(outage);
  }

  /** As an outage; besides, calls that are under way now do their work and lose their answers. */
  failover(): () => void {
    this.#failovers++;
    return this.outage();
  }

  /** Calls of a method so far, whatever became of them. */
  count(method: M): number {
    return this.#counts.get(method) ?? 0;
  }

  /** Faults that no call has met yet, by kind and method. */
  unmet(): string[] {
    return this.#faults
      .filter((fault) => Number.isFinite(fault.left) && fault.left > 0)
      .map((fault) => `${fault.effect.kind} ${fault.methods.join('|')}`);
  }

  readonly layer: PortLayer = async (call, next) => {
    this.#counts.set(call.method, (this.#counts.get(call.method) ?? 0) + 1);
    await this.#meetOutage(call);
    const failovers = this.#failovers;
    const met = this.#meet(call);
    for (const effect of met) await this.#before(effect, call);
    const answer = await next();
    if (this.#failovers !== failovers) throw this.#error(call, 'was under way when its server was replaced');
    for (const effect of met) await this.#after(effect, call);
    return answer;
  };

  async #meetOutage(call: PortCall): Promise<void> {
    const [outage] = this.#outages;
    if (outage === undefined) return;
    if (outage.waitMs > 0) await sleep(this.#clock, outage.waitMs);
    throw this.#error(call, 'met an outage');
  }

  #pause(match: CallMatch<M>, when: 'before' | 'after'): Pause {
    const pause = new Pause();
    this.#add(match, { kind: 'pause', when, pause });
    return pause;
  }

  #add(match: CallMatch<M>, effect: Effect): void {
    const methods = Array.isArray(match.method) ? match.method : [match.method];
    this.#faults.push({
      methods,
      process: match.process,
      where: match.where,
      left: match.times ?? 1,
      effect,
    });
  }

  #meet(call: PortCall): Effect[] {
    const met: Effect[] = [];
    for (const fault of this.#faults) {
      if (fault.left <= 0 || !fault.methods.includes(call.method)) continue;
      if (fault.process !== undefined && fault.process !== call.process) continue;
      if (fault.where && !fault.where(call.args)) continue;
      fault.left--;
      met.push(fault.effect);
    }
    return met;
  }

  async #before(effect: Effect, call: PortCall): Promise<void> {
    if (effect.kind === 'refuse') throw this.#error(call, 'was refused');
    if (effect.kind === 'pause' && effect.when === 'before') await effect.pause.pass();
    if (effect.kind === 'delay' && effect.when === 'before') await sleep(this.#clock, effect.delayMs);
  }

  async #after(effect: Effect, call: PortCall): Promise<void> {
    if (effect.kind === 'loseReply') throw this.#error(call, 'was done, its reply was lost');
    if (effect.kind === 'pause' && effect.when === 'after') await effect.pause.pass();
    if (effect.kind === 'delay' && effect.when === 'after') await sleep(this.#clock, effect.delayMs);
  }

  #error(call: PortCall, what: string): EmpError {
    return new EmpError(this.#code, {
      detail: `simulated: ${call.port}.${call.method} of ${call.process} ${what}`,
    });
  }
}
