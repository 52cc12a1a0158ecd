import assert from 'node:assert/strict';
import type { Interleaving } from './interleavings.ts';

/** Cancel and requeue against a hub that stalls or dies between a commit and its Broker step. */
export const cancelInterleavings: readonly Interleaving[] = [
  {
    name: 'cancel-crash-after-removed',
    async run(stage) {
      const { h1, h2, clock } = stage;
      const m1 = await stage.machine('m1', h2);
      await h1.submit('a');
      const pause = h1.broker.pauseAfter({ method: 'cancel' });
      // Hub 1 dies here: nobody ever releases the pause.
      void h1.cancel('a');
      await pause.reached();
      assert.equal((await m1.claim(h2.core)).kind, 'empty');
      assert.equal((await stage.job('a')).state, 'waiting');
      await clock.advanceBy(6_000);
      await h2.reconcile();
      assert.equal((await stage.job('a')).state, 'cancelled');
      assert.equal(await stage.entry('a'), null);
    },
  },
  {
    name: 'cancel-between-exit-commit-and-exit-broker',
    async run(stage) {
      const { h1, h2 } = stage;
      const m1 = await stage.machine('m1', h1);
      const m2 = await stage.machine('m2', h2);
      await h1.submit('a');
      await m1.claim(h1.core);
      const pause = h1.broker.pauseBefore({ method: 'exit' });
      const releasing = m1.release(h1.core, 'a');
      await pause.reached();
      assert.equal((await stage.job('a')).state, 'waiting');
      assert.equal(await h2.cancel('a'), 'requested');
      pause.release();
      assert.equal(await releasing, 'ok');
      await stage.settle();
      assert.equal((await stage.job('a')).state, 'cancelled');
      assert.equal((await m2.claim(h2.core)).kind, 'empty');
    },
  },
  {
    name: 'cancel-overtakes-submit',
    async run(stage) {
      const { h1, h2 } = stage;
      const m1 = await stage.machine('m1', h2);
      const pause = h1.broker.pauseBefore({ method: 'submit' });
      const submitting = h1.submit('a');
      await pause.reached();
      assert.equal(await h2.cancel('a'), 'cancelled');
      pause.release();
      assert.equal((await submitting).created, true);
      assert.equal(await stage.entry('a'), null);
      assert.equal((await m1.claim(h2.core)).kind, 'empty');
      assert.equal((await stage.job('a')).state, 'cancelled');
    },
  },
  {
    name: 'submit-retry-after-cancel-and-release',
    async run(stage) {
      const { h1, h2 } = stage;
      const m1 = await stage.machine('m1', h2);
      h1.broker.loseReply({ method: 'submit' });
      assert.equal((await h1.submit('a')).created, true);
      assert.equal((await stage.job('a')).brokeredAtMs, null);
      const pause = h1.broker.pauseBefore({ method: 'submit' });
      const retrying = h1.submit('a');
      await pause.reached();
      assert.equal((await m1.claim(h2.core)).kind, 'leased');
      assert.equal(await h2.cancel('a'), 'requested');
      assert.deepEqual(await m1.beat(h2.core), { kind: 'ok', drop: [], cancel: ['a'], work: false });
      assert.equal(await m1.release(h2.core, 'a'), 'ok');
      assert.equal((await stage.job('a')).state, 'cancelled');
      pause.release();
      assert.equal((await retrying).created, false);
      assert.equal(await stage.entry('a'), null);
      assert.equal((await m1.claim(h2.core)).kind, 'empty');
    },
  },
  {
    name: 'requeue-during-stalled-dead',
    async run(stage) {
      const { h1, h2, clock } = stage;
      const m1 = await stage.machine('m1', h1);
      await h1.submit('a', { maxAttempts: 1 });
      const claim = await m1.claim(h1.core);
      assert(claim.kind === 'leased');
      await h1.record();
      await clock.advanceBy(31_000);
      const pause = h1.broker.pauseBefore({ method: 'exit' });
      const sweeping = h1.sweep();
      await pause.reached();
      assert.equal((await stage.job('a')).state, 'dead');
      assert.equal((await h2.requeue('a')).attempts, 0);
      pause.release();
      await sweeping;
      // Its link was closed when its lease passed without a word.
      assert.equal(await m1.join(h1.core), 'welcome');
      assert.equal(await m1.complete(h1.core, 'a', claim.assignment.token), 'refused');
      const ended = await stage.finish();
      assert.equal(ended.get('a')?.state, 'succeeded');
      assert.equal(ended.get('a')?.attempts, 0);
    },
  },
  {
    name: 'requeue-before-exit-of-cancelled',
    async run(stage) {
      const { h1, h2 } = stage;
      const m1 = await stage.machine('m1', h1);
      await h1.submit('a');
      await m1.claim(h1.core);
      assert.equal(await h2.cancel('a'), 'requested');
      // The cancel is committed, the Broker hears neither of it nor of the life that comes after it.
      h1.broker.refuse({ method: 'exit' });
      assert.equal(await m1.release(h1.core, 'a'), 'ok');
      assert.equal((await stage.job('a')).state, 'cancelled');
      h2.broker.refuse({ method: 'submit' });
      assert.equal((await h2.requeue('a')).state, 'waiting');
      assert.equal((await stage.entry('a'))?.cancelRequested, true);
      // What is held but named by nobody comes back as the exit of the former life.
      for (let beats = 0; beats < 2; beats++) await m1.beat(h1.core);
      await stage.settle();
      await h2.reconcile();
      const ended = await stage.finish();
      assert.equal(ended.get('a')?.state, 'succeeded');
    },
  },
  {
    name: 'requeue-inside-repeated-cancel',
    async run(stage) {
      const { h1, h2 } = stage;
      const m1 = await stage.machine('m1', h2);
      await h1.submit('a');
      assert.equal(await h1.cancel('a'), 'cancelled');
      // The client did not hear the answer. Between the two steps of its repeat an operator requeues the job.
      const pause = h1.broker.pauseBefore({ method: 'complete' });
      const repeated = h1.cancel('a');
      await pause.reached();
      assert.equal((await h2.requeue('a')).state, 'waiting');
      assert.equal((await m1.claim(h2.core)).kind, 'leased');
      pause.release();
      assert.equal(await repeated, 'cancelled');
      assert.deepEqual(await m1.beat(h2.core), { kind: 'ok', drop: [], cancel: [], work: false });
      // What still tells of the former life's cancel ends nothing.
      assert.equal(await m1.exit(h2.core, 'a', { kind: 'cancel', reason: 'told late' }), 'ok');
      const ended = await stage.finish();
      assert.equal(ended.get('a')?.state, 'succeeded');
    },
  },
];
