import { describe, expect, test } from 'vitest';
import { type BrokerSetup, brokerSettings, entryOf, openRig } from './broker-fixture.conformance.ts';

/** Who goes first: one score in GPU-ms, by priority, fairness, warmth and pool, each bounded. */
export function orderSuite(setup: BrokerSetup): void {
  const open = () => openRig(setup);
  const boostMs = brokerSettings.priorityBoostMs;

  describe('order', () => {
    test('work of one customer goes first come first served', async () => {
      const rig = await open();
      for (const jobId of ['c', 'a', 'b']) await rig.add(jobId);
      expect(await rig.drain(await rig.machine('m1'))).toEqual(['c', 'a', 'b']);
    });

    test('equal scores go by the order of the request, then by lane, then by id', async () => {
      const rig = await open();
      const customers = ['p', 'q', 'r', 's', 't'];
      await rig.submit(
        entryOf('z', { group: 'g2', customer: customers[0]! }),
        entryOf('y', { group: 'g1', affinity: 'b', customer: customers[1]! }),
        entryOf('x', { group: 'g1', affinity: 'a', customer: customers[2]! }),
        entryOf('w', { group: 'g1', affinity: 'a', customer: customers[3]! }),
        entryOf('v', { group: 'g1', affinity: '-', customer: customers[4]! }),
      );
      const machine = await rig.machine('m1', { groups: ['g2', 'g1'] });
      expect(await rig.drain(machine)).toEqual(['z', 'v', 'w', 'x', 'y']);
    });

    test('ahead counts the entries before it in its lane', async () => {
      const rig = await open();
      await rig.submit(entryOf('a'), entryOf('b'), entryOf('other', { affinity: 'flux-dev' }), entryOf('c'));
      const ahead = await Promise.all(
        ['a', 'b', 'c', 'other'].map(async (jobId) => (await rig.broker.inspect(jobId))?.ahead),
      );
      expect(ahead).toEqual([0, 1, 2, 0]);
    });

    test('a job is told how many of its group come before it, and who leads their lanes', async () => {
      const rig = await open();
      const cost = { costMs: 1_000 };
      await rig.submit(
        entryOf('a1', { ...cost, customer: 'ann', affinity: 'sdxl' }),
        entryOf('a2', { ...cost, customer: 'ann', affinity: 'sdxl' }),
        entryOf('a3', { ...cost, customer: 'ann', affinity: 'flux-dev' }),
        entryOf('other', { ...cost, customer: 'eve', group: 'g2' }),
        entryOf('b1', { ...cost, customer: 'bob', affinity: 'flux-dev' }),
        entryOf('b2', { ...cost, customer: 'bob', affinity: '-', priority: 100 }),
      );
      const views = await Promise.all(['a3', 'b1', 'b2'].map((jobId) => rig.broker.inspect(jobId)));
      const first = { jobId: 'b2', affinity: '-', score: views[2]?.score };
      expect(first.score).toBeLessThan(0);
      expect(views.map((view) => [view?.ahead, view?.aheadInGroup, view?.leaders])).toEqual([
        [
          1,
          4,
          [
            first,
            { jobId: 'b1', affinity: 'flux-dev', score: 0 },
            { jobId: 'a1', affinity: 'sdxl', score: 0 },
          ],
        ],
        [0, 1, [first]],
        [0, 0, []],
      ]);
    });

    test('a released job has its old place again', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'));
      await rig.release(await machine.lease());
      await rig.add('c');
      expect(await rig.drain(machine)).toEqual(['a', 'b', 'c']);
    });
  });

  describe('priority', () => {
    test.each([
      [100, -boostMs],
      [75, -boostMs / 2],
      [50, 0],
      [0, boostMs],
    ])('%d moves a job by %d GPU-ms', async (priority, score) => {
      const rig = await open();
      await rig.add('a', { priority });
      expect((await rig.broker.inspect('a'))?.score).toBe(score);
    });

    test('a higher one goes first', async () => {
      const rig = await open();
      await rig.submit(entryOf('low', { priority: 20 }), entryOf('mid'), entryOf('high', { priority: 80 }));
      expect(await rig.drain(await rig.machine('m1'))).toEqual(['high', 'mid', 'low']);
    });

    test('its lead is bounded: work as costly as the boost overtakes a later job of priority 100', async () => {
      const rig = await open();
      const costMs = boostMs / 4;
      await rig.submit(
        ...['a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'a7'].map((jobId) => entryOf(jobId, { costMs })),
      );
      await rig.submit(
        ...['u1', 'u2'].map((jobId) =>
          entryOf(jobId, { costMs: 2 * boostMs, priority: 100, customer: 'bob' }),
        ),
      );
      // u1 starts at 0, u2 at 2 boosts: less its one boost it meets the job of alice that starts there.
      expect(await rig.drain(await rig.machine('m1'))).toEqual([
        'u1',
        'a1',
        'a2',
        'a3',
        'a4',
        'a5',
        'u2',
        'a6',
        'a7',
      ]);
    });
  });

  describe('fairness', () => {
    test("I9: a flood of one customer does not hold back another's first jobs", async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(...Array.from({ length: 500 }, (_, index) => entryOf(`a-${index}`)));
      for (let claims = 0; claims < 3; claims++) await machine.lease();
      await rig.submit(
        ...Array.from({ length: 10 }, (_, index) => entryOf(`b-${index}`, { customer: 'bob' })),
      );
      const next: string[] = [];
      for (let claims = 0; claims < 20; claims++) next.push((await machine.lease()).jobId);
      const positions = next.flatMap((jobId, index) => (jobId.startsWith('b-') ? [index] : []));
      expect(positions).toHaveLength(10);
      expect(positions[0]).toBeLessThan(2);
      expect(positions[9]).toBeLessThan(20);
    });

    test('a pool of long jobs of one customer keeps its machine beside a flood of short ones in another', async () => {
      const rig = await open();
      const long = Array.from({ length: 40 }, (_, index) =>
        entryOf(`long-${index}`, { group: 'g1', pool: 'heavy', costMs: 300_000 }),
      );
      const short = Array.from({ length: 200 }, (_, index) =>
        entryOf(`short-${index}`, { group: 'g2', pool: 'fast-lane', customer: 'bob', costMs: 1_000 }),
      );
      await rig.submit(...long, ...short);
      const penaltyMs = 15_000;
      const heavy = await rig.machine('heavy');
      const taken: string[] = [];
      for (let claims = 0; claims < 40; claims++) {
        const groups = [
          { group: 'g2', penaltyMs },
          { group: 'g1', penaltyMs: 0 },
        ];
        taken.push((await heavy.lease({ groups })).jobId);
      }
      expect(taken).toEqual(long.map(({ jobId }) => jobId));
      expect((await heavy.lease({ groups: [{ group: 'g2', penaltyMs }] })).jobId).toBe('short-0');
    });

    test('shares are in GPU-ms: jobs of half the cost come twice as often', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(...Array.from({ length: 40 }, (_, index) => entryOf(`a-${index}`, { costMs: 2_000 })));
      await rig.submit(
        ...Array.from({ length: 40 }, (_, index) =>
          entryOf(`b-${index}`, { costMs: 1_000, customer: 'bob' }),
        ),
      );
      const first = (await rig.drain(machine)).slice(0, 30);
      expect(first.filter((jobId) => jobId.startsWith('b-'))).toHaveLength(20);
    });

    test('a customer that was away gains no credit: it starts at the clock of its pool', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      for (let round = 0; round < 20; round++) {
        await rig.add(`a-${round}`);
        await machine.lease();
      }
      await rig.submit(...['b1', 'b2', 'b3'].map((jobId) => entryOf(jobId, { customer: 'bob' })));
      await rig.submit(...['a1', 'a2'].map((jobId) => entryOf(jobId)));
      expect(await rig.drain(machine)).toEqual(['b1', 'a1', 'b2', 'a2', 'b3']);
    });

    test('pools have clocks of their own', async () => {
      const rig = await open();
      const machine = await rig.machine('m1', { groups: ['g1', 'g2'] });
      for (let round = 0; round < 5; round++) {
        await rig.add(`a-${round}`, { costMs: 60_000 });
        await machine.lease();
      }
      await rig.add('heavy', { group: 'g2', pool: 'heavy', customer: 'bob' });
      expect((await rig.broker.inspect('heavy'))?.score).toBe(0);
    });
  });

  describe('warm lanes', () => {
    const warm = (bonusMs: number) => [{ group: 'g1', affinity: 'flux-dev', bonusMs }];

    test('work whose model is here goes before older cold work', async () => {
      const rig = await open();
      await rig.submit(entryOf('cold'), entryOf('warm', { affinity: 'flux-dev' }));
      expect((await (await rig.machine('m1')).lease({ warmLanes: warm(30_000) })).jobId).toBe('warm');
    });

    test('by its bonus at most: cold work that is further ahead goes first', async () => {
      const rig = await open();
      await rig.add('cold', { costMs: 30_000 });
      await rig.submit(...['w1', 'w2'].map((jobId) => entryOf(jobId, { affinity: 'flux-dev' })));
      const machine = await rig.machine('m1');
      // Warm heads start at 30 and 31 s of alice's time, the cold one at 0.
      expect((await machine.lease({ warmLanes: warm(29_999) })).jobId).toBe('cold');
      const other = await open();
      await other.add('cold', { costMs: 30_000 });
      await other.add('w1', { affinity: 'flux-dev' });
      expect((await (await other.machine('m1')).lease({ warmLanes: warm(30_001) })).jobId).toBe('w1');
    });

    test('I10: a stream of warm work cannot starve a cold job for longer than the bonus', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('cold', { customer: 'bob' });
      const order: string[] = [];
      for (let round = 0; round < 40; round++) {
        await rig.add(`w-${round}`, { affinity: 'flux-dev' });
        order.push((await machine.lease({ warmLanes: warm(10_000) })).jobId);
      }
      // At equal rank the lane `-` is before `flux-dev`: the cold job goes when warm work is 10 s ahead.
      expect(order.indexOf('cold')).toBe(10);
    });

    test('a warm lane without work, or of a group that is not asked for, changes nothing', async () => {
      const rig = await open();
      await rig.add('a');
      const warmLanes = [
        { group: 'g1', affinity: 'nothing', bonusMs: 1e6 },
        { group: 'g9', affinity: '-', bonusMs: 1e6 },
      ];
      expect((await (await rig.machine('m1')).lease({ warmLanes })).jobId).toBe('a');
    });
  });

  describe('spill between pools', () => {
    const groups = (penaltyMs: number) => [
      { group: 'g1', penaltyMs: 0 },
      { group: 'g2', penaltyMs },
    ];

    test.each([
      [12_001, 'own'],
      [11_999, 'foreign'],
    ])(
      'with a penalty of %d ms and a job 12 s more urgent in another pool, %s goes first',
      async (penaltyMs, first) => {
        const rig = await open();
        // One step of priority is a fiftieth of the boost.
        await rig.submit(entryOf('own'), entryOf('foreign', { group: 'g2', pool: 'heavy', priority: 51 }));
        const machine = await rig.machine('m1', { groups: ['g1', 'g2'] });
        expect((await machine.lease({ groups: groups(penaltyMs) })).jobId).toBe(first);
      },
    );

    test('a pool far ahead in its own clock is not held against its jobs', async () => {
      const rig = await open();
      const busy = await rig.machine('m1', { groups: ['g2'] });
      for (let round = 0; round < 5; round++) {
        await rig.add(`h-${round}`, { group: 'g2', pool: 'heavy', costMs: 600_000 });
        await busy.lease();
      }
      await rig.add('heavy', { group: 'g2', pool: 'heavy', customer: 'bob', priority: 51 });
      await rig.submit(entryOf('s1'), entryOf('s2', { costMs: 1_000 }));
      const machine = await rig.machine('m2', { groups: ['g1', 'g2'] });
      // A fiftieth of the boost is 12 s: a penalty below that does not hold it back, nor do 40 minutes of clock.
      expect((await machine.lease({ groups: groups(11_000) })).jobId).toBe('heavy');
      expect((await machine.lease({ groups: groups(11_000) })).jobId).toBe('s1');
    });
  });
}
