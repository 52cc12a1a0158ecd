import { type RetryDelays, retryDelayMs } from '#machines/policy/backoff-restart.ts';
import { type Clock, type Env, sleep } from '#protocol/env.ts';
import { EmpError, type ErrorCode, toEmpError } from '#protocol/errors.ts';

/**
 * Runs `work` with a signal that aborts after `limitMs`, or with `signal`. Rejects with `TIMEOUT` at
 * the limit even if `work` does not listen: its late result is dropped.
 */
export async function withDeadline<T>(
  clock: Clock,
  options: { limitMs: number; what: string; signal?: AbortSignal },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  options.signal?.throwIfAborted();
  const controller = new AbortController();
  const over = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true });
  });
  const onAbort = () => controller.abort(options.signal?.reason);
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const timer = clock.setTimeout(
    () =>
      controller.abort(
        new EmpError('TIMEOUT', { detail: `${options.what} took longer than ${options.limitMs} ms` }),
      ),
    options.limitMs,
  );
  try {
    return await Promise.race([work(controller.signal), over]);
  } finally {
    clock.clearTimeout(timer);
    options.signal?.removeEventListener('abort', onAbort);
  }
}

/** Tries again after a growing, jittered wait while the error says that it may help. */
export async function withRetries<T>(
  env: Pick<Env, 'clock' | 'rng'>,
  options: {
    tries: number;
    delays: RetryDelays;
    signal: AbortSignal;
    /** Codes that another try here would only meet again, though it may help elsewhere. */
    except?: readonly ErrorCode[];
  },
  work: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    options.signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      const { code, retryable } = toEmpError(error);
      const hopeless = !retryable || options.except?.includes(code) === true;
      if (attempt >= options.tries || hopeless || options.signal.aborted) throw error;
      await sleep(env.clock, retryDelayMs(attempt, options.delays, env.rng), options.signal);
    }
  }
}
