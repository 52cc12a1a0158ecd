import { expect, test } from 'vitest';
import { WorkerPool } from './worker-pool.ts';

/** Answers with its own number; throws for a negative task. */
const script = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort, threadId } from 'node:worker_threads';
    parentPort.on('message', (task) => {
      if (task === 'end') return parentPort.close();
      const { number, value } = task;
      parentPort.postMessage(value < 0 ? { number, error: 'negative' } : { number, answer: { value, threadId } });
    });
  `)}`,
);

interface Answer {
  value: number;
  threadId: number;
}

const open = (threads: number, signal = new AbortController().signal) =>
  new WorkerPool<{ value: number }, Answer>({ script, threads, signal });

test('every task is answered, and no thread does more than 25', async () => {
  const pool = open(2);
  const answers = await Promise.all(Array.from({ length: 120 }, (_, value) => pool.ask({ value })));
  await pool.close();
  expect(answers.map(({ value }) => value)).toEqual(Array.from({ length: 120 }, (_, value) => value));
  const ofThread = new Map<number, number>();
  for (const { threadId } of answers) ofThread.set(threadId, (ofThread.get(threadId) ?? 0) + 1);
  expect(Math.max(...ofThread.values())).toBe(25);
});

test('a task that fails rejects and leaves the others alone', async () => {
  const pool = open(1);
  const [failed, done] = await Promise.allSettled([pool.ask({ value: -1 }), pool.ask({ value: 7 })]);
  await pool.close();
  expect(failed).toMatchObject({ status: 'rejected', reason: { message: 'negative' } });
  expect(done).toMatchObject({ status: 'fulfilled', value: { value: 7 } });
});

test('an abort rejects what is under way and what waits', async () => {
  const stop = new AbortController();
  const pool = open(1, stop.signal);
  const asked = [pool.ask({ value: 1 }), pool.ask({ value: 2 })];
  stop.abort(new Error('stopped'));
  const outcomes = await Promise.allSettled(asked);
  await pool.close();
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  await expect(pool.ask({ value: 3 })).rejects.toThrow('stopped');
});

test('a pool that is closed in its 25th task begins no thread and no task more', async () => {
  const pool = open(1);
  const asked = Array.from({ length: 60 }, (_, value) => pool.ask({ value }));
  for (const each of asked) each.catch(() => undefined);
  await asked[23];
  await pool.close();
  const outcomes = await Promise.allSettled(asked);
  const done = outcomes.filter(({ status }) => status === 'fulfilled').length;
  expect(done).toBeGreaterThanOrEqual(24);
  expect(done).toBeLessThanOrEqual(25);
  await expect(pool.ask({ value: 1 })).rejects.toThrow('the threads have ended');
});
