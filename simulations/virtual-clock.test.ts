import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VirtualClock, virtualStartMs } from './virtual-clock.ts';

describe('virtual clock', () => {
  test('a timer armed inside a timer fires at its own time, not at the end of the advance', async () => {
    const clock = new VirtualClock();
    const seen: number[] = [];
    clock.setTimeout(() => {
      seen.push(clock.monotonic());
      clock.setTimeout(() => seen.push(clock.monotonic()), 100);
    }, 100);
    await clock.advanceTo(1_000);
    expect(seen).toEqual([100, 200]);
    expect(clock.monotonic()).toBe(1_000);
    expect(clock.now()).toBe(virtualStartMs + 1_000);
  });

  test('a promise chain ends before the next timer, however long it is', async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    clock.setTimeout(() => {
      const chain = async () => {
        for (let i = 0; i < 500; i++) await Promise.resolve();
        seen.push(`chain at ${clock.monotonic()}`);
      };
      void chain();
    }, 10);
    clock.setTimeout(() => seen.push(`timer at ${clock.monotonic()}`), 10);
    await clock.advanceBy(10);
    expect(seen).toEqual(['chain at 10', 'timer at 10']);
  });

  test('five thousand timers that re-arm themselves fire in order', async () => {
    const clock = new VirtualClock();
    const fired: number[] = [];
    for (let i = 0; i < 5_000; i++) {
      clock.setTimeout(() => {
        fired.push(clock.monotonic());
        clock.setTimeout(() => fired.push(clock.monotonic()), 5_000);
      }, 5_000 - i);
    }
    expect(clock.pending).toBe(5_000);
    await clock.advanceTo(20_000);
    expect(fired).toHaveLength(10_000);
    expect(fired).toEqual([...fired].sort((a, b) => a - b));
    expect(clock.pending).toBe(0);
  });

  test('a cleared timer never fires, also when it is cleared by one of the same instant', async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    let second: unknown = null;
    clock.setTimeout(() => {
      seen.push('first');
      clock.clearTimeout(second);
    }, 5);
    second = clock.setTimeout(() => seen.push('second'), 5);
    clock.clearTimeout(clock.setTimeout(() => seen.push('third'), 1));
    clock.clearTimeout(undefined);
    expect(clock.pending).toBe(2);
    await clock.advanceTo(10);
    expect(seen).toEqual(['first']);
    expect(clock.pending).toBe(0);
  });

  test('clearing a timer twice, or after it fired, changes nothing', async () => {
    const clock = new VirtualClock();
    const id = clock.setTimeout(() => {}, 1);
    await clock.advanceTo(1);
    clock.clearTimeout(id);
    const other = clock.setTimeout(() => {}, 1);
    clock.clearTimeout(other);
    clock.clearTimeout(other);
    expect(clock.pending).toBe(0);
    expect(clock.nextMs).toBeNull();
  });

  test('wall time jumps apart from monotonic time and moves no timer', async () => {
    const clock = new VirtualClock();
    const seen: number[] = [];
    clock.setTimeout(() => seen.push(clock.now() - virtualStartMs), 1_000);
    clock.jumpWall(-60_000);
    await clock.advanceTo(999);
    expect(seen).toEqual([]);
    await clock.advanceTo(1_000);
    expect(seen).toEqual([-59_000]);
    expect(clock.monotonic()).toBe(1_000);
  });

  test('wall time is told in whole milliseconds, monotonic time exactly', async () => {
    const clock = new VirtualClock();
    await clock.advanceTo(0.75);
    expect([clock.now(), clock.monotonic()]).toEqual([virtualStartMs, 0.75]);
  });

  test('a timer that re-arms itself without delay is named instead of running for ever', async () => {
    const clock = new VirtualClock();
    const again = () => void clock.setTimeout(again, 0);
    again();
    await expect(clock.advanceBy(1)).rejects.toThrow('time stands still');
  });

  test('time does not go back, a delay is finite and one advance runs at a time', async () => {
    const clock = new VirtualClock();
    await clock.advanceTo(10);
    await expect(clock.advanceTo(9)).rejects.toThrow('time does not go back');
    expect(() => clock.setTimeout(() => {}, Number.NaN)).toThrow('finite');
    const first = clock.advanceTo(20);
    await expect(clock.advanceTo(30)).rejects.toThrow('already');
    await first;
    expect(clock.monotonic()).toBe(20);
  });

  test('an error in a timer reaches whoever advances, and the clock can go on', async () => {
    const clock = new VirtualClock();
    clock.setTimeout(() => {
      throw new Error('boom');
    }, 5);
    await expect(clock.advanceTo(10)).rejects.toThrow('boom');
    expect(clock.monotonic()).toBe(5);
    await clock.advanceTo(10);
    expect(clock.monotonic()).toBe(10);
  });

  test('a driver steps one timer at a time and skips to the end of a span', () => {
    const clock = new VirtualClock();
    const seen: number[] = [];
    clock.setTimeout(() => seen.push(1), 3);
    clock.setTimeout(() => seen.push(2), 7);
    expect(clock.step()).toBe(true);
    expect([clock.monotonic(), seen]).toEqual([3, [1]]);
    expect(() => clock.skipTo(8)).toThrow('cannot skip');
    expect(clock.step()).toBe(true);
    expect(clock.step()).toBe(false);
    clock.skipTo(9);
    expect(clock.monotonic()).toBe(9);
  });

  test('any mix of arming and clearing fires what a sorted list would', async () => {
    const action = fc.oneof(
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('set' as const), delayMs: fc.nat(50) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('clear' as const), index: fc.nat(99) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 100 }), async (actions) => {
        const clock = new VirtualClock();
        const fired: number[] = [];
        const armed: { id: unknown; delayMs: number; key: number; alive: boolean }[] = [];
        for (const item of actions) {
          if (item.kind === 'set') {
            const key = armed.length;
            armed.push({
              id: clock.setTimeout(() => fired.push(key), item.delayMs),
              delayMs: item.delayMs,
              key,
              alive: true,
            });
          } else if (armed.length > 0) {
            const timer = armed[item.index % armed.length]!;
            clock.clearTimeout(timer.id);
            timer.alive = false;
          }
        }
        const expected = armed
          .filter((timer) => timer.alive)
          .sort((a, b) => a.delayMs - b.delayMs || a.key - b.key);
        expect(clock.pending).toBe(expected.length);
        await clock.advanceTo(50);
        expect(fired).toEqual(expected.map((timer) => timer.key));
      }),
      { numRuns: 60 },
    );
  });

  test('thousands of cleared timers are forgotten and the rest keep their order', async () => {
    const clock = new VirtualClock();
    const fired: number[] = [];
    for (let i = 0; i < 6_000; i++) {
      const id = clock.setTimeout(() => fired.push(i), 6_000 - i);
      if (i % 3 !== 0) clock.clearTimeout(id);
    }
    expect(clock.pending).toBe(2_000);
    await clock.advanceTo(6_000);
    expect(fired).toEqual(Array.from({ length: 2_000 }, (_, i) => 5_997 - 3 * i));
  });
});
