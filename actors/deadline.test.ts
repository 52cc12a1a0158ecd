import { describe, expect, test } from 'vitest';
import { EmpError } from '#protocol/errors.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { withDeadline, withRetries } from './deadline.ts';

const delays = { baseMs: 100, limitMs: 1_000 };

describe('withDeadline', () => {
  test('answers in time, and leaves no timer', async () => {
    const { clock } = simEnv({ seed: 1 });
    expect(await withDeadline(clock, { limitMs: 100, what: 'it' }, async () => 7)).toBe(7);
    expect(clock.pending).toBe(0);
  });

  test('past the limit it rejects by name and aborts the work, even work that does not listen', async () => {
    const { clock } = simEnv({ seed: 1 });
    let seen: AbortSignal | null = null;
    const late = withDeadline(clock, { limitMs: 100, what: 'the start' }, (signal) => {
      seen = signal;
      return new Promise(() => undefined);
    });
    const refused = expect(late).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('the start'),
    });
    await clock.advanceBy(100);
    await refused;
    expect((seen as unknown as AbortSignal).aborted).toBe(true);
  });

  test('an abort from outside ends it with that reason', async () => {
    const { clock } = simEnv({ seed: 1 });
    const controller = new AbortController();
    const work = withDeadline(
      clock,
      { limitMs: 100, what: 'it', signal: controller.signal },
      () => new Promise(() => undefined),
    );
    controller.abort(new Error('cancelled'));
    await expect(work).rejects.toThrow('cancelled');
    await expect(
      withDeadline(clock, { limitMs: 100, what: 'it', signal: controller.signal }, async () => 1),
    ).rejects.toThrow('cancelled');
  });
});

describe('withRetries', () => {
  async function trial(errors: unknown[], tries = 3) {
    const env = simEnv({ seed: 1 });
    let calls = 0;
    const outcome = withRetries(env, { tries, delays, signal: new AbortController().signal }, async () => {
      const error = errors[calls++];
      if (error !== undefined) throw error;
      return 'done';
    }).catch((error: unknown) => error);
    await env.clock.advanceBy(10_000);
    return { outcome: await outcome, calls };
  }
  const passing = new EmpError('INPUT_UNAVAILABLE');
  const final = new EmpError('JOB_FAILED');

  test('tries again while it may help', async () => {
    expect(await trial([passing, passing])).toEqual({ outcome: 'done', calls: 3 });
  });

  test('gives up after the last try', async () => {
    expect(await trial([passing, passing, passing, passing])).toEqual({ outcome: passing, calls: 3 });
  });

  test('does not try again what cannot succeed', async () => {
    expect(await trial([final])).toEqual({ outcome: final, calls: 1 });
  });

  test('an abort ends the wait', async () => {
    const env = simEnv({ seed: 1 });
    const controller = new AbortController();
    const work = withRetries(env, { tries: 9, delays, signal: controller.signal }, async () => {
      throw passing;
    });
    const refused = expect(work).rejects.toThrow('cancelled');
    await env.clock.settle();
    controller.abort(new Error('cancelled'));
    await refused;
  });
});
