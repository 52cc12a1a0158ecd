import assert from 'node:assert/strict';
import type { Interleaving } from './interleavings.ts';
import type { Stage } from './stage.ts';

/** Wakes, beats and claims that arrive too late, or speak of an older moment. */
export const wakeInterleavings: readonly Interleaving[] = [
  {
    name: 'wake-to-the-dead',
    async run(stage) {
      const { h1 } = stage;
      const machines = [await stage.machine('m1', h1), await stage.machine('m2', h1)];
      for (const machine of machines) assert.equal((await machine.claim(h1.core)).kind, 'empty');
      await h1.submit('a');
      await stage.settle();
      const woken = machines.filter((machine) => machine.notices(h1.core).includes('wake'));
      assert.equal(woken.length, 1);
      // The woken machine is dead and nobody knows it. The other one beats, as it always does.
      const other = machines.find((machine) => !woken.includes(machine));
      assert(other);
      const beat = await other.beat(h1.core);
      assert.deepEqual(beat, { kind: 'ok', drop: [], cancel: [], work: true });
      assert.equal((await other.claim(h1.core)).kind, 'leased');
      assert.equal(await other.complete(h1.core, 'a'), 'committed');
    },
  },
  {
    name: 'two-stale-beats-after-claim',
    async run(stage) {
      const { h1, h2 } = stage;
      const m1 = await stage.machine('m1', h1);
      const m2 = await stage.machine('m2', h2);
      await h1.submit('a');
      const claim = await m1.claim(h1.core, { heard: false });
      assert(claim.kind === 'leased');
      const { token } = claim.assignment;
      // Sent before the claim, or while it was open; they arrive after it was done.
      for (const stale of [
        { highestRequestId: 0, openRequestId: null },
        { highestRequestId: 0, openRequestId: null },
        { highestRequestId: 1, openRequestId: 1 },
        { highestRequestId: 1, openRequestId: 1 },
      ]) {
        await m1.beat(h1.core, { ...stale, running: [] });
      }
      await stage.settle();
      assert.equal((await stage.entry('a'))?.token, token);
      assert.equal((await m2.claim(h2.core)).kind, 'empty');
      assert.equal(await m1.complete(h1.core, 'a', token), 'committed');
      await answerLost(stage);
    },
  },
];

/** The other side of the rule: a lease of a settled request that nobody names is given back by two beats. */
async function answerLost(stage: Stage): Promise<void> {
  const { h1 } = stage;
  const m3 = await stage.machine('m3', h1);
  await h1.submit('b');
  assert.equal((await m3.claim(h1.core, { heard: false })).kind, 'leased');
  await m3.beat(h1.core);
  await stage.settle();
  assert.equal((await stage.entry('b'))?.state, 'leased');
  await m3.beat(h1.core);
  await stage.settle();
  assert.equal((await stage.entry('b'))?.state, 'waiting');
  assert.equal((await stage.job('b')).attempts, 0);
}

export const replayInterleaving: Interleaving = {
  name: 'replayed-claim-after-expiry',
  async run(stage) {
    const { h1, h2, clock } = stage;
    const m1 = await stage.machine('m1', h1);
    await h1.submit('a');
    const first = await m1.claim(h1.core, { heard: false });
    assert(first.kind === 'leased');
    assert.deepEqual(
      await m1.claim(h1.core, { requestId: 1, heard: false }),
      first,
      'while it stands, the lease is answered again',
    );
    await h1.record();
    await clock.advanceBy(31_000);
    assert.equal((await m1.claim(h1.core, { requestId: 1 })).kind, 'lapsed');
    await h2.sweep();
    assert.equal((await m1.beat(h1.core)).kind, 'ok');
    const again = await m1.claim(h1.core, { requestId: 1 });
    assert(again.kind === 'leased');
    assert(
      Number(again.assignment.token) > Number(first.assignment.token),
      'a lease that has ended is not answered again',
    );
    assert.equal(again.assignment.run, 2);
    assert.equal(await m1.complete(h1.core, 'a', first.assignment.token), 'refused');
    assert.equal(await m1.complete(h1.core, 'a', again.assignment.token), 'committed');
    assert.equal((await stage.job('a')).attempts, 1);
  },
};
