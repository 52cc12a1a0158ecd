import { expect, test } from 'vitest';
import type { CountedWork, WaitingLimit } from '#protocol/limit.ts';
import type { Records } from '#protocol/records.ts';
import { type Room, WaitingCounts } from './waiting-counts.ts';
import { ShownCounts } from './waiting-shown.ts';

type Asked = Parameters<Records['countWaiting']>[0];

const any: CountedWork = { customer: null, pool: null, model: null };

/** A store that keeps the hub for so long with each count, and the hub's time. */
function setup({ eachMs }: { eachMs: number }) {
  const made = { nowMs: 0, turns: 0, busyMs: 0, asked: [] as number[] };
  const records = {
    countWaiting: async (asked: Asked) => {
      made.asked.push(asked.length);
      made.busyMs += eachMs * asked.length;
      made.nowMs += eachMs * asked.length;
      return asked.map(({ limit }) => Math.min(limit, 7));
    },
  };
  const nextTurn = (fn: () => void) => {
    made.turns++;
    queueMicrotask(fn);
  };
  const env = { clock: { monotonic: () => made.nowMs } };
  return { made, options: { records, env, nextTurn } };
}

const limitOf = (waiting: number): WaitingLimit => ({
  name: 'x',
  waiting,
  reason: '',
  actor: 'ann',
  createdAtMs: 0,
  updatedAtMs: 0,
});

test('counting takes at most a twentieth of the time of the hub, however many ask', async () => {
  const { made, options } = setup({ eachMs: 40 });
  const counts = new WaitingCounts(options);
  const submit = async (pool: string) => {
    const room: Room = {
      limit: limitOf(10),
      counted: { ...any, pool },
      customer: 'acme',
      rows: new Set(),
      count: counts.enter(pool),
    };
    await counts.refreshIfOld([room]);
    expect(counts.of(room)).toBe(7);
    counts.leave([room]);
  };
  for (let n = 0; n < 10; n++) await submit(`p${n}`);
  expect(made.busyMs).toBe(400);
  const fromMs = made.nowMs;
  for (let n = 0; made.nowMs < fromMs + 100_000; n++) {
    made.nowMs += 10;
    await submit(`p${n % 10}`);
  }
  expect(made.busyMs - 400).toBeGreaterThan(2_000);
  expect(made.busyMs - 400).toBeLessThanOrEqual(5_400);
});

test('many counts are asked for in steps, with a turn of the event loop between', async () => {
  const { made, options } = setup({ eachMs: 0 });
  const counts = new WaitingCounts(options);
  const roomsOf = (waiting: number, counted: CountedWork, length: number): Room[] =>
    Array.from({ length }, (_, n) => ({
      limit: limitOf(waiting),
      counted,
      customer: 'acme',
      rows: new Set(),
      count: counts.enter(JSON.stringify([waiting, counted, n])),
    }));
  await counts.refreshIfOld(roomsOf(9, any, 130));
  await counts.refreshIfOld(roomsOf(39_999, any, 5));
  await counts.refreshIfOld(roomsOf(1_000_000, any, 2));
  await counts.refreshIfOld(roomsOf(9, { ...any, customer: 'acme', pool: 'heavy' }, 6));
  expect(made.asked).toEqual([64, 64, 2, 2, 2, 1, 1, 1, 5, 1]);
  expect(made.turns).toBe(2 + 2 + 1 + 1);
});

test('what people are shown takes a twentieth of the time, and what was not counted yet comes in turn', async () => {
  const { made, options } = setup({ eachMs: 20 });
  const shown = new ShownCounts(options);
  const asked = Array.from({ length: 12 }, (_, n) => ({ customer: 'acme', pool: `p${n}`, model: null }));
  const looks = await Promise.all([shown.of(asked), shown.of(asked)]);
  expect(looks.map((counts) => counts.filter((count) => count !== null).length)).toEqual([5, 5]);
  expect(await shown.of(asked.slice(0, 1))).toEqual([7]);
  while (made.nowMs < 100_000) {
    made.nowMs += 100;
    await shown.of(asked);
  }
  expect(await shown.of(asked)).toEqual(asked.map(() => 7));
  expect(made.busyMs).toBeGreaterThan(2_000);
  expect(made.busyMs).toBeLessThanOrEqual(5_200);
});

test('a store that fails is told to who looks, and asked again', async () => {
  let isDown = true;
  const { options } = setup({ eachMs: 0 });
  const countWaiting = async (asked: Asked) => {
    if (isDown) throw new Error('down');
    return asked.map(() => 1);
  };
  const shown = new ShownCounts({ ...options, records: { countWaiting } });
  await expect(shown.of([any])).rejects.toThrow('down');
  isDown = false;
  expect(await shown.of([any])).toEqual([1]);
});
