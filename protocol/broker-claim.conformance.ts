import { describe, expect, test } from 'vitest';
import { type BrokerSetup, entryOf, openRig, Rig, RigMachine, ttlMs } from './broker-fixture.conformance.ts';
import { tokenAfter } from './token.ts';

/** One claim, one lease: who may claim, what is answered, replays, tokens. Order is broker-order's. */
export function claimSuite(setup: BrokerSetup): void {
  const open = () => openRig(setup);

  describe('claim', () => {
    test('a grant carries what the machine needs to start', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a', { affinity: 'flux-dev', attempts: 1, runs: 3, fenceFloor: '9' });
      const nowMs = await rig.now();
      expect(await machine.claim()).toEqual({
        kind: 'leased',
        lease: {
          jobId: 'a',
          token: String(nowMs * 1_000),
          group: 'g1',
          affinity: 'flux-dev',
          run: 4,
          attempts: 1,
          fenceFloor: '9',
          body: { service: 'simulation', payload: { of: 'a' } },
          rebuilt: false,
          expiresAtMs: nowMs + ttlMs,
        },
        more: false,
        wake: null,
      });
      expect(await rig.broker.inspect('a')).toMatchObject({ state: 'leased', runs: 4, holder: machine.ref });
    });

    test('one job has one holder: a hundred jobs among a thousand claims of ten machines are handed out once each', async () => {
      const rig = await open();
      await rig.submit(...Array.from({ length: 100 }, (_, index) => entryOf(`job-${index}`)));
      const machines = await Promise.all(Array.from({ length: 10 }, (_, index) => rig.machine(`m${index}`)));
      const claims = Array.from({ length: 1_000 }, (_, index) => machines[index % 10]!.claim());
      const leased = (await Promise.all(claims)).flatMap((answer) =>
        answer.kind === 'leased' ? [answer.lease.jobId] : [],
      );
      expect(leased).toHaveLength(100);
      expect(new Set(leased).size).toBe(100);
      expect(await rig.broker.stats()).toMatchObject({ waiting: 0, leased: 100 });
    });

    test('T22: a group that the request does not name is never served, warm or not', async () => {
      const rig = await open();
      const machine = await rig.machine('m1', { groups: ['g1'] });
      await rig.add('a', { group: 'g2', affinity: 'flux-dev', priority: 100 });
      const warmLanes = [{ group: 'g2', affinity: 'flux-dev', bonusMs: 1e9 }];
      expect(await machine.claim({ warmLanes })).toEqual({ kind: 'empty' });
      expect(await machine.claim({ groups: [], warmLanes })).toEqual({ kind: 'empty' });
      expect(await rig.stateOf('a')).toBe('waiting');
    });

    test('more tells that the same request would find work again', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'), entryOf('c', { group: 'g2' }));
      expect(await machine.claim()).toMatchObject({ kind: 'leased', more: true });
      expect(await machine.claim()).toMatchObject({ kind: 'leased', more: false });
      expect(await machine.claim()).toEqual({ kind: 'empty' });
    });

    test('32 groups and 16 warm lanes are taken, one more of either is refused', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const groups = Array.from({ length: 33 }, (_, index) => ({ group: `g${index}`, penaltyMs: 0 }));
      const warmLanes = Array.from({ length: 17 }, (_, index) => {
        return { group: 'g1', affinity: `model-${index}`, bonusMs: 1 };
      });
      const most = { groups: groups.slice(0, 32), warmLanes: warmLanes.slice(0, 16) };
      expect(await machine.claim(most)).toEqual({ kind: 'empty' });
      const before = await rig.seen();
      await expect(machine.claim({ ...most, groups })).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
      await expect(machine.claim({ ...most, warmLanes })).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
      });
      expect(await rig.seen()).toEqual(before);
    });
  });

  describe('lanes with work', () => {
    const lanes = async (rig: Rig) =>
      (await rig.broker.stats()).lanes.map(
        ({ group, affinity, waiting }) => `${group}/${affinity} ${waiting}`,
      );

    test('stats name them, groups by id, of each those whose heads go first; none that is empty, leased or not due', async () => {
      const rig = await open();
      const machine = await rig.machine('m1', { groups: ['g2'] });
      await rig.add('a', { group: 'g2', affinity: 'flux' });
      await rig.add('b', { group: 'g2', affinity: 'sdxl' });
      await rig.add('c', { group: 'g2', affinity: 'flux' });
      await rig.add('d');
      await rig.add('e', { affinity: 'later', notBeforeMs: (await rig.now()) + 60_000 });
      expect(await lanes(rig)).toEqual(['g1/- 1', 'g2/flux 2', 'g2/sdxl 1']);
      await machine.lease();
      expect(await lanes(rig)).toEqual(['g1/- 1', 'g2/sdxl 1', 'g2/flux 1']);
      await machine.lease();
      expect(await lanes(rig)).toEqual(['g1/- 1', 'g2/flux 1']);
    });

    test('of one group the first 32 are named, of all 1 000', async () => {
      const rig = await open();
      const laned = (group: number, lane: number) =>
        entryOf(`${group}-${lane}`, { group: `g${group}`, affinity: `m${String(lane).padStart(2, '0')}` });
      for (let group = 1; group <= 33; group++)
        await rig.submit(...Array.from({ length: 40 }, (_, lane) => laned(group, lane)));
      const named = await lanes(rig);
      expect(named).toHaveLength(1_000);
      const first = named[0]?.split('/')[0] ?? '';
      expect(named.filter((lane) => lane.startsWith(`${first}/`))).toHaveLength(32);
    });

    test('what waits out a loss is in none', async () => {
      const rig = await open();
      await rig.add('a');
      await rig.under.restart();
      await rig.reconcile();
      expect(await lanes(rig)).toEqual([]);
    });
  });

  describe('who may claim', () => {
    test('an incarnation that never enrolled is told lapsed, and its first beat lets it in', async () => {
      const rig = await open();
      await rig.add('a');
      const machine = new RigMachine(rig.broker, { machineId: 'm1', incarnation: 1 }, ['g1']);
      expect(await machine.claim()).toEqual({ kind: 'lapsed' });
      await machine.beatOk();
      expect(await machine.claim()).toMatchObject({ kind: 'leased' });
    });

    test('one whose lease has ended is told lapsed: at its last ms it is still served', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'));
      await rig.under.advance(ttlMs - 1);
      expect((await machine.lease()).expiresAtMs).toBe((await rig.now()) + 1);
      await rig.under.advance(1);
      expect(await machine.claim()).toEqual({ kind: 'lapsed' });
      expect(await rig.stateOf('b')).toBe('waiting');
    });

    test('a claim extends nothing: only beats do', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'));
      await rig.under.advance(20_000);
      await machine.lease();
      await rig.under.advance(10_000);
      expect(await machine.claim()).toEqual({ kind: 'lapsed' });
    });

    test('an older incarnation is superseded for good', async () => {
      const rig = await open();
      await rig.add('a');
      const older = await rig.machine('m1', { incarnation: 1 });
      await rig.machine('m1', { incarnation: 2 });
      expect(await older.claim()).toEqual({ kind: 'superseded' });
      expect(await older.beat()).toEqual({ kind: 'superseded' });
      expect(await rig.broker.enrol(older.ref)).toEqual({ kind: 'superseded' });
      expect(await rig.stateOf('a')).toBe('waiting');
    });

    test('a closed Broker serves nobody', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      await rig.under.restart();
      expect(await machine.claim()).toEqual({ kind: 'closed' });
      const fresh = new Rig(await setup());
      expect(await (await fresh.machine('m1')).claim()).toEqual({ kind: 'closed' });
    });
  });

  describe('a repeated request', () => {
    test('is answered with the same lease while that stands', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'));
      const first = await machine.claim();
      const before = await rig.broker.stats();
      expect(await machine.claim({ requestId: machine.requestId })).toEqual(first);
      expect(await rig.broker.stats()).toEqual(before);
    });

    test('is answered anew once that lease has been released', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const first = await machine.lease();
      await rig.release(first);
      const again = await machine.lease({ requestId: 1 });
      expect(again).toMatchObject({ jobId: 'a', run: 2 });
      expect(Number(again.token)).toBeGreaterThan(Number(first.token));
    });

    test('is another request for another incarnation, and for another machine', async () => {
      const rig = await open();
      const machines = [await rig.machine('m1'), await rig.machine('m2')];
      await rig.submit(entryOf('a'), entryOf('b'), entryOf('c'));
      for (const machine of machines) await machine.lease({ requestId: 7 });
      machines.push(await rig.machine('m1', { incarnation: 2 }));
      expect((await machines[2]!.lease({ requestId: 7 })).jobId).toBe('c');
    });

    test('finds its lease also after the server came back with all its data', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const first = await machine.lease();
      await rig.under.restart();
      await rig.reconcile();
      const again = await machine.lease({ requestId: 1 });
      expect(again).toMatchObject({ jobId: 'a', token: first.token, run: 1, rebuilt: true });
    });
  });

  describe('tokens', () => {
    test('rise on every claim of a job, also while the clock stands still', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      let last = 0;
      for (let round = 0; round < 20; round++) {
        const lease = await machine.lease();
        expect(Number(lease.token)).toBeGreaterThan(last);
        last = Number(lease.token);
        await rig.release(lease);
      }
    });

    test('begin at the clock in µs and never below the floor', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const floor = String(((await rig.now()) + 3_600_000) * 1_000);
      await rig.add('a', { fenceFloor: floor });
      const first = await machine.lease();
      expect(first.token).toBe(floor);
      const raised = String(Number(floor) + 500);
      await rig.release(first, { fenceFloor: raised });
      expect((await machine.lease()).token).toBe(raised);
    });

    test('are equal for nobody: two machines in the same instant hold two jobs', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'));
      const [a, b] = [await machine.lease(), await machine.lease()];
      expect(a.jobId).not.toBe(b.jobId);
      expect(await rig.release({ jobId: a.jobId, token: tokenAfter(b.token) })).toEqual({
        kind: 'unchanged',
      });
    });
  });
}
