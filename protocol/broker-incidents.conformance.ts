import { describe, expect, test } from 'vitest';
import { type BrokerSetup, entryOf, leasedRig, openRig, ttlMs } from './broker-fixture.conformance.ts';
import { tokenAfter } from './token.ts';

/** What queues elsewhere got wrong (docs/queue-incidents.md), where one Broker alone can show that it does not. */
export function incidentSuite(setup: BrokerSetup): void {
  describe('incidents', () => {
    test('T6: a sweep each second ends no lease before its time, and the dead one with the first after it', async () => {
      const { rig, machine, lease } = await leasedRig(setup);
      const silent = await rig.machine('m2');
      await rig.add('b');
      const dead = await silent.lease();
      for (let passedMs = 0; passedMs < ttlMs - 1_000; passedMs += 1_000) {
        await rig.under.advance(1_000);
        if (passedMs % 5_000 === 0) await machine.beatOk();
        expect(await rig.broker.lapsed({ limit: 10 })).toMatchObject({ leases: [] });
      }
      await rig.under.advance(1_000);
      expect(await rig.broker.lapsed({ limit: 10 })).toMatchObject({
        leases: [{ jobId: dead.jobId, token: dead.token, machineId: 'm2' }],
      });
      expect(await rig.broker.inspect('a')).toMatchObject({ state: 'leased', token: lease.token });
    });

    test('T7: after a job is gone no write of its machine brings a piece of it back, and its id is free again', async () => {
      const { rig, machine, lease } = await leasedRig(setup);
      const { jobId, token } = lease;
      const end = { jobId, token, fenceFloor: tokenAfter(token) };
      expect(await rig.broker.complete({ jobId, token, fenceFloor: '0' })).toEqual({ kind: 'removed' });
      const before = await rig.broker.list({ after: null, limit: 10 });
      await rig.broker.progress([{ jobId, token, fraction: 0.9 }]);
      expect(await machine.beatOk()).toMatchObject({ drop: [jobId] });
      expect(
        await rig.broker.exit({
          ...end,
          state: 'waiting',
          attempts: 1,
          runs: 1,
          notBeforeMs: null,
          cancelRequested: false,
        }),
      ).toEqual({
        kind: 'unchanged',
      });
      expect(await rig.broker.complete(end)).toEqual({ kind: 'unchanged' });
      expect(await rig.broker.inspect(jobId)).toBeNull();
      expect(await rig.broker.list({ after: null, limit: 10 })).toEqual(before);
      expect((await rig.broker.events({ after: 0, limit: 10 })).events.map((event) => event.kind)).toEqual([
        'leased',
      ]);
      const again = { fenceFloor: tokenAfter(tokenAfter(token)) };
      expect(await rig.add(jobId, again)).toMatchObject({ kind: 'added' });
      expect(Number((await machine.lease()).token)).toBeGreaterThan(Number(token));
    });

    test('R35: two thousand jobs that nobody here can serve do not hide the one behind them', async () => {
      const rig = await openRig(setup);
      const machine = await rig.machine('m1', { groups: ['g1'] });
      for (let batch = 0; batch < 2; batch++) {
        const entries = Array.from({ length: 1_000 }, (_, index) =>
          entryOf(`other-${batch}-${index}`, { group: 'g2', priority: 100 }),
        );
        await rig.submit(...entries);
      }
      await rig.add('mine', { priority: 0 });
      expect((await machine.lease()).jobId).toBe('mine');
      expect(await machine.claim()).toEqual({ kind: 'empty' });
    });
  });
}
