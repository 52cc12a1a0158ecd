import { describe, expect, test } from 'vitest';
import { type Broker, type ClaimRequest, type EndRequest, turnsLimit } from '#protocol/broker.ts';
import { EmpError } from '#protocol/errors.ts';
import { memoryBroker, memoryServer } from '#protocol/memory/memory-broker.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { Turns } from './turns.ts';

const settings = { leaseTtlMs: 30_000, priorityBoostMs: 1 };
const machine = { machineId: 'm1', incarnation: 1 };

/** A gatherer over an open Broker whose calls wait until `answer` lets them go, and are written down. */
async function setup() {
  const { clock } = simEnv({ seed: 'turns' });
  const inner = memoryBroker(memoryServer({ settings, clock, name: 'b' }));
  const ticket = await inner.reconcileStart({ nonce: 'n' });
  await inner.reconcileFinish(ticket);
  await inner.enrol(machine);
  const calls: string[] = [];
  const open: { go: () => void; fail: (error: Error) => void }[] = [];
  const held = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    calls.push(name);
    await new Promise<void>((go, fail) => open.push({ go, fail }));
    return await work();
  };
  const broker: Pick<Broker, 'complete' | 'claim' | 'turns'> = {
    complete: (request) => held('complete', () => inner.complete(request)),
    claim: (request) => held('claim', () => inner.claim(request)),
    turns: (request) =>
      held(`turns ${request.completions.length}+${request.claims.length}`, () => inner.turns(request)),
  };
  const background: Promise<void>[] = [];
  const turns = new Turns({
    broker,
    clock,
    nextTurn: queueMicrotask,
    background: (_name, work) => background.push(work),
  });
  let request = 0;
  const submit = async (...ids: string[]) => {
    const entries = ids.map((jobId) => ({
      ...{ jobId, group: 'g', affinity: '-', pool: 'p', customer: 'c', priority: 50, costMs: 1 },
      ...{ attempts: 0, runs: 0, fenceFloor: '0', notBeforeMs: null, body: null, lease: null },
    }));
    await inner.submit({ identity: ticket.identity, entries });
  };
  return {
    clock,
    turns,
    calls,
    background,
    submit,
    inner,
    claimOf: (over: Partial<ClaimRequest> = {}): ClaimRequest => ({
      ...machine,
      requestId: ++request,
      groups: [{ group: 'g', penaltyMs: 0 }],
      warmLanes: [],
      classId: 'c',
      ...over,
    }),
    /** The oldest call that waits does its work, or fails. */
    async answer(error?: Error) {
      const call = open.shift();
      if (call === undefined) throw new Error('no call waits');
      if (error === undefined) call.go();
      else call.fail(error);
      await clock.settle();
    },
  };
}

const endOf = (jobId: string): EndRequest => ({ jobId, token: '1', fenceFloor: '1' });

describe('completions and claims on their way to the Broker', () => {
  test('where nothing is under way one goes at once, as the step of its own', async () => {
    const { clock, turns, calls, submit, claimOf, answer } = await setup();
    await submit('a');
    const claimed = turns.claim(claimOf());
    await clock.settle();
    expect(calls).toEqual(['claim']);
    await answer();
    expect(await claimed).toMatchObject({ kind: 'leased', lease: { jobId: 'a' } });
    const ended = turns.complete(endOf('a'));
    await clock.settle();
    expect(calls).toEqual(['claim', 'complete']);
    await answer();
    expect(await ended).toEqual({ kind: 'removed' });
  });

  test('those of one turn of the event loop are one step, and each gets its own answer', async () => {
    const { turns, calls, submit, claimOf, answer, clock, inner } = await setup();
    await submit('a', 'b');
    await inner.claim(claimOf());
    const claimed = turns.claim(claimOf());
    const ended = [turns.complete(endOf('a')), turns.complete(endOf('nobody'))];
    const empty = turns.claim(claimOf());
    await clock.settle();
    await answer();
    expect(calls).toEqual(['turns 2+2']);
    expect(await claimed).toMatchObject({ kind: 'leased', lease: { jobId: 'b' } });
    expect(await empty).toEqual({ kind: 'empty' });
    expect(await Promise.all(ended)).toEqual([{ kind: 'removed' }, { kind: 'unchanged' }]);
  });

  test('what comes while a step is under way goes together when that is answered', async () => {
    const { turns, calls, claimOf, answer, clock } = await setup();
    const answers = [turns.claim(claimOf())];
    await clock.settle();
    answers.push(turns.claim(claimOf()), turns.claim(claimOf()));
    await clock.settle();
    expect(calls).toEqual(['claim']);
    await answer();
    expect(calls).toEqual(['claim', 'turns 0+2']);
    await answer();
    expect((await Promise.all(answers)).map(({ kind }) => kind)).toEqual(['empty', 'empty', 'empty']);
  });

  test('nothing waits longer than 2 ms for a step that is not answered', async () => {
    const { turns, calls, claimOf, answer, clock } = await setup();
    const answers = [turns.claim(claimOf())];
    await clock.settle();
    answers.push(turns.claim(claimOf()));
    await clock.advanceBy(1);
    answers.push(turns.claim(claimOf()));
    expect(calls).toEqual(['claim']);
    await clock.advanceBy(1);
    expect(calls).toEqual(['claim', 'turns 0+2']);
    await answer();
    await answer();
    expect(await Promise.all(answers)).toHaveLength(3);
  });

  test(`${turnsLimit} fill a step, which goes at once; none has more`, async () => {
    const { turns, calls, claimOf, answer, clock } = await setup();
    const answers = [turns.claim(claimOf())];
    await clock.settle();
    for (let more = 0; more < turnsLimit + 5; more++) answers.push(turns.claim(claimOf()));
    await clock.settle();
    expect(calls).toEqual(['claim', `turns 0+${turnsLimit}`]);
    await clock.advanceBy(2);
    expect(calls).toEqual(['claim', `turns 0+${turnsLimit}`, 'turns 0+5']);
    for (let left = 0; left < 3; left++) await answer();
    expect(await Promise.all(answers)).toHaveLength(turnsLimit + 6);
  });

  test('a step that fails fails for each of its callers, with the same error, and for nobody else', async () => {
    const { turns, claimOf, answer, clock } = await setup();
    const failing = [turns.claim(claimOf()), turns.complete(endOf('a'))];
    await clock.settle();
    const later = turns.claim(claimOf());
    const failure = new EmpError('BROKER_UNAVAILABLE');
    const settled = Promise.allSettled(failing);
    await answer(failure);
    expect(await settled).toEqual([
      { status: 'rejected', reason: failure },
      { status: 'rejected', reason: failure },
    ]);
    await answer();
    expect(await later).toEqual({ kind: 'empty' });
  });

  test('a malformed request fails alone; those that shared its step are served', async () => {
    const { turns, submit, calls, claimOf, answer, clock } = await setup();
    await submit('a');
    const [bad, good] = [turns.claim(claimOf({ requestId: 0 })), turns.claim(claimOf())];
    const refused = Promise.allSettled([bad]);
    await clock.settle();
    for (let left = 0; left < 3; left++) await answer();
    expect(calls).toEqual(['turns 0+2', 'claim', 'claim']);
    expect(await refused).toMatchObject([{ reason: { code: 'VALIDATION_FAILED' } }]);
    expect(await good).toMatchObject({ kind: 'leased', lease: { jobId: 'a' } });
  });

  test('the steps under way are told to whoever must wait for them, and never reject', async () => {
    const { turns, background, claimOf, answer, clock } = await setup();
    const failing = Promise.allSettled([turns.claim(claimOf()), turns.claim(claimOf())]);
    await clock.settle();
    expect(background).toHaveLength(1);
    await answer(new EmpError('BROKER_UNAVAILABLE'));
    await Promise.all(background);
    expect((await failing).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  });
});
