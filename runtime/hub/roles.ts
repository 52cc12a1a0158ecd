import { type ActorRefFrom, createActor, toPromise } from 'xstate';
import { singletonActors } from '#actors/singleton.ts';
import { singletonChart } from '#machines/singleton.ts';
import { missingActors } from '#machines/unprovided.ts';
import type { Env } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { Records, SingletonLease } from '#protocol/records.ts';

/** What standing work asks before each effect: the lease it acts under, or null when it must stop. */
export interface RoleLease {
  current(): SingletonLease | null;
  /** The store refused an effect as stale: the role is lost now. */
  stale(): void;
}

/** One singleton role of this hub, held while its chart says so. */
export class Role implements RoleLease {
  readonly name: string;
  readonly #actor: ActorRefFrom<typeof singletonChart>;
  #lease: SingletonLease | null = null;

  constructor(options: {
    name: string;
    ttlMs: number;
    holder: string;
    records: Records;
    env: Env;
    taken: () => void;
    /** Taken or ended. */
    changed: () => void;
  }) {
    const { name, ttlMs, holder, records, env, taken, changed } = options;
    this.name = name;
    const work = (lease: SingletonLease) => {
      this.#lease = lease;
      env.log.info('role.taken', { role: name, singletonToken: lease.token });
      taken();
      changed();
      return () => {
        this.#lease = null;
        env.log.info('role.ended', { role: name, singletonToken: lease.token });
        changed();
      };
    };
    const chart = singletonChart.provide({ actors: singletonActors({ records, env, holder, work }) });
    const missing = missingActors(chart);
    if (missing.length > 0)
      throw new EmpError('INTERNAL', { detail: `nobody provided ${missing.join(', ')}` });
    this.#actor = createActor(chart, { input: { name, ttlMs }, clock: env.clock });
  }

  start(): void {
    this.#actor.start();
  }

  current(): SingletonLease | null {
    return this.#lease;
  }

  stale(): void {
    this.#actor.send({ type: 'singleton.stale' });
  }

  /** Its holder has given it back: asks at once instead of at the next try. */
  freed(): void {
    this.#actor.send({ type: 'singleton.freed' });
  }

  /** Gives the role back, so that another hub need not wait for its time to pass. */
  async stop(): Promise<void> {
    const ended = toPromise(this.#actor);
    this.#actor.send({ type: 'singleton.stop' });
    await ended;
  }
}
