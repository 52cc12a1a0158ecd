import { describe, expect, test } from 'vitest';
import { type BrokerSetup, leasedRig, openRig, type Rig } from './broker-fixture.conformance.ts';

/** What the Broker tells the recorder: claims, adoptions, promotions, and the newest progress. */
export function eventSuite(setup: BrokerSetup): void {
  const open = () => openRig(setup);
  const leased = () => leasedRig(setup);

  describe('progress and events', () => {
    const kinds = async (rig: Rig) =>
      (await rig.broker.events({ after: 0, limit: 100 })).events.map(
        (event) => `${event.kind} ${event.jobId}`,
      );

    test('claims, promotions and progress are told in order, with holder and run', async () => {
      const { rig, machine, lease } = await leased();
      await rig.broker.progress([{ jobId: 'a', token: lease.token, fraction: 0.25 }]);
      const { identity, events } = await rig.broker.events({ after: 0, limit: 10 });
      expect(identity).toBe(await rig.identity());
      const common = { jobId: 'a', token: lease.token, ...machine.ref, run: 1, atMs: await rig.now() };
      expect(events).toEqual([
        { ...common, id: 1, kind: 'leased', fraction: null, choice: { bonusMs: 0, penaltyMs: 0 } },
        { ...common, id: 2, kind: 'progress', fraction: 0.25, choice: null },
      ]);
    });

    test('a claim tells what the model here and another pool did to the rank of the job', async () => {
      const rig = await open();
      await rig.add('cold', { group: 'g1', affinity: 'sdxl' });
      await rig.add('warm', { group: 'g2', affinity: 'flux-dev' });
      const machine = await rig.machine('m1', { groups: ['g1', 'g2'] });
      const groups = [
        { group: 'g1', penaltyMs: 0 },
        { group: 'g2', penaltyMs: 2_500 },
      ];
      const warmLanes = [{ group: 'g2', affinity: 'flux-dev', bonusMs: 9_000 }];
      await machine.claim({ groups, warmLanes });
      await machine.claim({ groups, warmLanes });
      const { events } = await rig.broker.events({ after: 0, limit: 10 });
      expect(events.map(({ jobId, choice }) => [jobId, choice])).toEqual([
        ['warm', { bonusMs: 9_000, penaltyMs: 2_500 }],
        ['cold', { bonusMs: 0, penaltyMs: 0 }],
      ]);
    });

    test('only the newest progress of a job is kept, as a new event', async () => {
      const { rig, lease } = await leased();
      for (const fraction of [0.1, 0.2, 0.7])
        await rig.broker.progress([{ jobId: 'a', token: lease.token, fraction }]);
      const { events } = await rig.broker.events({ after: 0, limit: 10 });
      expect(events.map(({ id, fraction }) => [id, fraction])).toEqual([
        [1, null],
        [4, 0.7],
      ]);
    });

    test('progress that falls, repeats, or comes from a stale token tells nothing', async () => {
      const { rig, lease } = await leased();
      const say = (token: string, fraction: number, jobId = 'a') =>
        rig.broker.progress([{ jobId, token, fraction }]);
      await say(lease.token, 0.5);
      const before = await rig.seen();
      await say(lease.token, 0.5);
      await say(lease.token, 0.4);
      await say(String(Number(lease.token) - 1), 0.9);
      await say(lease.token, 0.9, 'nobody');
      expect(await rig.seen()).toEqual(before);
    });

    test('a new run begins its progress anew', async () => {
      const { rig, machine, lease } = await leased();
      await rig.broker.progress([{ jobId: 'a', token: lease.token, fraction: 0.9 }]);
      await rig.release({ jobId: 'a', token: lease.token });
      const second = await machine.lease();
      await rig.broker.progress([{ jobId: 'a', token: second.token, fraction: 0.1 }]);
      expect(await kinds(rig)).toEqual(['leased a', 'leased a', 'progress a']);
    });

    test('T25: events are read after a cursor, page by page, and again until they are trimmed', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      for (const jobId of ['a', 'b', 'c']) await rig.add(jobId);
      for (let jobs = 0; jobs < 3; jobs++) await machine.lease();
      const read = async (after: number, limit: number) =>
        (await rig.broker.events({ after, limit })).events.map((event) => event.id);
      expect(await read(0, 2)).toEqual([1, 2]);
      expect(await read(2, 2)).toEqual([3]);
      await rig.broker.trimEvents({ identity: await rig.identity(), upTo: 2 });
      expect(await read(0, 10)).toEqual([3]);
      await rig.broker.trimEvents({ identity: await rig.identity(), upTo: 0 });
      expect(await read(0, 10)).toEqual([3]);
      await rig.add('d');
      await machine.lease();
      expect(await read(3, 10)).toEqual([4]);
    });

    test('T25: a trim under another identity forgets nothing: its ids are of another server', async () => {
      const { rig } = await leased();
      const older = await rig.identity();
      await rig.under.restart();
      await rig.broker.trimEvents({ identity: older, upTo: 100 });
      expect(await kinds(rig)).toEqual(['leased a']);
    });

    test('progress after a trim is told, and coalesced from there on', async () => {
      const { rig, lease } = await leased();
      const say = (fraction: number) => rig.broker.progress([{ jobId: 'a', token: lease.token, fraction }]);
      await say(0.1);
      await rig.broker.trimEvents({ identity: await rig.identity(), upTo: 2 });
      await say(0.2);
      await say(0.3);
      const { events } = await rig.broker.events({ after: 0, limit: 10 });
      expect(events.map(({ id, fraction }) => [id, fraction])).toEqual([[4, 0.3]]);
    });

    test('what a reader does to an event changes nothing here', async () => {
      const { rig } = await leased();
      const first = await rig.broker.events({ after: 0, limit: 1 });
      first.events[0]!.jobId = 'spoilt';
      expect(await kinds(rig)).toEqual(['leased a']);
    });
  });
}
