import { describe, expect, test } from 'vitest';
import { seededRng } from '#simulations/seeded-rng.ts';
import { hourMs } from './arrivals.ts';
import { Sessions } from './sessions.ts';

const repeat = { llm: 0, image: 0.6, video: 0, cpu: 0 };
const set = { models: [], family: null, vramMb: 0, pool: 'standard' as const };

/** Who asks, every `everyMs`, for `count` images. */
function ask(sessions: Sessions, count: number, everyMs: number) {
  return Array.from({ length: count }, (_, index) => {
    const atMs = index * everyMs;
    const next = sessions.next(atMs, 'image');
    sessions.remember(next.customer, 'image', set);
    return { atMs, ...next };
  });
}

describe('sessions', () => {
  test('the given share of requests is from a user seen within the hour', () => {
    const asked = ask(
      new Sessions(seededRng(1), { customers: 4_000, sameHour: 0.78, repeat }),
      10_000,
      5_000,
    );
    const last = new Map<string, number>();
    let seen = 0;
    for (const { atMs, customer } of asked) {
      if ((last.get(customer) ?? -Infinity) >= atMs - hourMs) seen++;
      last.set(customer, atMs);
    }
    expect(seen / asked.length).toBeCloseTo(0.78, 1.5);
  });

  test('only one who goes on may take the last set again, and does so by the given chance', () => {
    const asked = ask(new Sessions(seededRng(2), { customers: 4_000, sameHour: 0.5, repeat }), 10_000, 5_000);
    expect(asked.filter((one) => one.set !== null).length / asked.length).toBeCloseTo(0.5 * 0.6, 1.5);
  });

  test('who was last seen more than an hour ago begins anew', () => {
    const sessions = new Sessions(seededRng(3), {
      customers: 1,
      sameHour: 1,
      repeat: { ...repeat, image: 1 },
    });
    const first = sessions.next(0, 'image');
    sessions.remember(first.customer, 'image', set);
    expect(sessions.next(hourMs, 'image').set).toBe(set);
    expect(sessions.next(3 * hourMs, 'image').set).toBeNull();
  });

  test('the last set of one kind is none of another', () => {
    const sessions = new Sessions(seededRng(4), {
      customers: 1,
      sameHour: 1,
      repeat: { llm: 1, image: 1, video: 1, cpu: 1 },
    });
    sessions.remember(sessions.next(0, 'image').customer, 'image', set);
    sessions.next(1, 'llm');
    expect(sessions.next(2, 'llm').set).toBeNull();
  });

  test('with a single user, and with none to go on, somebody asks all the same', () => {
    const asked = ask(new Sessions(seededRng(5), { customers: 1, sameHour: 0, repeat }), 50, 1);
    expect(new Set(asked.map((one) => one.customer))).toEqual(new Set(['user-0001']));
  });
});
