import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SortedSet } from './sorted-set.ts';

interface Item {
  member: string;
  score: number;
}

/** What it must equal: an array sorted after each change. */
class SortedArray {
  items: Item[] = [];

  set(member: string, score: number): void {
    this.delete(member);
    this.items.push({ member, score });
    this.items.sort((a, b) => a.score - b.score || (a.member < b.member ? -1 : 1));
  }

  delete(member: string): boolean {
    const before = this.items.length;
    this.items = this.items.filter((item) => item.member !== member);
    return this.items.length < before;
  }

  after(place: Item, limit: number): Item[] {
    const later = (item: Item) =>
      item.score > place.score || (item.score === place.score && item.member > place.member);
    return this.items.filter(later).slice(0, limit);
  }
}

const member = fc.nat(1_500).map((n) => `m${n}`);
const score = fc.oneof(fc.integer({ min: -5, max: 5 }), fc.integer({ min: -1_000_000, max: 1_000_000 }));
const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('set' as const), member, score }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), member }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('slice' as const), member, score, limit: fc.nat(50) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('copy' as const) }) },
);

describe('sorted set', () => {
  test('equals a sorted array under any operations', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
        let set = new SortedSet();
        const array = new SortedArray();
        for (const item of operations) {
          if (item.kind === 'set') {
            set.set(item.member, item.score);
            array.set(item.member, item.score);
          } else if (item.kind === 'delete') {
            expect(set.delete(item.member)).toBe(array.delete(item.member));
          } else if (item.kind === 'slice') {
            expect(set.slice(item, item.limit)).toEqual(array.after(item, item.limit));
          } else {
            const original = set;
            set = set.copy();
            original.set('only in the original', 0);
          }
          expect(set.first()).toEqual(array.items[0] ?? null);
          expect(set.size).toBe(array.items.length);
        }
        expect(set.slice(null, array.items.length + 1)).toEqual(array.items);
        array.items.forEach((item, place) => {
          expect([set.rank(item.member), set.score(item.member), set.has(item.member)]).toEqual([
            place,
            item.score,
            true,
          ]);
        });
        expect([set.rank('nobody'), set.score('nobody'), set.has('nobody')]).toEqual([null, null, false]);
      }),
    );
  });

  test('keeps order over many chunks, filled from the front, the back and the middle, and emptied again', () => {
    const set = new SortedSet();
    const count = 5_000;
    const scoreOf = (n: number) => (n % 3 === 0 ? n : n % 3 === 1 ? -n : (n * 7_919) % 1_000);
    for (let n = 0; n < count; n++) set.set(`m${n}`, scoreOf(n));
    const expected = Array.from({ length: count }, (_, n) => ({ member: `m${n}`, score: scoreOf(n) })).sort(
      (a, b) => a.score - b.score || (a.member < b.member ? -1 : 1),
    );
    expect(set.slice(null, count)).toEqual(expected);
    let place: Item | null = null;
    const paged: Item[] = [];
    for (let page = set.slice(place, 333); page.length > 0; page = set.slice(place, 333)) {
      paged.push(...page);
      place = page.at(-1) ?? null;
    }
    expect(paged).toEqual(expected);
    expected.forEach((item, index) => {
      if (index % 97 === 0) expect(set.rank(item.member)).toBe(index);
    });
    for (const item of expected) {
      expect(set.first()).toEqual(item);
      expect(set.delete(item.member)).toBe(true);
    }
    expect([set.size, set.first()]).toEqual([0, null]);
  });

  test('a place between members, or of one that has gone, is as good as a member', () => {
    const set = new SortedSet();
    for (const [name, score] of Object.entries({ a: 1, c: 3, e: 3 })) set.set(name, score);
    expect(set.slice({ member: 'b', score: 2 }, 1)).toEqual([{ member: 'c', score: 3 }]);
    expect(set.slice({ member: 'd', score: 3 }, 5)).toEqual([{ member: 'e', score: 3 }]);
    expect(set.slice({ member: 'z', score: 9 }, 5)).toEqual([]);
  });
});
