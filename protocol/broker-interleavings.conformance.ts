import { describe, expect, test } from 'vitest';
import {
  type BrokerSetup,
  entryOf,
  openRig,
  RigMachine,
  runningRig,
  ttlMs,
} from './broker-fixture.conformance.ts';
import { tokenAfter } from './token.ts';

/**
 * The interleavings of docs/protocol.md §5 that concern the Broker alone, and those of its halves in
 * which a hub's Broker step comes late. With Records and hubs the simulation plays them all.
 */
export function interleavingSuite(setup: BrokerSetup): void {
  const open = () => openRig(setup);

  describe('interleavings', () => {
    test('wake-to-the-dead', async () => {
      const rig = await open();
      const [dead, alive] = [await rig.machine('m1'), await rig.machine('m2')];
      await dead.claim();
      await rig.under.advance(1);
      await alive.claim();
      // The machine that was woken died without a word. The other one only beats.
      expect((await rig.add('a')).wake).toEqual(dead.ref);
      expect((await alive.idle()).work).toBe(true);
      expect((await alive.lease()).jobId).toBe('a');
    });

    test('two-stale-beats-after-claim', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      // Two beats sent before the claim, and two while it was open, arrive after it was done.
      const { token } = await machine.lease();
      for (const stale of [
        { highestRequestId: 0, openRequestId: null },
        { highestRequestId: 0, openRequestId: null },
        { highestRequestId: 1, openRequestId: 1 },
        { highestRequestId: 1, openRequestId: 1 },
      ])
        expect(await machine.beatOk({ ...stale, running: [] })).toMatchObject({ unnamed: [] });
      expect(await machine.beatOk()).toMatchObject({ drop: [], unnamed: [] });
      expect(await rig.broker.inspect('a')).toMatchObject({ state: 'leased', token });
    });

    test('replayed-claim-after-expiry', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const first = await machine.lease();
      machine.running = [];
      await rig.under.advance(ttlMs);
      expect(await machine.claim({ requestId: 1 })).toEqual({ kind: 'lapsed' });
      await rig.release(first, { attempts: 1 });
      await machine.beatOk();
      const again = await machine.lease({ requestId: 1 });
      expect(again).toMatchObject({ jobId: 'a', run: 2, attempts: 1 });
      expect(Number(again.token)).toBeGreaterThan(Number(first.token));
    });

    test('beat-before-redrive', async () => {
      const { rig, machine, lease, known } = await runningRig(setup);
      const second = await machine.lease();
      await rig.under.loseAll();
      expect(await machine.beatOk()).toMatchObject({ drop: [], closed: true });
      // Records know the first claim and not the second.
      await rig.reconcile(known, entryOf('b'));
      expect(await machine.beatOk()).toMatchObject({ drop: [], unnamed: [], closed: false });
      expect(await rig.broker.inspect('a')).toMatchObject({
        holder: machine.ref,
        token: lease.token,
        runs: 1,
      });
      expect(await rig.broker.inspect('b')).toMatchObject({
        holder: machine.ref,
        token: second.token,
        runs: 1,
      });
      await rig.passTtl(() => machine.beatOk());
      expect(await rig.broker.lapsed({ limit: 5 })).toMatchObject({ leases: [] });
      expect(await machine.claim()).toEqual({ kind: 'empty' });
    });

    test('submit-snapshot-across-rebuild', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const identity = await rig.identity();
      const snapshot = entryOf('a');
      // Before the submit of this snapshot arrives: loss, rebuild, run, completion, loss of the tombstone.
      await rig.under.loseAll();
      await rig.reconcile(snapshot);
      await rig.passTtl(() => machine.beatOk());
      const lease = await machine.lease();
      await rig.broker.complete({ jobId: 'a', token: lease.token, fenceFloor: '0' });
      await rig.under.loseAll();
      await rig.reconcile();
      expect(await rig.broker.submit({ identity, entries: [snapshot] })).toEqual({
        kind: 'identityChanged',
        identity: await rig.identity(),
      });
      expect(await rig.stateOf('a')).toBeNull();
    });

    test('loss-during-reconcile', async () => {
      const rig = await open();
      await rig.under.loseAll();
      const ticket = await rig.start();
      await rig.broker.submit({ identity: ticket.identity, ticket, entries: [entryOf('a'), entryOf('b')] });
      await rig.under.loseAll();
      const late = { identity: ticket.identity, ticket, entries: [entryOf('c')] };
      expect((await rig.broker.submit(late)).kind).toBe('identityChanged');
      expect(await rig.broker.reconcileFinish(ticket)).toEqual({ kind: 'changed' });
      expect(await rig.broker.stats()).toMatchObject({ open: false, waiting: 0 });
      await rig.reconcile(entryOf('a'), entryOf('b'), entryOf('c'));
      expect(await rig.broker.stats()).toMatchObject({ open: true, waiting: 3 });
    });

    test('counter-overtaken', async () => {
      const rig = await open();
      await rig.add('a');
      const mark = await rig.under.mark();
      await rig.add('b');
      const { operations } = await rig.broker.stats();
      await rig.under.rollback(mark);
      // As many writes as were lost: the counter stands where it stood, the identity does not.
      await rig.broker.cancel({ jobId: 'c', fenceFloor: '0' });
      expect((await rig.broker.stats()).operations).toBe(operations);
      expect((await rig.broker.identity()).open).toBe(false);
    });

    test('expiry-rolled-back', async () => {
      const { rig, machine } = await runningRig(setup);
      await rig.under.advance(ttlMs - 1_000);
      const mark = await rig.under.mark();
      await machine.beatOk();
      await rig.under.rollback(mark);
      await rig.under.advance(2_000);
      // By what this server knows the lease has ended; by what was acknowledged it has not.
      expect(await rig.broker.lapsed({ limit: 5 })).toEqual({ kind: 'closed' });
      await rig.reconcile();
      expect(await rig.broker.lapsed({ limit: 5 })).toMatchObject({ leases: [] });
      expect(await machine.beatOk()).toMatchObject({ drop: [] });
    });

    test('claim-lost-before-recorder', async () => {
      const rig = await open();
      const [machine, other] = [await rig.machine('m1'), await rig.machine('m2')];
      await rig.add('a');
      const mark = await rig.under.mark();
      const { token } = await machine.lease();
      await rig.under.rollback(mark);
      await rig.reconcile(entryOf('a'));
      expect(await other.claim()).toEqual({ kind: 'empty' });
      expect(await machine.beatOk()).toMatchObject({ drop: [] });
      expect(await rig.broker.inspect('a')).toMatchObject({
        state: 'leased',
        token,
        holder: machine.ref,
        runs: 1,
      });
    });

    test('complete-rolled-back', async () => {
      const { rig, machine, lease } = await runningRig(setup);
      const mark = await rig.under.mark();
      const end = { jobId: 'a', token: lease.token, fenceFloor: '0' };
      await rig.broker.complete(end);
      await rig.under.rollback(mark);
      expect(await rig.stateOf('a')).toBe('leased');
      // The reconcile finds the row ended and ends the entry; the machine drops its run.
      const ticket = await rig.start();
      expect(await rig.broker.complete({ ...end, token: '0' })).toEqual({ kind: 'removed' });
      await rig.broker.reconcileFinish(ticket);
      expect((await machine.beatOk()).drop).toEqual(['a']);
    });

    test('requeue-during-stalled-dead', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const lease = await machine.lease();
      await rig.under.advance(ttlMs);
      // The sweeper has committed `dead`, its Broker step stalls; an operator requeues.
      const floor = tokenAfter(tokenAfter(lease.token));
      expect((await rig.add('a', { fenceFloor: floor })).kind).toBe('added');
      expect(await rig.release(lease, { state: 'dead' })).toEqual({ kind: 'unchanged' });
      machine.running = [];
      await machine.beatOk();
      const again = await machine.lease();
      expect(Number(again.token)).toBeGreaterThanOrEqual(Number(floor));
      expect(await rig.release(lease, { state: 'dead' })).toEqual({ kind: 'unchanged' });
      expect(await rig.stateOf('a')).toBe('leased');
    });

    test('requeue of a job whose claim Records never saw: its run is not doubled, its tokens rise', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const { token } = await machine.lease();
      // Dead by its time to live at floor 0, stalled; requeued at floor 1, below the token that runs.
      expect(await rig.submit(entryOf('a', { fenceFloor: '1' }))).toEqual([{ kind: 'exists' }]);
      expect(await rig.broker.complete({ jobId: 'a', token: '0', fenceFloor: '0' })).toEqual({
        kind: 'unchanged',
      });
      expect(await machine.beatOk()).toMatchObject({ drop: [], unnamed: [] });
      await rig.release({ jobId: 'a', token });
      expect(Number((await machine.lease()).token)).toBeGreaterThan(Number(token));
    });

    test('cancel-overtakes-submit', async () => {
      const rig = await open();
      expect(await rig.broker.cancel({ jobId: 'a', fenceFloor: '0' })).toEqual({ kind: 'unknown' });
      expect((await rig.submit(entryOf('a')))[0]?.kind).toBe('tombstoned');
    });

    test('cancel-between-exit-commit-and-exit-broker', async () => {
      const { rig, lease } = await runningRig(setup);
      // The row waits again; the cancel comes between, under the raised floor.
      expect(await rig.broker.cancel({ jobId: 'a', fenceFloor: tokenAfter(lease.token) })).toMatchObject({
        kind: 'requested',
      });
      expect(await rig.release(lease)).toEqual({ kind: 'cancelled' });
      expect((await rig.submit(entryOf('a', { fenceFloor: tokenAfter(lease.token) })))[0]?.kind).toBe(
        'tombstoned',
      );
    });

    test('an incarnation that comes back from before a loss is fenced by the first word of the newer one', async () => {
      const rig = await open();
      const zombie = await rig.machine('m1', { incarnation: 1 });
      await rig.machine('m1', { incarnation: 2 });
      await rig.under.loseAll();
      expect(await zombie.beat()).toMatchObject({ kind: 'ok', closed: true });
      const newer = new RigMachine(rig.broker, { machineId: 'm1', incarnation: 2 }, ['g1']);
      await newer.beatOk();
      expect(await zombie.beat()).toEqual({ kind: 'superseded' });
    });
  });
}
