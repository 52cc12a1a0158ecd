import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { claimTargets, type LaneKnowledge, type ServableGroup } from './claim-groups.ts';

const policy = { spillPenaltyMs: 15_000, ageWeight: 1, fetchBytesPerMs: 1_000, warmBonusLimitMs: 30_000 };
const group = (
  groupId: string,
  more: { pool?: string; service?: string; waiting?: number; isHomeless?: boolean } = {},
): ServableGroup => ({
  groupId,
  group: { service: more.service ?? 'image', pool: more.pool ?? 'standard', requirements: {} },
  waiting: more.waiting ?? 0,
  isHomeless: more.isHomeless ?? false,
});
/** Lanes by group, those that wait and those that did; models by their bytes. */
const lanes = (
  more: {
    waiting?: Record<string, string[]>;
    seen?: Record<string, string[]>;
    bytes?: Record<string, number>;
    held?: string[];
  } = {},
): LaneKnowledge => ({
  waiting: (id) => new Map(more.waiting?.[id]?.map((affinity) => [affinity, 1])),
  seen: (id) => new Set(more.seen?.[id]),
  isHeld: ({ group: id, affinity }) => more.held?.includes(`${id}/${affinity}`) ?? false,
  bytesOf: (modelId) => more.bytes?.[modelId] ?? null,
});
const targets = (servable: ServableGroup[], more: Partial<Parameters<typeof claimTargets>[0]> = {}) =>
  claimTargets({
    servable,
    freeServices: new Set(['image', 'upscale']),
    pool: 'standard',
    resident: [],
    lanes: lanes(),
    policy,
    turn: 0,
    ageMs: () => 0,
    ...more,
  });

describe('claim groups', () => {
  test('services without a free slot are left out', () => {
    const { groups } = targets([group('g1'), group('g2', { service: 'upscale' })], {
      freeServices: new Set(['upscale']),
    });
    expect(groups.map((each) => each.group)).toEqual(['g2']);
  });

  test('a group of another pool carries the spill penalty, one of the own pool none', () => {
    expect(targets([group('g1'), group('g2', { pool: 'heavy' })]).groups).toEqual([
      { group: 'g1', penaltyMs: 0 },
      { group: 'g2', penaltyMs: 15_000 },
    ]);
  });

  test('pools without machines of their own take turns with the own pool, by how long each was given nothing', () => {
    const ages: Record<string, number> = { standard: 400, heavy: 7_000, 'fast-lane': 900_000, other: 50_000 };
    const ageMs = (pool: string) => ages[pool] ?? 0;
    const heavy = group('g2', { pool: 'heavy', isHomeless: true });
    const foreign = group('g3', { pool: 'other' });
    expect(targets([group('g1'), heavy, foreign], { ageMs }).groups).toEqual([
      { group: 'g1', penaltyMs: 6_600 },
      { group: 'g2', penaltyMs: 0 },
      // As far behind the own pool as ever.
      { group: 'g3', penaltyMs: 21_600 },
    ]);
    const fast = group('g4', { pool: 'fast-lane', isHomeless: true });
    const weighted = { ageMs, policy: { ...policy, ageWeight: 0.5 } };
    expect(targets([group('g1'), heavy, fast], weighted).groups.map((each) => each.penaltyMs)).toEqual([
      59_800, 56_500, 0,
    ]);
    // Beyond a minute nothing counts more.
    expect(targets([group('g1'), fast], { ageMs }).groups[0]).toEqual({ group: 'g1', penaltyMs: 59_600 });
    const weightless = { ageMs, policy: { ...policy, ageWeight: 0 } };
    expect(targets([group('g1'), heavy], weightless).groups.map((each) => each.penaltyMs)).toEqual([0, 0]);
  });

  test('of more than 32, those with waiting work come first, also of other pools', () => {
    const many = Array.from({ length: 40 }, (_, index) => group(`g${String(index).padStart(2, '0')}`));
    const busy = group('z', { pool: 'heavy', waiting: 1 });
    const { groups } = targets([...many, busy]);
    expect(groups).toHaveLength(32);
    expect(groups[0]).toEqual({ group: 'z', penaltyMs: 15_000 });
  });

  test('of more than 32 with waiting work each is named in its turn, the 24 in front always', () => {
    const many = Array.from({ length: 70 }, (_, index) =>
      group(`g${String(index).padStart(2, '0')}`, { waiting: 100 - index }),
    );
    const front = many.slice(0, 24).map((each) => each.groupId);
    const named = new Set<string>();
    for (let turn = 0; turn < 6; turn++) {
      const ids = targets(many, { turn }).groups.map((each) => each.group);
      expect(ids.slice(0, 24)).toEqual(front);
      expect(new Set(ids).size).toBe(32);
      for (const id of ids) named.add(id);
    }
    expect(named.size).toBe(70);
  });

  test('of the lanes with work those that begin soonest are named: by the way of what is missing, at most the bound', () => {
    const waiting = { g1: ['far', 'near', 'here', '-', 'unknown'], g2: ['here'], g3: ['here'] };
    const known = lanes({ waiting, bytes: { far: 30_000_000, near: 5_000_000, here: 9e12 } });
    const resident = [{ modelId: 'here', service: 'image' }];
    const servable = [group('g1'), group('g2', { pool: 'heavy' })];
    expect(targets(servable, { resident, lanes: known }).warmLanes).toEqual([
      { group: 'g1', affinity: 'here', bonusMs: 30_000 },
      { group: 'g1', affinity: '-', bonusMs: 30_000 },
      { group: 'g1', affinity: 'near', bonusMs: 25_000 },
      // As near, and behind the own pool by the penalty.
      { group: 'g2', affinity: 'here', bonusMs: 30_000 },
    ]);
  });

  test('of more than 16 lanes with work those whose bonus is smallest are left to their groups', () => {
    const models = Array.from({ length: 20 }, (_, index) => `m${index}`);
    const bytes = Object.fromEntries(models.map((model, index) => [model, index * 1_000_000]));
    const { warmLanes } = targets([group('g1')], { lanes: lanes({ waiting: { g1: models }, bytes }) });
    expect(warmLanes.map(({ affinity }) => affinity)).toEqual(models.slice(0, 16));
  });

  test('a lane that is held is not named, and a group without other work is left out', () => {
    const waiting = { g1: ['far'], g2: ['far', 'near'], g4: ['here'] };
    const bytes = { far: 10_000_000, near: 5_000_000 };
    const held = ['g1/far', 'g2/far', 'g4/here'];
    const found = targets(
      ['g1', 'g2', 'g3', 'g4'].map((id) => group(id)),
      {
        resident: [{ modelId: 'here', service: 'image' }],
        lanes: lanes({ waiting, bytes, held }),
      },
    );
    // What is resident is never held.
    expect(found.groups.map((each) => each.group)).toEqual(['g2', 'g3', 'g4']);
    const named = found.warmLanes.map((lane) => `${lane.group}/${lane.affinity}`);
    expect(named.slice(0, 2)).toEqual(['g4/here', 'g2/near']);
    // Known by what it has, where it finds nothing.
    expect(named.slice(2)).toEqual(['g2/here', 'g3/here']);
  });

  test('a group of which not all work is known is not left out, and beside a held lane any other goes before it', () => {
    const bytes = { far: 1e9, farther: 2e9 };
    const held = ['g1/far'];
    const some = [group('g1', { waiting: 2 })];
    const known = lanes({ waiting: { g1: ['far'] }, bytes, held });
    expect(targets(some, { lanes: known }).groups.map((each) => each.group)).toEqual(['g1']);
    const all = lanes({ waiting: { g1: ['far', 'farther'] }, bytes, held });
    expect(targets(some, { lanes: all }).warmLanes).toEqual([
      { group: 'g1', affinity: 'farther', bonusMs: 15_000 },
    ]);
  });

  test('where nothing waits resident models are named in the groups of their service, used lanes first', () => {
    const resident = [
      { modelId: 'small', service: 'image' },
      { modelId: 'large', service: 'image' },
      { modelId: 'other', service: 'video' },
    ];
    const servable = [group('g1'), group('g2', { service: 'upscale' }), group('g3')];
    const known = lanes({ seen: { g1: ['large'], g3: ['small', 'gone'] } });
    expect(targets(servable, { resident, lanes: known }).warmLanes).toEqual(
      [
        ['g3', 'small'],
        ['g1', 'large'],
        ['g1', 'small'],
        ['g3', 'large'],
      ].map(([id, affinity]) => ({ group: id, affinity, bonusMs: 30_000 })),
    );
  });

  test('never more than 32 groups and 16 lanes; where work waits the order of the inputs does not matter, empty groups keep it, the own pool’s in front', () => {
    const arb = fc.uniqueArray(
      fc.record({
        id: fc.integer({ min: 0, max: 99 }),
        pool: fc.constantFrom('standard', 'heavy'),
        waiting: fc.nat(3),
      }),
      { maxLength: 60, selector: (each) => each.id },
    );
    fc.assert(
      fc.property(arb, fc.nat(20), (list, models) => {
        const servable = list.map((each) => group(`g${each.id}`, each));
        const resident = Array.from({ length: models }, (_, index) => ({
          modelId: `m${index}`,
          service: 'image',
        }));
        const found = targets(servable, { resident });
        expect(found.groups.length).toBe(Math.min(32, servable.length));
        expect(found.warmLanes.length).toBeLessThanOrEqual(16);
        const full = (answer: typeof found) =>
          answer.groups.filter(({ group: id }) =>
            servable.some((each) => each.groupId === id && each.waiting > 0),
          );
        const other = targets([...servable].reverse(), { resident });
        expect(full(other)).toEqual(full(found));
        expect(found.groups.slice(0, full(found).length)).toEqual(full(found));
        const empty = ['standard', 'heavy'].flatMap((pool) =>
          servable.filter((each) => each.waiting === 0 && each.group.pool === pool),
        );
        expect(found.groups.slice(full(found).length).map((each) => each.group)).toEqual(
          empty.slice(0, 32 - full(found).length).map((each) => each.groupId),
        );
      }),
    );
  });
});
