import { describe, expect, test } from 'vitest';
import { type BrokerSetup, entryOf, openRig, Rig, runningRig, ttlMs } from './broker-fixture.conformance.ts';

/** The server is another one: closing, the full reconcile, adoption, and the wait of one lease time. */
export function lossSuite(setup: BrokerSetup): void {
  const open = () => openRig(setup);
  const running = () => runningRig(setup);

  describe('closing', () => {
    test('a new server is closed until its first full reconcile, also an empty one', async () => {
      const rig = new Rig(await setup());
      expect((await rig.broker.identity()).open).toBe(false);
      await rig.reconcile();
      expect((await rig.broker.identity()).open).toBe(true);
    });

    test.each(['restart', 'loseAll', 'rollback'] as const)(
      'a %s changes the identity and closes',
      async (loss) => {
        const rig = await open();
        const mark = await rig.under.mark();
        const before = await rig.identity();
        await (loss === 'rollback' ? rig.under.rollback(mark) : rig.under[loss]());
        expect(await rig.broker.identity()).toMatchObject({ open: false });
        expect(await rig.identity()).not.toBe(before);
        expect(await rig.broker.stats()).toMatchObject({ open: false });
      },
    );

    test('a client that did not notice the change is refused all the same', async () => {
      const { rig, machine } = await running();
      const other = await rig.under.connect();
      await rig.under.restart();
      expect((await machine.claim()).kind).toBe('closed');
      expect(await other.lapsed({ limit: 5 })).toEqual({ kind: 'closed' });
    });

    test('nothing lapses and nothing is shortened while closed; the opening gives everyone one lease time', async () => {
      const { rig, machine } = await running();
      await rig.under.restart();
      await rig.broker.shorten({ ...machine.ref, restMs: 0 });
      await rig.under.advance(10 * ttlMs);
      expect(await rig.broker.lapsed({ limit: 5 })).toEqual({ kind: 'closed' });
      expect(await machine.beat({ running: [] })).toMatchObject({ kind: 'ok', closed: true });
      await rig.under.advance(10 * ttlMs);
      await rig.reconcile();
      expect(await rig.broker.lapsed({ limit: 5 })).toMatchObject({ leases: [] });
      await rig.under.advance(ttlMs);
      expect(await rig.broker.lapsed({ limit: 5 })).toMatchObject({
        leases: [{ jobId: 'a', rebuilt: true }],
      });
    });

    test('a beat is acknowledged, drops nothing, counts nothing, and enters nobody as idle', async () => {
      const { rig, machine } = await running();
      await rig.under.loseAll();
      for (let beats = 0; beats < 3; beats++) {
        expect(await machine.idle()).toMatchObject({
          drop: [],
          cancel: [],
          unnamed: [],
          work: false,
          closed: true,
        });
        expect(await machine.beatOk({ running: [] })).toMatchObject({ unnamed: [], closed: true });
      }
    });

    test('delayed work is not promoted', async () => {
      const rig = await open();
      await rig.add('a', { notBeforeMs: (await rig.now()) + 10 });
      await rig.under.restart();
      await rig.under.advance(100);
      expect(await rig.broker.promote({ limit: 5 })).toEqual({ promoted: [], wakes: [], nextInMs: null });
    });
  });

  describe('reconcile', () => {
    test('opens when server and nonce are the same as at its start', async () => {
      const rig = new Rig(await setup());
      const ticket = await rig.start();
      expect(ticket).toEqual({ identity: await rig.identity(), nonce: 'nonce-1' });
      expect(await rig.broker.reconcileFinish(ticket)).toEqual({ kind: 'open' });
      expect(await rig.broker.reconcileFinish(ticket)).toEqual({ kind: 'open' });
    });

    test('a later start shuts the earlier one out', async () => {
      const rig = new Rig(await setup());
      const [first, second] = [await rig.start(), await rig.start()];
      expect(await rig.broker.reconcileFinish(first)).toEqual({ kind: 'changed' });
      expect((await rig.broker.identity()).open).toBe(false);
      expect(await rig.broker.reconcileFinish(second)).toEqual({ kind: 'open' });
      expect(await rig.broker.reconcileFinish(first)).toEqual({ kind: 'open' });
    });

    test('one that never began here opens nothing', async () => {
      const rig = new Rig(await setup());
      const identity = await rig.identity();
      expect(await rig.broker.reconcileFinish({ identity, nonce: 'made-up' })).toEqual({ kind: 'changed' });
    });

    test('a start on an open Broker closes nothing, and its ticket does not outlive a loss', async () => {
      const rig = await open();
      const ticket = await rig.start();
      expect((await rig.broker.identity()).open).toBe(true);
      await rig.under.restart();
      expect(await rig.broker.reconcileFinish(ticket)).toEqual({ kind: 'changed' });
      const identity = await rig.identity();
      expect(await rig.broker.reconcileFinish({ ...ticket, identity })).toEqual({ kind: 'changed' });
    });

    test('the same server coming back with a mark made while it was closed is closed again', async () => {
      const rig = new Rig(await setup());
      await rig.start();
      const mark = await rig.under.mark();
      await rig.reconcile();
      await rig.under.rollback(mark);
      expect((await rig.broker.identity()).open).toBe(false);
    });
  });

  describe('the wait of one lease time', () => {
    test('holds back what was here and what was re-driven, not what is submitted after the opening', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('old');
      await rig.under.restart();
      await rig.reconcile(entryOf('missing'), entryOf('old'));
      await rig.add('later');
      expect(await rig.drain(machine)).toEqual(['later']);
      expect(await rig.broker.promote({ limit: 5 })).toMatchObject({ nextInMs: ttlMs });
      await rig.under.advance(ttlMs - 1);
      await rig.broker.promote({ limit: 5 });
      await machine.beatOk({ running: [] });
      expect(await machine.claim()).toEqual({ kind: 'empty' });
      await rig.under.advance(1);
      expect(await rig.broker.promote({ limit: 5 })).toEqual({
        promoted: [],
        wakes: [machine.ref],
        nextInMs: null,
      });
      expect(await machine.lease()).toMatchObject({ rebuilt: true });
    });

    test('it is drained in steps of at most the limit, in order', async () => {
      const rig = await open();
      const jobs = Array.from({ length: 10 }, (_, index) => `job-${index}`);
      await rig.submit(...jobs.map((jobId) => entryOf(jobId)));
      await rig.under.restart();
      await rig.reconcile();
      const machine = await rig.machine('m1');
      await rig.passTtl(() => machine.idle());
      expect(await rig.drain(machine)).toEqual(jobs);
      const again = await open();
      await again.submit(...jobs.map((jobId) => entryOf(jobId)));
      await again.under.restart();
      await again.reconcile();
      await again.under.advance(ttlMs);
      const claimer = await again.machine('m1');
      expect(await again.broker.promote({ limit: 4 })).toMatchObject({ nextInMs: 0 });
      expect(await again.drain(claimer)).toEqual(jobs.slice(0, 4));
      expect(await again.broker.promote({ limit: 100 })).toMatchObject({ nextInMs: null });
      expect(await again.drain(claimer)).toEqual(jobs.slice(4));
    });

    test('a second loss during it begins it again for all', async () => {
      const rig = await open();
      await rig.add('a');
      await rig.under.restart();
      await rig.reconcile();
      await rig.add('b');
      await rig.under.advance(ttlMs - 1);
      await rig.under.restart();
      await rig.reconcile();
      const machine = await rig.machine('m1');
      await rig.under.advance(ttlMs - 1);
      await rig.broker.promote({ limit: 5 });
      expect(await machine.claim()).toEqual({ kind: 'empty' });
      await rig.under.advance(1);
      await rig.broker.promote({ limit: 5 });
      await machine.beatOk();
      expect((await rig.drain(machine)).sort()).toEqual(['a', 'b']);
    });

    test('delayed work keeps its time when that is later than the wait', async () => {
      const rig = await open();
      const dueMs = (await rig.now()) + 3 * ttlMs;
      await rig.add('a', { notBeforeMs: dueMs });
      await rig.under.restart();
      await rig.reconcile();
      await rig.under.advance(ttlMs);
      expect(await rig.broker.promote({ limit: 5 })).toEqual({
        promoted: [],
        wakes: [],
        nextInMs: 2 * ttlMs,
      });
      expect(await rig.stateOf('a')).toBe('delayed');
      await rig.under.advance(2 * ttlMs);
      expect((await rig.broker.promote({ limit: 5 })).promoted).toEqual(['a']);
    });

    test('stats and list see what waits it out; ends and cancels reach it', async () => {
      const rig = await open();
      await rig.submit(...['a', 'b', 'c'].map((jobId) => entryOf(jobId)));
      await rig.under.restart();
      await rig.reconcile();
      expect(await rig.broker.stats()).toMatchObject({ waiting: 3, groups: [{ group: 'g1', waiting: 3 }] });
      expect(await rig.broker.inspect('b')).toMatchObject({ state: 'waiting', rebuilt: true, ahead: 1 });
      expect(await rig.broker.cancel({ jobId: 'a', fenceFloor: '0' })).toEqual({ kind: 'removed' });
      expect(await rig.broker.complete({ jobId: 'b', token: '0', fenceFloor: '0' })).toEqual({
        kind: 'removed',
      });
      expect(await rig.broker.stats()).toMatchObject({ waiting: 1 });
    });

    test('a lease that is given back during it waits it out too', async () => {
      const { rig, machine, lease, known } = await running();
      await rig.under.loseAll();
      await rig.reconcile(known, entryOf('b'));
      expect(await rig.release(lease)).toEqual({ kind: 'requeued', wake: null });
      await machine.beatOk({ running: [] });
      expect(await machine.claim()).toEqual({ kind: 'empty' });
      await rig.passTtl(() => machine.beatOk({ running: [] }));
      expect((await rig.drain(machine)).sort()).toEqual(['a', 'b']);
    });

    test('a lease that was adopted and then given back does not', async () => {
      const { rig, machine, lease, known } = await running();
      await rig.under.loseAll();
      await rig.reconcile(known);
      await machine.beatOk();
      await rig.release(lease);
      expect(await machine.lease()).toMatchObject({ jobId: 'a', run: 2 });
    });
  });
}
