import { describe, expect, test } from 'vitest';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { BoundedInbox, type InboxPolicy } from './bounded-inbox.ts';

function setup(policy: InboxPolicy, limit = 3, batch = 256) {
  const clock = new VirtualClock();
  const delivered: string[] = [];
  const overflowed: string[] = [];
  const inbox = new BoundedInbox<string>({
    limit,
    policy,
    batch,
    clock,
    key: (item) => item[0] as string,
    deliver: (item) => delivered.push(item),
    onOverflow: (item) => overflowed.push(item),
  });
  return { clock, inbox, delivered, overflowed };
}

describe('bounded inbox', () => {
  test('delivers in order, not within the push', async () => {
    const { clock, inbox, delivered } = setup('reject');
    inbox.push('a1');
    inbox.push('b1');
    expect(delivered).toEqual([]);
    expect(inbox.depth).toBe(2);
    await clock.settle();
    expect(delivered).toEqual(['a1', 'b1']);
    expect(inbox.depth).toBe(0);
  });

  test('reject refuses what finds it full, and says so', () => {
    const { inbox, overflowed } = setup('reject');
    expect(['a1', 'a2', 'a3', 'a4'].map((item) => inbox.push(item))).toEqual([true, true, true, false]);
    expect(overflowed).toEqual(['a4']);
  });

  test('dropOldest makes room for the new', async () => {
    const { clock, inbox, delivered, overflowed } = setup('dropOldest');
    for (const item of ['a1', 'a2', 'a3', 'a4']) expect(inbox.push(item)).toBe(true);
    await clock.settle();
    expect(delivered).toEqual(['a2', 'a3', 'a4']);
    expect(overflowed).toEqual(['a1']);
  });

  test('coalesce keeps the newest of each key in the place of the first, and refuses new keys when full', async () => {
    const { clock, inbox, delivered, overflowed } = setup('coalesce', 2);
    for (const item of ['a1', 'b1', 'a2', 'c1']) inbox.push(item);
    await clock.settle();
    expect(delivered).toEqual(['a2', 'b1']);
    expect(overflowed).toEqual(['c1']);
  });

  test('a burst is handled in batches, with a turn of the event loop between them', async () => {
    const { clock, inbox, delivered } = setup('reject', 1_000, 10);
    for (let item = 0; item < 25; item++) inbox.push(`${item}`);
    await clock.settle();
    expect(delivered).toHaveLength(10);
    await clock.advanceBy(0);
    expect(delivered).toHaveLength(25);
  });

  test('a closed inbox forgets what waits and takes nothing more', async () => {
    const { clock, inbox, delivered } = setup('reject');
    inbox.push('a1');
    inbox.close();
    expect(inbox.push('a2')).toBe(false);
    await clock.settle();
    expect(delivered).toEqual([]);
  });
});
