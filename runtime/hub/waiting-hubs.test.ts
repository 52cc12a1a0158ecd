import { describe, expect, test } from 'vitest';
import { toEmpError } from '#protocol/errors.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import type { Hub } from './hub.ts';
import { full, gate, waitingRig } from './waiting-rig.ts';

async function setup(options: Partial<Parameters<typeof waitingRig>[0]> = {}) {
  const env = simEnv({ seed: 'waiting' });
  const settle = () => env.clock.settle();
  const pass = (ms: number) => env.clock.advanceBy(ms);
  const objects = new SimObjects({ clock: env.clock });
  return { ...(await waitingRig({ env, objects, settle, pass, ...options })), env };
}

describe('hubs', () => {
  test('a flood through one of them never exceeds the limit by one', async () => {
    const { limit, refusal, batch, stored, tick } = await setup();
    await limit('acme', { customer: 'acme', waiting: 25 });
    const singles = Array.from({ length: 60 }, (_, n) => refusal(`s${n}`));
    const batches = Array.from({ length: 4 }, (_, n) => batch(`b${n}.`, 5).then(() => null, toEmpError));
    await Promise.all([...singles, ...batches]);
    expect(await stored()).toHaveLength(25);
    await tick();
    expect(await refusal('more')).toMatchObject(full);
    expect(await stored()).toHaveLength(25);
  });

  test.each(['before', 'after'])(
    'what is being committed while the count is read is counted, done %s the answer comes',
    async (when) => {
      const commits = gate();
      const counts = gate();
      const { env, limit, refusal, tick, stored } = await setup({
        wrap: (records) => ({
          ...records,
          submitJobs: async (...asked) => {
            await commits.pass();
            return await records.submitJobs(...asked);
          },
          countWaiting: async (asked) => {
            const answer = await records.countWaiting(asked);
            await counts.pass();
            return answer;
          },
        }),
      });
      await limit('acme', { customer: 'acme', waiting: 1 });
      commits.shut();
      const first = refusal('a1');
      await tick();
      counts.shut();
      const second = refusal('a2');
      for (const each of when === 'before' ? [commits, counts] : [counts, commits]) {
        await env.clock.settle();
        each.open();
      }
      expect([await first, await second]).toMatchObject([null, full]);
      expect(await stored()).toEqual(['a1']);
    },
  );

  test.each([
    [5, 6, 6],
    [6, 5, 6],
    [2, 9, 9],
  ])('a limit that is changed from %i to %i while jobs are committed accepts %i', async (from, to, most) => {
    const commits = gate();
    const { env, limit, refusal, stored } = await setup({
      wrap: (records) => ({
        ...records,
        submitJobs: async (...asked) => {
          await commits.pass();
          return await records.submitJobs(...asked);
        },
      }),
    });
    await limit('acme', { customer: 'acme', waiting: from });
    commits.shut();
    const first = Promise.all(Array.from({ length: 8 }, (_, n) => refusal(`a${n}`)));
    await env.clock.settle();
    await limit('acme', { customer: 'acme', waiting: to });
    const second = Promise.all(Array.from({ length: 10 }, (_, n) => refusal(`b${n}`)));
    await env.clock.settle();
    commits.open();
    await Promise.all([first, second]);
    expect(await stored()).toHaveLength(most);
  });

  test('a raised limit is counted to its new number at once', async () => {
    const { limit, refusal, batch, stored } = await setup();
    await batch('before', 8);
    await limit('acme', { customer: 'acme', waiting: 2 });
    expect(await refusal('a1')).toMatchObject(full);
    await limit('acme', { customer: 'acme', waiting: 9 });
    expect([await refusal('a1'), await refusal('a2')]).toMatchObject([null, full]);
    expect(await stored()).toHaveLength(9);
  });

  test('a count that a submission looks at is not forgotten while it waits for another', async () => {
    const counts = gate();
    let isSlow = false;
    const { env, limit, refusal, rig } = await setup({
      wrap: (records) => ({
        ...records,
        countWaiting: async (asked) => {
          const answer = await records.countWaiting(asked);
          if (isSlow && asked.some(({ pool }) => pool === 'heavy')) await counts.pass();
          return answer;
        },
      }),
    });
    await limit('each', { customer: '*', waiting: 4 });
    await limit('heavy', { pool: 'heavy', waiting: 100_000 });
    const heavy = { customer: 'acme', pool: 'heavy' };
    expect([await refusal('a1', heavy), await refusal('a2', heavy)]).toEqual([null, null]);
    await env.clock.advanceBy(1_200);
    // The count of acme is read now, that of the pool when the next ones come.
    expect(await refusal('a3')).toBeNull();
    isSlow = true;
    counts.shut();
    const ten = Promise.all(Array.from({ length: 10 }, (_, n) => refusal(`x${n}`, heavy)));
    await env.clock.advanceBy(1_100);
    // Whoever comes meanwhile clears away what is old.
    expect(await refusal('other', { customer: 'zed', pool: 'standard' })).toBeNull();
    expect(await refusal('a4')).toBeNull();
    counts.open();
    expect(await ten).toMatchObject(Array.from({ length: 10 }, () => full));
    expect((await rig.ports.records.countJobs({ customer: 'acme' })).waiting).toBe(4);
  });

  test('two of them may accept more together within a second, and know of it in the next', async () => {
    const { rig, hub, limit, refusal, stored, tick } = await setup();
    const other = (await rig.another()).hub;
    await limit('acme', { customer: 'acme', waiting: 2 });
    await other.limits.refresh();
    const on = (id: string, at: Hub) => refusal(id, { customer: 'acme' }, at);
    expect([
      await on('a1', hub),
      await on('b1', other),
      await on('a2', hub),
      await on('b2', other),
    ]).toMatchObject([null, null, null, full]);
    await tick();
    expect([await on('a3', hub), await on('b3', other)]).toMatchObject([full, full]);
    expect(await stored()).toEqual(['a1', 'a2', 'b1']);
  });

  test('count again for whoever came while an answer was long in coming', async () => {
    const counts = gate();
    let isSlow = false;
    const { env, rig, hub, limit, refusal } = await setup({
      wrap: (records) => ({
        ...records,
        countWaiting: async (asked) => {
          const answer = await records.countWaiting(asked);
          if (isSlow) {
            isSlow = false;
            await counts.pass();
          }
          return answer;
        },
      }),
    });
    const other = (await rig.another()).hub;
    await limit('acme', { customer: 'acme', waiting: 2 });
    await other.limits.refresh();
    isSlow = true;
    counts.shut();
    const first = refusal('a1', { customer: 'acme' }, hub);
    await env.clock.settle();
    await env.clock.advanceBy(1_000);
    for (const id of ['b1', 'b2']) expect(await refusal(id, { customer: 'acme' }, other)).toBeNull();
    const second = refusal('a2', { customer: 'acme' }, hub);
    await env.clock.settle();
    counts.open();
    // The first goes by what was so when it came.
    expect([await first, await second]).toMatchObject([null, full]);
  });

  test('ask Records once a second, for what is submitted and counted only', async () => {
    const { env, asked, limit, refusal, submit, tick, machine } = await setup();
    await limit('each', { customer: '*', waiting: 50 });
    await limit('held', { customer: 'birch', concurrent: 1 });
    expect(asked).toEqual([]);
    await Promise.all(Array.from({ length: 20 }, (_, n) => refusal(`a${n}`)));
    const ofAcme = [{ customer: 'acme', pool: null, model: null, limit: 51 }];
    expect(asked).toEqual([ofAcme]);
    await machine.claim();
    await env.clock.advanceBy(10_000);
    expect(asked).toEqual([ofAcme]);
    await submit('more', 3);
    await tick();
    await submit('again', 3);
    expect(asked).toEqual([ofAcme, ofAcme, ofAcme]);
  });

  test('without records to count in refuse, and have room again when they are back', async () => {
    let isDown = false;
    const { limit, refusal, stored } = await setup({
      wrap: (records) => ({
        ...records,
        countWaiting: async (asked) => {
          if (isDown) throw toEmpError(new Error('down'), 'RECORDS_UNAVAILABLE');
          return await records.countWaiting(asked);
        },
      }),
    });
    await limit('acme', { customer: 'acme', waiting: 1 });
    isDown = true;
    expect(await refusal('a1')).toMatchObject({ code: 'RECORDS_UNAVAILABLE' });
    expect(await refusal('b1', { customer: 'birch' })).toBeNull();
    isDown = false;
    expect(await refusal('a1')).toBeNull();
    expect(await stored()).toEqual(['a1', 'b1']);
  });
});
