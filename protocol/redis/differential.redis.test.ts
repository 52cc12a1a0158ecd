import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seededRng } from '#simulations/seeded-rng.ts';
import { Difference } from './difference.conformance.ts';
import { Differential } from './differential.conformance.ts';
import { drawHistory, type Operation } from './history.conformance.ts';
import { indexProblems } from './index-audit.conformance.ts';
import { describeOnRedis } from './setup.conformance.ts';

const inCi = process.env.CI === 'true';
/** `EMP_SEEDS` = how many; each history has 10 000 operations. */
const seedCount = Number(process.env.EMP_SEEDS ?? (inCi ? 20 : 2));
const operationsPerSeed = Number(process.env.EMP_OPERATIONS ?? 10_000);
/** What the histories must have met, or they prove little. */
const mustReach = [
  ...[
    'beat with unnamed',
    'beat with drop',
    'beat with cancel',
    'beat with closed',
    'beat with work',
    'beat lapsed',
  ],
  ...['claim leased', 'claim empty', 'claim closed', 'claim lapsed', 'claim superseded', 'claim with wake'],
  ...['turns removed', 'turns unchanged', 'turns leased', 'turns empty', 'turns closed', 'turns lapsed'],
  ...['turns superseded', 'turns with wake', 'turns with rebuilt', 'turns with more'],
  ...['claim with rebuilt', 'claim with more', 'events adopted', 'events promoted', 'events progress'],
  ...[
    'submit added',
    'submit exists',
    'submit tombstoned',
    'submit closed',
    'submit identityChanged',
    'submit with wake',
  ],
  ...[
    'exit requeued',
    'exit removed',
    'exit cancelled',
    'exit unchanged',
    'exit with wake',
    'complete removed',
  ],
  ...['cancel removed', 'cancel requested', 'cancel unknown', 'lapsed with leases', 'leave with leases'],
  ...['promote with promoted', 'promote with wakes', 'passWake with wake', 'enrol superseded'],
  ...['reconcileFinish open', 'reconcileFinish changed'],
];
/** Operations that shrinking a failing history may play again. */
const shrinkLimit = 60_000;

describeOnRedis('histories on memory and Redis', (server) => {
  let redis: Redis;
  const reached = new Map<string, number>();
  beforeAll(() => {
    redis = new Redis({ path: server().path });
  });
  afterAll(() => redis.disconnect());

  /** The first difference of a history, or null. */
  async function difference(history: readonly Operation[], auditEach: number): Promise<Difference | null> {
    const target = { path: server().path };
    const both = await Differential.open({ redis, target, loader: 'function' });
    try {
      await both.play(history, (at) => at % auditEach === auditEach - 1);
      for (const [name, count] of both.reached) reached.set(name, (reached.get(name) ?? 0) + count);
      return null;
    } catch (error) {
      if (error instanceof Difference) return error;
      throw error;
    } finally {
      await both.close();
    }
  }

  /** Leaves out ever smaller parts as long as the history still fails; short ones are audited after each operation. */
  async function shrink(failing: readonly Operation[]): Promise<{ history: Operation[]; last: Difference }> {
    let history = [...failing];
    let played = 0;
    const attempt = async (shorter: readonly Operation[]) => {
      played += shorter.length;
      return await difference(shorter, shorter.length < 300 ? 1 : 250);
    };
    let last = await attempt(history);
    for (let part = Math.ceil(history.length / 2); part >= 1 && played < shrinkLimit; ) {
      let hasShrunk = false;
      for (let from = 0; from < history.length && played < shrinkLimit; ) {
        const found = await attempt([...history.slice(0, from), ...history.slice(from + part)]);
        if (found === null) {
          from += part;
          continue;
        }
        history = [...history.slice(0, from), ...history.slice(from + part)].slice(0, found.at + 1);
        last = found;
        hasShrunk = true;
      }
      if (!hasShrunk) part = part === 1 ? 0 : Math.ceil(part / 2);
    }
    if (last === null) throw new Error('the history fails only sometimes');
    return { history, last };
  }

  const seeds = Array.from({ length: seedCount }, (_, at) => Number(process.env.EMP_SEED ?? 1) + at);
  test.each(seeds)('seed %i gives equal answers and equal indexes', { timeout: 300_000 }, async (seed) => {
    const history = drawHistory(seededRng(seed), operationsPerSeed);
    const found = await difference(history, 250);
    if (found !== null) {
      const shrunk = await shrink(history.slice(0, found.at + 1));
      throw new Error(
        `EMP_SEED=${seed} EMP_SEEDS=1: ${shrunk.last.message}\nafter\n${shrunk.history.map((each) => JSON.stringify(each)).join('\n')}`,
      );
    }
    expect(await indexProblems(redis)).toEqual([]);
  });

  test('the histories reached every kind of answer', () => {
    expect(mustReach.filter((name) => !reached.has(name))).toEqual([]);
  });
});
