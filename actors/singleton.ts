import { fromCallback, fromPromise } from 'xstate';
import type { HoldAnswer, HoldQuestion, SingletonEvent } from '#machines/singleton.ts';
import type { Env } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { Records, SingletonLease } from '#protocol/records.ts';

/** Part of the TTL that a holder gives up at its end, so that it stops before another may begin. */
const marginShare = 1 / 6;

/** Begins the role's work; answers how to end it. Neither may throw. */
export type SingletonWork = (lease: SingletonLease) => () => void;

/** Effects of the singleton chart of one hub. */
export function singletonActors(options: {
  records: Pick<Records, 'holdSingleton' | 'dropSingleton'>;
  env: Env;
  /** Id of this hub. */
  holder: string;
  work: SingletonWork;
}) {
  const { records, env, holder, work } = options;
  /** When the last held lease ends for us, monotonic ms: outlives the promise actors that ask. */
  let endsMs = Number.NEGATIVE_INFINITY;
  return {
    hold: fromPromise<HoldAnswer, HoldQuestion>(async ({ input: { name, ttlMs, current } }) => {
      const sentMs = env.clock.monotonic();
      try {
        const lease = await records.holdSingleton({ name, holder, ttlMs, current });
        if (lease === null) return { kind: 'refused' };
        endsMs = sentMs + ttlMs * (1 - marginShare);
        return { kind: 'held', lease, restMs: endsMs - env.clock.monotonic() };
      } catch (error) {
        env.log.warn('singleton.unanswered', { name, detail: toEmpError(error).message });
        return { kind: 'unanswered', restMs: current === null ? 0 : endsMs - env.clock.monotonic() };
      }
    }),
    drop: fromPromise<void, { lease: SingletonLease }>(({ input }) => records.dropSingleton(input.lease)),
    work: fromCallback<SingletonEvent, { lease: SingletonLease }>(({ input }) => work(input.lease)),
  };
}
