import { describe, expect, test } from 'vitest';
import { type CachedModel, evictionValue, planEviction } from './eviction.ts';

const MiB = 1_048_576;
const model = (modelId: string, rest: Partial<CachedModel> = {}): CachedModel => ({
  modelId,
  bytes: 100 * MiB,
  uses: 1,
  inflation: 0,
  pinned: false,
  ...rest,
});
const plan = (models: CachedModel[], wantedMiB: number, limitMiB: number) =>
  planEviction({
    models,
    usedBytes: models.reduce((sum, entry) => sum + entry.bytes, 0),
    wantedBytes: wantedMiB * MiB,
    limitBytes: limitMiB * MiB,
    inflation: 0,
  });

describe('eviction', () => {
  test('evicts nothing while there is room', () => {
    expect(plan([model('a')], 50, 150)).toEqual({ evict: [], inflation: 0, fits: true });
  });

  test('evicts the least used first, and no more than needed', () => {
    expect(plan([model('a', { uses: 5 }), model('b'), model('c', { uses: 3 })], 100, 300).evict).toEqual([
      'b',
    ]);
  });

  test('by the rule lru the last use alone counts', () => {
    const models = [model('often', { uses: 50, inflation: 1 }), model('lately', { uses: 1, inflation: 2 })];
    const evictOne = (rule: 'lru' | 'value') =>
      planEviction({
        models,
        usedBytes: 200 * MiB,
        wantedBytes: 100 * MiB,
        limitBytes: 200 * MiB,
        inflation: 2,
        rule,
      }).evict;
    expect(evictOne('lru')).toEqual(['often']);
    expect(evictOne('value')).toEqual(['lately']);
  });

  test('never evicts what is pinned, and nothing at all if that would not suffice', () => {
    expect(plan([model('a', { pinned: true }), model('b')], 250, 300)).toMatchObject({
      evict: [],
      fits: false,
    });
    expect(plan([model('a', { pinned: true }), model('b')], 200, 300).evict).toEqual(['b']);
  });

  test('per byte a small model is worth more: the start of a fetch weighs more on it', () => {
    expect(evictionValue(model('small', { bytes: MiB }))).toBeGreaterThan(
      evictionValue(model('large', { bytes: 1_000 * MiB })),
    );
  });

  test('the base rises to the value of what was evicted, so that newcomers outlive old favourites', () => {
    const { inflation } = plan([model('a', { uses: 9 }), model('b')], 200, 300 - 100);
    expect(inflation).toBeGreaterThan(evictionValue(model('b')));
  });

  test('equal models go in the order of their names, on every machine alike', () => {
    expect(plan([model('b'), model('a')], 100, 200).evict).toEqual(['a']);
  });
});
