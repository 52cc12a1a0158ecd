import { describe, expect, test } from 'vitest';
import type { ExitRequest } from './broker.ts';
import { type BrokerSetup, entryOf, leasedRig, openRig } from './broker-fixture.conformance.ts';
import { tokenAfter } from './token.ts';

/** How entries go: complete, every other exit, cancel. */
export function exitSuite(setup: BrokerSetup): void {
  const open = () => openRig(setup);
  const leased = () => leasedRig(setup);

  describe('complete', () => {
    test('removes the job and leaves a tombstone', async () => {
      const { rig, lease } = await leased();
      expect(await rig.broker.complete({ jobId: 'a', token: lease.token, fenceFloor: '0' })).toEqual({
        kind: 'removed',
      });
      expect(await rig.stateOf('a')).toBeNull();
      expect(await rig.broker.stats()).toMatchObject({ leased: 0, tombstones: 1 });
    });

    test('whatever state and token: it waits again, is delayed, or another machine holds it', async () => {
      for (const again of ['waiting', 'delayed', 'leased']) {
        const { rig, lease } = await leased();
        const notBeforeMs = again === 'delayed' ? (await rig.now()) + 60_000 : null;
        await rig.release(lease, { fenceFloor: '0', notBeforeMs });
        if (again === 'leased') await (await rig.machine('m2')).lease();
        expect(await rig.stateOf('a')).toBe(again);
        const end = { jobId: 'a', token: lease.token, fenceFloor: '0' };
        expect(await rig.broker.complete(end)).toEqual({ kind: 'removed' });
        expect(await rig.broker.complete(end)).toEqual({ kind: 'unchanged' });
      }
    });

    test('not over an entry of a higher floor: that is a later life', async () => {
      const { rig, lease } = await leased();
      await rig.release(lease, { fenceFloor: tokenAfter(tokenAfter(lease.token)) });
      const before = await rig.seen();
      expect(await rig.broker.complete({ jobId: 'a', token: lease.token, fenceFloor: lease.token })).toEqual({
        kind: 'unchanged',
      });
      expect(await rig.seen()).toEqual(before);
    });

    test('the slot is free: the machine drops what it names, and claims the next', async () => {
      const { rig, machine, lease } = await leased();
      await rig.add('b');
      await rig.broker.complete({ jobId: 'a', token: lease.token, fenceFloor: '0' });
      expect((await machine.beatOk()).drop).toEqual(['a']);
      expect((await machine.lease()).jobId).toBe('b');
    });
  });

  describe('exit', () => {
    test('back to waiting with what the row says, by the exact token', async () => {
      const { rig, lease } = await leased();
      const fenceFloor = tokenAfter(lease.token);
      expect(await rig.release(lease, { attempts: 2, runs: 4 })).toEqual({ kind: 'requeued', wake: null });
      expect(await rig.broker.inspect('a')).toMatchObject({
        state: 'waiting',
        holder: null,
        attempts: 2,
        runs: 4,
        fenceFloor,
        token: lease.token,
      });
    });

    test('by another token, or of a job that waits, nothing moves: a stale exit never requeues', async () => {
      const { rig, machine, lease } = await leased();
      await rig.release(lease);
      const second = await machine.lease();
      const before = await rig.seen();
      for (const token of [lease.token, tokenAfter(second.token), '0'])
        expect(await rig.release({ jobId: 'a', token })).toEqual({ kind: 'unchanged' });
      expect(await rig.seen()).toEqual(before);
      await rig.release(second);
      expect(await rig.release(second)).toEqual({ kind: 'unchanged' });
    });

    test('with a backoff it is delayed until then', async () => {
      const { rig, machine, lease } = await leased();
      const notBeforeMs = (await rig.now()) + 2_000;
      expect(await rig.release(lease, { state: 'scheduled', notBeforeMs })).toEqual({
        kind: 'requeued',
        wake: null,
      });
      expect(await rig.stateOf('a')).toBe('delayed');
      expect(await machine.claim()).toEqual({ kind: 'empty' });
    });

    test('where the row is leased by a newer claim that this server lost, the older lease still ends', async () => {
      const { rig, lease } = await leased();
      expect(await rig.release(lease, { state: 'leased' })).toMatchObject({ kind: 'requeued' });
    });

    test('to held it goes without a tombstone: an admit brings it back under its floor', async () => {
      const { rig, lease } = await leased();
      const fenceFloor = tokenAfter(lease.token);
      expect(await rig.release(lease, { state: 'held' })).toEqual({ kind: 'removed' });
      expect((await rig.submit(entryOf('a', { fenceFloor })))[0]?.kind).toBe('added');
    });

    test.each(['succeeded', 'failed', 'cancelled', 'dead'] as const)(
      '%s removes it by any token and buries it',
      async (state) => {
        const { rig, machine, lease } = await leased();
        await rig.release(lease);
        const { token } = await machine.lease();
        const fenceFloor = tokenAfter(token);
        expect(await rig.release(lease, { state, fenceFloor })).toEqual({ kind: 'removed' });
        expect(await rig.submit(entryOf('a', { fenceFloor }))).toEqual([{ kind: 'tombstoned', fenceFloor }]);
      },
    );

    test('an end of a lower floor than the entry’s is ignored', async () => {
      const { rig, lease } = await leased();
      await rig.add('a', { fenceFloor: String(Number(lease.token) + 2) });
      const before = await rig.seen();
      expect(await rig.release(lease, { state: 'dead', attempts: 3 })).toEqual({ kind: 'unchanged' });
      expect(await rig.seen()).toEqual(before);
    });

    test('of an unknown id: an end leaves a tombstone, a requeue leaves nothing', async () => {
      const rig = await open();
      expect(await rig.release({ jobId: 'a', token: '5' })).toEqual({ kind: 'unchanged' });
      expect((await rig.broker.stats()).tombstones).toBe(0);
      expect(await rig.release({ jobId: 'a', token: '5' }, { state: 'failed' })).toEqual({
        kind: 'unchanged',
      });
      expect(await rig.submit(entryOf('a'))).toEqual([{ kind: 'tombstoned', fenceFloor: '6' }]);
    });
  });

  describe('cancel', () => {
    test('what waits, or is delayed, is gone and buried', async () => {
      const rig = await open();
      await rig.add('a');
      await rig.add('b', { notBeforeMs: (await rig.now()) + 60_000 });
      for (const jobId of ['a', 'b']) {
        expect(await rig.broker.cancel({ jobId, fenceFloor: '0' })).toEqual({ kind: 'removed' });
        expect((await rig.submit(entryOf(jobId)))[0]?.kind).toBe('tombstoned');
      }
      expect(await rig.broker.stats()).toMatchObject({ waiting: 0, delayed: 0, tombstones: 2 });
    });

    test('an unknown id leaves a tombstone: the submit that comes later adds nothing', async () => {
      const rig = await open();
      expect(await rig.broker.cancel({ jobId: 'a', fenceFloor: '3' })).toEqual({ kind: 'unknown' });
      expect(await rig.submit(entryOf('a', { fenceFloor: '3' }))).toEqual([
        { kind: 'tombstoned', fenceFloor: '3' },
      ]);
    });

    test('what runs is flagged, and its holder named, as often as asked', async () => {
      const { rig, machine, lease } = await leased();
      const asked = { kind: 'requested', holder: machine.ref, token: lease.token };
      for (let times = 0; times < 2; times++)
        expect(await rig.broker.cancel({ jobId: 'a', fenceFloor: '0' })).toEqual(asked);
      expect(await rig.broker.inspect('a')).toMatchObject({ state: 'leased', cancelRequested: true });
    });

    const exits: Partial<ExitRequest>[] = [
      {},
      { state: 'scheduled', notBeforeMs: 1e15 },
      { state: 'held' },
      { token: '1' },
    ];

    test('a flagged entry is never claimable again: any exit ends it and says cancelled', async () => {
      for (const over of exits) {
        const { rig, machine, lease } = await leased();
        await rig.broker.cancel({ jobId: 'a', fenceFloor: '0' });
        expect(await rig.release(lease, { ...over, cancelRequested: true })).toEqual({ kind: 'cancelled' });
        expect(await machine.claim()).toEqual({ kind: 'empty' });
        expect((await rig.submit(entryOf('a')))[0]?.kind).toBe('tombstoned');
      }
    });

    test('also one asked for after the commit of the exit that comes now: its floor is the flag’s', async () => {
      for (const over of exits) {
        const { rig, lease } = await leased();
        const fenceFloor = tokenAfter(lease.token);
        await rig.broker.cancel({ jobId: 'a', fenceFloor });
        expect(await rig.broker.inspect('a')).toMatchObject({ fenceFloor });
        expect(await rig.release(lease, { ...over, fenceFloor })).toEqual({ kind: 'cancelled' });
        expect((await rig.submit(entryOf('a', { fenceFloor })))[0]?.kind).toBe('tombstoned');
      }
    });

    test('a flag of a former life counts no more: the requeued job waits again', async () => {
      const { rig, machine, lease } = await leased();
      await rig.broker.cancel({ jobId: 'a', fenceFloor: '0' });
      // The cancel was committed and its step was lost; then an operator requeued the job.
      const fenceFloor = tokenAfter(tokenAfter(lease.token));
      const before = await rig.seen();
      expect(await rig.release({ jobId: 'a', token: '1' }, { fenceFloor })).toEqual({ kind: 'unchanged' });
      expect(await rig.seen()).toEqual(before);
      expect(await rig.release(lease, { fenceFloor })).toEqual({ kind: 'requeued', wake: null });
      expect(await rig.broker.inspect('a')).toMatchObject({ cancelRequested: false, fenceFloor });
      expect(await machine.lease()).toMatchObject({ jobId: 'a' });
    });

    test('an end that is committed wins over the flag', async () => {
      const { rig, lease } = await leased();
      await rig.broker.cancel({ jobId: 'a', fenceFloor: '0' });
      expect(await rig.release(lease, { state: 'dead' })).toEqual({ kind: 'removed' });
    });

    test('under a lower floor than the entry’s it is of a former life and does nothing', async () => {
      const rig = await open();
      await rig.add('a', { fenceFloor: '9' });
      const before = await rig.seen();
      expect(await rig.broker.cancel({ jobId: 'a', fenceFloor: '8' })).toEqual({ kind: 'unknown' });
      expect(await rig.seen()).toEqual(before);
    });
  });

  describe('on a closed Broker', () => {
    test('exits, ends and cancels are served: their tombstones keep older re-drives out', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(...['a', 'b', 'c'].map((jobId) => entryOf(jobId)));
      const [a, b] = [await machine.lease(), await machine.lease()];
      await rig.under.loseAll();
      await rig.broker.complete({ jobId: 'a', token: a.token, fenceFloor: '0' });
      await rig.release(b, { state: 'failed' });
      await rig.broker.cancel({ jobId: 'c', fenceFloor: '0' });
      const ticket = await rig.start();
      const entries = ['a', 'b', 'c', 'd'].map((jobId) => entryOf(jobId));
      const answer = await rig.broker.submit({ identity: ticket.identity, ticket, entries });
      expect(answer.kind === 'ok' && answer.answers.map((each) => each.kind)).toEqual([
        'tombstoned',
        'tombstoned',
        'tombstoned',
        'added',
      ]);
    });

    test('a released lease waits with all else until the Broker is open and one lease time has passed', async () => {
      const { rig, lease } = await leased();
      await rig.under.restart();
      expect(await rig.release(lease)).toEqual({ kind: 'requeued', wake: null });
      expect(await rig.stateOf('a')).toBe('waiting');
    });
  });
}
