import assert from 'node:assert/strict';
import type { Interleaving } from './interleavings.ts';

/** The Broker's server loses writes, all or the last ones, at the worst moment. */
export const lossInterleavings: readonly Interleaving[] = [
  {
    name: 'counter-overtaken',
    async run(stage) {
      const { h1, h2 } = stage;
      const m1 = await stage.machine('m1', h1);
      await h1.submit('a');
      const mark = await stage.stores.mark();
      await h1.submit('b');
      await stage.rollback(mark);
      // Hub 2 refills as many operations as were lost: a counter would call the server unchanged.
      const refill = await h2.submit('c');
      assert.equal(refill.created, true);
      assert.equal((await m1.claim(h1.core)).kind, 'closed');
      assert.equal(await stage.brokerOpen(), false);
      await h2.reconcile();
      for (const jobId of ['a', 'b', 'c'])
        assert(await stage.entry(jobId), `${jobId} is in the Broker again`);
      const ended = await stage.finish();
      for (const jobId of ['a', 'b', 'c']) assert.equal(ended.get(jobId)?.state, 'succeeded');
    },
  },
  {
    name: 'loss-during-reconcile',
    async run(stage) {
      const { h1 } = stage;
      await h1.submit('a');
      await h1.submit('b');
      await stage.loseAll();
      const pause = h1.broker.pauseBefore({ method: 'reconcileFinish' });
      const reconciling = h1.reconcile();
      await pause.reached();
      assert(await stage.entry('a'), 'the rows were driven again before the second loss');
      await stage.loseAll();
      pause.release();
      await reconciling;
      assert.equal(await stage.brokerOpen(), true);
      for (const jobId of ['a', 'b'])
        assert(await stage.entry(jobId), `${jobId} is there when the Broker opens`);
    },
  },
  {
    name: 'beat-before-redrive',
    async run(stage) {
      const { h1, h2 } = stage;
      const m1 = await stage.machine('m1', h1);
      const m2 = await stage.machine('m2', h2);
      await h1.submit('recorded');
      assert.equal((await m1.claim(h1.core)).kind, 'leased');
      await h1.record();
      await h1.submit('unrecorded');
      assert.equal((await m1.claim(h1.core)).kind, 'leased');
      await stage.loseAll();
      // The first word that the empty server hears.
      assert.deepEqual(await m1.beat(h1.core), { kind: 'ok', drop: [], cancel: [], work: false });
      await h2.reconcile();
      await m2.beat(h2.core);
      assert.deepEqual(await m1.beat(h1.core), { kind: 'ok', drop: [], cancel: [], work: false });
      await stage.passTtl([m1, h1], [m2, h2]);
      await h2.sweep();
      assert.equal((await m2.claim(h2.core)).kind, 'empty');
      for (const jobId of ['recorded', 'unrecorded']) {
        assert.equal(await m1.complete(h1.core, jobId), 'committed');
        assert.equal((await stage.job(jobId)).attempts, 0);
      }
    },
  },
  {
    name: 'expiry-rolled-back',
    async run(stage) {
      const { h1, h2, clock } = stage;
      const m1 = await stage.machine('m1', h1);
      const m2 = await stage.machine('m2', h1);
      await h1.submit('a');
      await h1.submit('b');
      const machines = [m1, m2];
      for (const machine of machines) assert.equal((await machine.claim(h1.core)).kind, 'leased');
      await h1.record();
      await clock.advanceBy(29_000);
      const mark = await stage.stores.mark();
      for (const machine of machines) await machine.beat(h1.core);
      await stage.rollback(mark);
      // By what the server still knows both leases end now; by what was acknowledged they live on.
      await clock.advanceBy(2_000);
      await h2.sweep();
      // One machine beats while the server is closed, the other only after it was opened again.
      assert.equal((await m1.beat(h1.core)).kind, 'ok');
      await h2.reconcile();
      await h2.sweep();
      assert.equal((await m2.beat(h1.core)).kind, 'ok');
      await clock.advanceBy(20_000);
      await h2.sweep();
      for (const machine of machines) {
        for (const jobId of machine.held.keys())
          assert.equal(await machine.complete(h1.core, jobId), 'committed');
      }
      for (const jobId of ['a', 'b']) {
        const { attempts, runs } = await stage.job(jobId);
        assert.deepEqual({ attempts, runs }, { attempts: 0, runs: 1 });
      }
    },
  },
  {
    name: 'claim-lost-before-recorder',
    async run(stage) {
      const { h1, h2 } = stage;
      const m1 = await stage.machine('m1', h1);
      const m2 = await stage.machine('m2', h2);
      await h1.submit('a');
      const mark = await stage.stores.mark();
      assert.equal((await m1.claim(h1.core)).kind, 'leased');
      await stage.rollback(mark);
      await h2.reconcile();
      // Nobody but the holder knows of the run: the entry waits until its machine has had time to say so.
      assert.equal((await m2.claim(h2.core)).kind, 'empty');
      assert.deepEqual(await m1.beat(h1.core), { kind: 'ok', drop: [], cancel: [], work: false });
      await stage.passTtl([m1, h1], [m2, h2]);
      assert.equal((await m2.claim(h2.core)).kind, 'empty');
      assert.equal(await m1.complete(h1.core, 'a'), 'committed');
      assert.equal((await stage.job('a')).attempts, 0);
    },
  },
  {
    name: 'complete-rolled-back',
    async run(stage) {
      const { h1, h2 } = stage;
      const m1 = await stage.machine('m1', h1);
      const m2 = await stage.machine('m2', h2);
      await h1.submit('a');
      const mark = await stage.stores.mark();
      const claim = await m1.claim(h1.core);
      assert(claim.kind === 'leased');
      assert.equal(await m1.complete(h1.core, 'a'), 'committed');
      await stage.rollback(mark);
      assert.equal((await stage.entry('a'))?.state, 'waiting');
      await h2.reconcile();
      assert.equal(await stage.entry('a'), null);
      await stage.passTtl([m2, h2]);
      assert.equal((await m2.claim(h2.core)).kind, 'empty');
      // The machine did not hear the answer and says it again.
      assert.equal(await m1.complete(h1.core, 'a', claim.assignment.token), 'committed');
      assert.equal(await stage.completions('a'), 1);
    },
  },
];

/** A row's snapshot that outlives the server under which it was read. */
export const snapshotInterleaving: Interleaving = {
  name: 'submit-snapshot-across-rebuild',
  async run(stage) {
    const { h1, h2 } = stage;
    const m1 = await stage.machine('m1', h2);
    const m2 = await stage.machine('m2', h2);
    const pause = h1.broker.pauseBefore({ method: 'submit' });
    const submitting = h1.submit('a');
    await pause.reached();
    await stage.loseAll();
    await h2.reconcile();
    await stage.passTtl([m1, h2], [m2, h2]);
    assert.equal((await m1.claim(h2.core)).kind, 'leased');
    assert.equal(await m1.complete(h2.core, 'a'), 'committed');
    // The tombstone goes with the server that held it.
    await stage.loseAll();
    await h2.reconcile();
    pause.release();
    assert.equal((await submitting).created, true);
    assert.equal(await stage.entry('a'), null);
    await stage.passTtl([m2, h2]);
    assert.equal((await m2.claim(h2.core)).kind, 'empty');
  },
};
