import { describe, expect, test } from 'vitest';
import { type BrokerSetup, entryOf, openRig, ttlMs } from './broker-fixture.conformance.ts';

/** Nobody polls: whatever makes work claimable names one idle machine that may claim it. */
export function wakeSuite(setup: BrokerSetup): void {
  const open = () => openRig(setup);
  const warmLanes = [{ group: 'g1', affinity: 'flux-dev', bonusMs: 1_000 }];

  describe('wake', () => {
    test('T28: a submit names one idle machine that fits, and that one only once', async () => {
      const rig = await open();
      const [m1, m2] = [await rig.machine('m1'), await rig.machine('m2', { groups: ['g2'] })];
      await m2.claim();
      await m1.claim();
      expect((await rig.add('a')).wake).toEqual(m1.ref);
      expect((await rig.add('b')).wake).toBeNull();
      expect((await rig.add('c', { group: 'g2' })).wake).toEqual(m2.ref);
    });

    test('a batch names one for each entry while there are any', async () => {
      const rig = await open();
      const machines = [await rig.machine('m1'), await rig.machine('m2')];
      for (const machine of machines) await machine.claim();
      const answers = await rig.submit(entryOf('a'), entryOf('b'), entryOf('c'));
      expect(answers.map((each) => each.kind === 'added' && each.wake)).toEqual([
        machines[0]!.ref,
        machines[1]!.ref,
        null,
      ]);
    });

    test('the longest idle first', async () => {
      const rig = await open();
      const order = ['m3', 'm1', 'm2'];
      for (const machineId of order) {
        await (await rig.machine(machineId)).claim();
        await rig.under.advance(100);
      }
      const woken: unknown[] = [];
      for (const jobId of order) woken.push((await rig.add(jobId)).wake?.machineId);
      expect(woken).toEqual(order);
    });

    test('a machine that asks again stays as long idle as it was, also with other groups or models', async () => {
      const rig = await open();
      const [first, second] = [await rig.machine('m1'), await rig.machine('m2')];
      await first.claim();
      await rig.under.advance(100);
      await second.claim();
      await rig.under.advance(100);
      await first.claim({
        groups: [
          { group: 'g1', penaltyMs: 0 },
          { group: 'g7', penaltyMs: 0 },
        ],
        warmLanes,
      });
      await first.idle();
      expect((await rig.add('a')).wake).toEqual(first.ref);
    });

    test('one that holds the model before one that has waited longer', async () => {
      const rig = await open();
      const [cold, warm] = [await rig.machine('m1'), await rig.machine('m2')];
      await cold.claim();
      await rig.under.advance(10_000);
      await warm.claim({ warmLanes });
      expect((await rig.add('a', { affinity: 'flux-dev' })).wake).toEqual(warm.ref);
      expect((await rig.add('b', { affinity: 'flux-dev' })).wake).toEqual(cold.ref);
    });

    test('its beats keep a machine warm for the models of its last claim', async () => {
      const rig = await open();
      const [cold, warm] = [await rig.machine('m1'), await rig.machine('m2')];
      await cold.claim();
      await warm.claim({ warmLanes });
      for (let beats = 0; beats < 3; beats++) {
        await rig.under.advance(5_000);
        await cold.idle();
        await warm.idle();
      }
      expect((await rig.add('a', { affinity: 'flux-dev' })).wake).toEqual(warm.ref);
    });

    test('a resident model does not make a machine fit: without a free slot for the group it is not named', async () => {
      const rig = await open();
      const [fit, unfit] = [await rig.machine('m1'), await rig.machine('m2', { groups: ['g2'] })];
      await unfit.claim({ warmLanes });
      await rig.under.advance(1);
      await fit.claim();
      expect((await rig.add('a', { affinity: 'flux-dev' })).wake).toEqual(fit.ref);
    });

    test('a requeue, a promotion and what a claim leaves behind name one too', async () => {
      const rig = await open();
      const [busy, idle] = [await rig.machine('m1'), await rig.machine('m2')];
      await rig.add('a');
      const lease = await busy.lease();
      await idle.claim();
      expect(await rig.release(lease)).toEqual({ kind: 'requeued', wake: idle.ref });
      await busy.lease();
      await idle.claim();
      await rig.add('b', { notBeforeMs: (await rig.now()) + 10 });
      await rig.under.advance(10);
      expect((await rig.broker.promote({ limit: 5 })).wakes).toEqual([idle.ref]);
    });

    test('a closed Broker, a delayed entry and an end name nobody', async () => {
      const rig = await open();
      const [busy, idle] = [await rig.machine('m1'), await rig.machine('m2')];
      await rig.add('a');
      const lease = await busy.lease();
      await idle.claim();
      expect((await rig.add('b', { notBeforeMs: (await rig.now()) + 10 })).wake).toBeNull();
      await rig.under.restart();
      expect(await rig.release(lease)).toEqual({ kind: 'requeued', wake: null });
      expect(await rig.broker.passWake({ ...busy.ref, groups: ['g1'] })).toEqual({ wake: null });
    });

    test('never one that a newer incarnation replaced', async () => {
      const rig = await open();
      const older = await rig.machine('m1');
      await older.claim();
      await rig.machine('m1', { incarnation: 2 });
      expect((await rig.add('a')).wake).toBeNull();
    });

    test('never one whose lease has ended, and the next in line instead', async () => {
      const rig = await open();
      const [dead, alive] = [await rig.machine('m1'), await rig.machine('m2')];
      await dead.claim();
      await alive.claim();
      await rig.under.advance(ttlMs - 1);
      await alive.idle();
      await rig.under.advance(1);
      expect((await rig.add('a')).wake).toEqual(alive.ref);
      expect((await rig.add('b')).wake).toBeNull();
    });

    test('never one whose link closed, that left, or that has no free slot any more', async () => {
      const rig = await open();
      const machines = [await rig.machine('m1'), await rig.machine('m2'), await rig.machine('m3')];
      for (const machine of machines) await machine.claim();
      await rig.broker.shorten({ ...machines[0]!.ref, restMs: 20_000 });
      await rig.broker.leave(machines[1]!.ref);
      await machines[2]!.beatOk();
      expect((await rig.add('a')).wake).toBeNull();
    });

    test('a beat with free slots enters the index again', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await machine.claim();
      await machine.beatOk();
      await machine.idle();
      expect((await rig.add('a')).wake).toEqual(machine.ref);
    });

    test('two groups, three machines: the claim that takes the other job wakes whoever fits what is left', async () => {
      const rig = await open();
      const both = await rig.machine('m1', { groups: ['g1', 'g2'] });
      const [one, two] = [
        await rig.machine('m2', { groups: ['g1'] }),
        await rig.machine('m3', { groups: ['g2'] }),
      ];
      await both.claim();
      await rig.under.advance(1);
      for (const machine of [one, two]) await machine.claim();
      // m1 is woken for a, m3 for b; m1 is faster and takes b, which is more urgent.
      expect((await rig.add('a')).wake).toEqual(both.ref);
      expect((await rig.add('b', { group: 'g2', priority: 90 })).wake).toEqual(two.ref);
      const claim = await both.claim();
      expect(claim).toMatchObject({ kind: 'leased', lease: { jobId: 'b' }, more: true, wake: one.ref });
      expect(await two.claim()).toEqual({ kind: 'empty' });
      expect((await one.lease()).jobId).toBe('a');
    });

    test('a woken machine that takes nothing passes its wake on, and is itself idle no more', async () => {
      const rig = await open();
      const [m1, m2] = [await rig.machine('m1'), await rig.machine('m2')];
      await m1.claim();
      await rig.under.advance(1);
      await m2.claim();
      expect((await rig.add('a')).wake).toEqual(m1.ref);
      expect(await rig.broker.passWake({ ...m1.ref, groups: ['g9', 'g1'] })).toEqual({ wake: m2.ref });
      expect(await rig.broker.passWake({ ...m2.ref, groups: ['g1'] })).toEqual({ wake: null });
      expect((await m1.idle()).work).toBe(true);
    });

    test('a wake passed on with no work left wakes nobody', async () => {
      const rig = await open();
      const [m1, m2] = [await rig.machine('m1'), await rig.machine('m2')];
      await m2.claim();
      expect(await rig.broker.passWake({ ...m1.ref, groups: ['g1'] })).toEqual({ wake: null });
      expect((await rig.add('a')).wake).toEqual(m2.ref);
    });

    test('no wake is lost between a claim that finds nothing and the submit that follows it', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const answers = await Promise.all([machine.claim(), rig.add('a')]);
      expect(answers[0].kind === 'leased' || answers[1].wake?.machineId === 'm1').toBe(true);
    });
  });
}
