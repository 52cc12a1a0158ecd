import assert from 'node:assert/strict';
import type { Interleaving } from './interleavings.ts';
import type { Stage } from './stage.ts';

/**
 * What queues elsewhere got wrong between hubs, stores and machines (docs/queue-incidents.md has the
 * numbers), each played to its end: afterwards every job has ended once and both stores agree.
 */
export const incidents: readonly Interleaving[] = [
  {
    name: 'T5: a completion between the look of the sweeper and its write wins',
    async run(stage) {
      const { h1, h2, clock } = stage;
      const m1 = await stage.machine('m1', h1);
      await h1.submit('a');
      assert.equal((await m1.claim(h1.core)).kind, 'leased');
      await clock.advanceBy(31_000);
      const pause = h2.records.pauseBefore({ method: 'exitJob' });
      const sweeping = h2.sweep();
      await pause.reached();
      assert.equal(await m1.complete(h1.core, 'a'), 'committed');
      pause.release();
      await sweeping;
      const { state, attempts } = await stage.job('a');
      assert.deepEqual({ state, attempts }, { state: 'succeeded', attempts: 0 });
      assert.equal(await stage.entry('a'), null);
    },
  },
  {
    name: 'T8: a run that is given back after its TTL has passed is in both stores, or ended in both',
    async run(stage) {
      const { h1, h2, clock } = stage;
      const m1 = await stage.machine('m1', h1);
      await h1.submit('a', { ttlMs: 10_000 });
      assert.equal((await m1.claim(h1.core)).kind, 'leased');
      await h1.record();
      await clock.advanceBy(20_000);
      assert.equal(await m1.release(h1.core, 'a'), 'ok');
      await stage.settle();
      const { state } = await stage.job('a');
      assert.equal((await stage.entry('a'))?.state ?? 'gone', state === 'waiting' ? 'waiting' : 'gone');
      assert.equal((await stage.machine('m2', h2)).incarnation, 1);
    },
  },
  {
    name: 'T10: a job that fails before it begins uses up its attempts, and the one behind it runs meanwhile',
    async run(stage) {
      const { h1, clock } = stage;
      const m1 = await stage.machine('m1', h1);
      await h1.submit('poison', { maxAttempts: 3, priority: 100 });
      await h1.submit('healthy', { priority: 0 });
      const order: string[] = [];
      for (let claims = 0; claims < 10; claims++) {
        await h1.promote();
        const claim = await m1.claim(h1.core);
        if (claim.kind !== 'leased') break;
        const { jobId } = claim.assignment;
        order.push(jobId);
        if (jobId === 'healthy') await m1.complete(h1.core, jobId);
        else {
          const error = { code: 'INPUT_INVALID', message: 'cannot be read', retryable: true } as const;
          await m1.exit(h1.core, jobId, { kind: 'fail', error });
        }
        await stage.settle();
        await clock.advanceBy(1);
      }
      assert.deepEqual(order.toSorted(), ['healthy', 'poison', 'poison', 'poison']);
      const { state, attempts } = await stage.job('poison');
      assert.deepEqual({ state, attempts }, { state: 'dead', attempts: 3 });
    },
  },
  {
    name: 'T11: a job whose machines fall silent three times is dead, and names them',
    async run(stage) {
      const { h1, clock } = stage;
      await h1.submit('killer', { maxAttempts: 3 });
      for (const machineId of ['m1', 'm2', 'm3']) {
        const machine = await stage.machine(machineId, h1);
        assert.equal((await machine.claim(h1.core)).kind, 'leased');
        await h1.record();
        await clock.advanceBy(31_000);
        await h1.sweep();
        await stage.settle();
        await h1.promote();
      }
      const { state, reason } = await stage.job('killer');
      assert.equal(state, 'dead');
      for (const machineId of ['m1', 'm2', 'm3']) assert(reason?.includes(machineId), `${reason}`);
    },
  },
  {
    name: 'T24: a claim in the last ms of a lease does not lengthen it: the job goes on elsewhere, and counts once',
    async run(stage) {
      const { h1, h2, clock } = stage;
      const m1 = await stage.machine('m1', h1);
      const m2 = await stage.machine('m2', h2);
      await m1.beat(h1.core);
      await clock.advanceBy(29_999);
      await h1.submit('a');
      const first = await m1.claim(h1.core);
      assert(first.kind === 'leased');
      await clock.advanceBy(2);
      await m2.beat(h2.core);
      await h2.sweep();
      await stage.settle();
      await h2.promote();
      const second = await m2.claim(h2.core);
      assert(second.kind === 'leased');
      assert.equal(await m1.complete(h1.core, 'a', first.assignment.token), 'refused');
      assert.equal(await m2.complete(h2.core, 'a'), 'committed');
      assert.equal(await stage.completions('a'), 1);
    },
  },
  {
    name: 'R7: two runs are two rows of one job, and its input is what was submitted',
    async run(stage) {
      const { h1 } = stage;
      const m1 = await stage.machine('m1', h1);
      const payload = { prompt: 'a red fox', nested: { steps: 20 } };
      await h1.submit('a', { payload });
      for (const retryable of [true, false]) {
        await stage.clock.advanceBy(1);
        await h1.promote();
        const claim = await m1.claim(h1.core);
        assert(claim.kind === 'leased');
        assert.deepEqual(claim.assignment.payload, payload);
        await h1.record();
        const error = { code: 'JOB_FAILED', message: 'try', retryable } as const;
        await m1.exit(h1.core, 'a', { kind: 'fail', error });
        await stage.settle();
      }
      assert.deepEqual((await stage.job('a')).payload, payload);
      const runs = await stage.runs('a');
      assert.deepEqual(
        runs.map(({ run, outcome }) => ({ run, outcome })),
        [1, 2].map((run) => ({ run, outcome: 'failed' })),
      );
    },
  },
  ...(['claim', 'complete', 'exit', 'submit'] as const).flatMap((method) =>
    (['refuse', 'loseReply'] as const).map((fault) => brokerFault(method, fault)),
  ),
  ...(['completeJob', 'exitJob', 'submitJobs', 'markBrokered'] as const).flatMap((method) =>
    (['refuse', 'loseReply'] as const).map((fault) => recordsFault(method, fault)),
  ),
];

/** One job is given back and completed, another completed, while one call fails or its answer is lost. */
async function twoLives(stage: Stage): Promise<void> {
  const { h1 } = stage;
  const m1 = await stage.machine('m1', h1);
  const again = async (ask: () => Promise<unknown>) => {
    for (let tries = 0; tries < 3; tries++) {
      const refused = await ask().then(
        () => false,
        () => true,
      );
      await stage.settle();
      if (!refused) return;
    }
    assert.fail('the fault did not pass');
  };
  for (const id of ['a', 'b']) await again(() => h1.submit(id));
  for (let claims = 0; claims < 4; claims++) await again(() => m1.claim(h1.core));
  const [first, second] = [...m1.held];
  if (first) await again(() => giveBack(stage, m1, first));
  if (second) await again(() => m1.complete(h1.core, second[0], second[1]));
  await stage.clock.advanceBy(31_000);
  await h1.sweep();
}

async function giveBack(
  stage: Stage,
  machine: Awaited<ReturnType<Stage['machine']>>,
  [jobId, token]: [string, string],
): Promise<void> {
  machine.held.set(jobId, token);
  await machine.release(stage.h1.core, jobId);
}

function brokerFault(
  method: 'claim' | 'complete' | 'exit' | 'submit',
  fault: 'refuse' | 'loseReply',
): Interleaving {
  return {
    name: `T9: no slot leaks where broker.${method} meets ${fault}`,
    async run(stage) {
      stage.h1.broker[fault]({ method });
      await twoLives(stage);
      assert.deepEqual(stage.h1.broker.unmet(), []);
    },
  };
}

function recordsFault(
  method: 'completeJob' | 'exitJob' | 'submitJobs' | 'markBrokered',
  fault: 'refuse' | 'loseReply',
): Interleaving {
  return {
    name: `T9: no slot leaks where records.${method} meets ${fault}`,
    async run(stage) {
      stage.h1.records[fault]({ method });
      await twoLives(stage);
      assert.deepEqual(stage.h1.records.unmet(), []);
    },
  };
}
