import { describe, expect, test } from 'vitest';
import { type BrokerSetup, entryOf, runningRig, ttlMs } from './broker-fixture.conformance.ts';
import { tokenAfter } from './token.ts';

/** Running work after a loss: rebuilt from Records, adopted by beats, or given back without an attempt. */
export function adoptionSuite(setup: BrokerSetup): void {
  const running = () => runningRig(setup);

  describe('adoption', () => {
    test('the lease that Records know is there again, and a beat makes it the machine’s', async () => {
      const { rig, machine, lease, known } = await running();
      await rig.under.loseAll();
      await rig.reconcile(known);
      expect(await rig.broker.inspect('a')).toMatchObject({
        state: 'leased',
        token: lease.token,
        holder: machine.ref,
        rebuilt: true,
        runs: 1,
      });
      expect(await machine.beatOk()).toMatchObject({ drop: [], closed: false });
      expect(await rig.broker.inspect('a')).toMatchObject({ state: 'leased', rebuilt: false, runs: 1 });
      const { events } = await rig.broker.events({ after: 0, limit: 5 });
      expect(events).toMatchObject([
        { kind: 'adopted', jobId: 'a', token: lease.token, ...machine.ref, run: 1 },
      ]);
    });

    test('one that nobody adopts lapses as rebuilt: no attempt is counted', async () => {
      const { rig, machine, lease, known } = await running();
      await rig.under.loseAll();
      await rig.reconcile(known);
      await rig.under.advance(ttlMs);
      const lapsed = { ...machine.ref, jobId: 'a', token: lease.token, rebuilt: true };
      expect(await rig.broker.lapsed({ limit: 5 })).toMatchObject({ leases: [lapsed] });
    });

    test('one that was adopted lapses as any other', async () => {
      const { rig, machine, known } = await running();
      await rig.under.loseAll();
      await rig.reconcile(known);
      await machine.beatOk();
      await rig.under.advance(ttlMs);
      expect(await rig.broker.lapsed({ limit: 5 })).toMatchObject({
        leases: [{ jobId: 'a', rebuilt: false }],
      });
    });

    test('one that its living machine leaves out is taken back: the beats that leave it out would extend it for ever', async () => {
      const { rig, machine, lease, known } = await running();
      await rig.under.loseAll();
      await rig.reconcile(known);
      const seen: unknown[] = [];
      for (let beats = 0; beats < 20; beats++) {
        await rig.under.advance(5_000);
        seen.push(...(await machine.beatOk({ running: [], openRequestId: 1 })).unnamed);
      }
      expect(seen[0]).toEqual({ jobId: 'a', token: lease.token });
    });

    test('a claim of work that came through a rebuild is a claim: it lapses with an attempt', async () => {
      const { rig, machine, known } = await running();
      await rig.under.loseAll();
      await rig.reconcile({ ...known, lease: null });
      await rig.passTtl(() => machine.beatOk({ running: [] }));
      expect(await machine.lease()).toMatchObject({ jobId: 'a', rebuilt: true });
      await rig.under.advance(ttlMs);
      expect(await rig.broker.lapsed({ limit: 5 })).toMatchObject({
        leases: [{ jobId: 'a', rebuilt: false }],
      });
    });

    test('its answer is repeated with the warning to read Records first', async () => {
      const { rig, machine, known } = await running();
      await rig.under.loseAll();
      await rig.reconcile({ ...known, lease: null });
      await rig.passTtl(() => machine.beatOk({ running: [] }));
      const first = await machine.claim();
      expect(first).toMatchObject({ kind: 'leased', lease: { rebuilt: true } });
      expect(await machine.claim({ requestId: machine.requestId })).toEqual(first);
    });

    test('and unlike a rebuilt lease it is nobody else’s to adopt', async () => {
      const { rig, machine, known } = await running();
      await rig.under.loseAll();
      await rig.reconcile({ ...known, lease: null });
      await rig.passTtl(() => machine.beatOk({ running: [] }));
      const lease = await machine.lease();
      const other = await rig.machine('m2');
      const token = String(Number(lease.token) + 1_000_000);
      expect((await other.beatOk({ running: [{ jobId: 'a', token }] })).drop).toEqual(['a']);
    });

    test.each([
      ['an entry that says waiting', false],
      ['an older lease', true],
    ])('while closed a beat adopts over %s', async (_name, isLeased) => {
      const { rig, lease, known } = await running();
      const other = await rig.machine('m2');
      await rig.under.loseAll();
      const ticket = await rig.start();
      const entries = [isLeased ? known : { ...known, lease: null }];
      await rig.broker.submit({ identity: ticket.identity, ticket, entries });
      const token = String(Number(lease.token) + 7);
      expect(await other.beatOk({ running: [{ jobId: 'a', token }] })).toMatchObject({
        drop: [],
        closed: true,
      });
      expect(await rig.broker.inspect('a')).toMatchObject({
        state: 'leased',
        token,
        holder: other.ref,
        rebuilt: false,
      });
    });

    test('not below the floor, and not with a token that the entry has seen', async () => {
      const { rig, machine, lease, known } = await running();
      const other = await rig.machine('m2');
      await rig.under.loseAll();
      const ticket = await rig.start();
      const entries = [known, entryOf('b', { fenceFloor: tokenAfter(lease.token) })];
      await rig.broker.submit({ identity: ticket.identity, ticket, entries });
      const named = [
        { jobId: 'a', token: lease.token },
        { jobId: 'b', token: lease.token },
      ];
      expect(await other.beatOk({ running: named })).toMatchObject({ drop: [] });
      expect(await rig.broker.inspect('a')).toMatchObject({ holder: machine.ref });
      expect(await rig.broker.inspect('b')).toMatchObject({ state: 'waiting' });
      await rig.broker.reconcileFinish(ticket);
      expect((await other.beatOk({ running: named })).drop).toEqual(['a', 'b']);
    });

    test('after the opening, what waits out its time may still be adopted by a newer token', async () => {
      const { rig, machine, lease, known } = await running();
      await rig.under.loseAll();
      await rig.reconcile({ ...known, runs: 0, lease: null });
      expect(await machine.beatOk()).toMatchObject({ drop: [] });
      expect(await rig.broker.inspect('a')).toMatchObject({
        state: 'leased',
        token: lease.token,
        runs: 1,
        rebuilt: false,
      });
      await rig.passTtl(() => machine.beatOk());
      expect(await rig.drain(machine)).toEqual([]);
    });

    test('of two machines that name a job before it is re-driven the newer claim counts, whoever speaks last', async () => {
      const { rig, machine, lease, known } = await running();
      const newer = await rig.machine('m2');
      await rig.under.loseAll();
      const token = String(Number(lease.token) + 7);
      await newer.beatOk({ running: [{ jobId: 'a', token }] });
      await machine.beatOk();
      await rig.reconcile({ ...known, lease: null });
      expect(await rig.broker.inspect('a')).toMatchObject({ holder: newer.ref, token });
      expect((await machine.beatOk()).drop).toEqual(['a']);
    });

    test('a beat before the re-drive counts for the lease that Records know, and not below a raised floor', async () => {
      const { rig, machine, lease, known } = await running();
      await rig.under.loseAll();
      await machine.beatOk();
      await rig.reconcile(known);
      expect(await rig.broker.inspect('a')).toMatchObject({ state: 'leased', rebuilt: false, runs: 1 });
      await rig.under.loseAll();
      await machine.beatOk();
      await rig.reconcile({ ...known, fenceFloor: tokenAfter(lease.token), lease: null });
      expect(await rig.stateOf('a')).toBe('waiting');
    });

    test('a lease that Records know but their floor shuts out is not rebuilt', async () => {
      const { rig, lease, known } = await running();
      await rig.under.loseAll();
      await rig.reconcile({ ...known, fenceFloor: tokenAfter(lease.token) });
      expect(await rig.stateOf('a')).toBe('waiting');
    });

    test('rolled back data do not win over the row: a lease that ended since is gone after the re-drive', async () => {
      const { rig, machine, lease } = await running();
      const mark = await rig.under.mark();
      await rig.release(lease);
      await rig.under.rollback(mark);
      expect(await rig.stateOf('a')).toBe('leased');
      const floor = tokenAfter(lease.token);
      await rig.reconcile(entryOf('a', { fenceFloor: floor }), entryOf('b'));
      expect(await rig.broker.inspect('a')).toMatchObject({
        state: 'waiting',
        fenceFloor: floor,
        rebuilt: true,
      });
      await rig.passTtl(() => machine.beatOk({ running: [] }));
      expect((await rig.drain(machine)).sort()).toEqual(['a', 'b']);
    });
  });
}
