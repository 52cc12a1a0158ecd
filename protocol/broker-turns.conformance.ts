import { describe, expect, test } from 'vitest';
import type { ClaimRequest, EndRequest, TurnsAnswer, TurnsRequest } from './broker.ts';
import { turnsLimit } from './broker.ts';
import {
  type BrokerSetup,
  entryOf,
  openRig,
  type Rig,
  type RigMachine,
  ttlMs,
} from './broker-fixture.conformance.ts';
import { tokenAfter } from './token.ts';

type Send = (rig: Rig, request: TurnsRequest) => Promise<TurnsAnswer>;

const together: Send = (rig, request) => rig.broker.turns(request);

const oneByOne: Send = async (rig, { completions, claims }) => {
  const answer: TurnsAnswer = { completions: [], claims: [] };
  for (const request of completions) answer.completions.push(await rig.broker.complete(request));
  for (const request of claims) answer.claims.push(await rig.broker.claim(request));
  return answer;
};

/** The request that this machine would send next. */
function claimOf(machine: RigMachine, over: Partial<ClaimRequest> = {}): ClaimRequest {
  return {
    ...machine.ref,
    requestId: ++machine.requestId,
    groups: machine.groups.map((group) => ({ group, penaltyMs: 0 })),
    warmLanes: [],
    classId: 'c1',
    ...over,
  };
}

const endOf = (lease: { jobId: string; token: string }): EndRequest => ({
  jobId: lease.jobId,
  token: lease.token,
  fenceFloor: '0',
});

/** Completions and claims of many in one step: nothing but the number of calls tells them from single ones. */
export function turnsSuite(setup: BrokerSetup): void {
  const open = () => openRig(setup);

  /** What a scene comes to, played in one step and one by one. */
  async function bothWays(scene: (rig: Rig, send: Send) => Promise<unknown>): Promise<[unknown, unknown]> {
    const outcome = async (send: Send) => {
      const rig = await open();
      const told = await scene(rig, send);
      const seen = { told, ...((await rig.seen()) as object) };
      return JSON.parse(JSON.stringify(seen).replaceAll(await rig.identity(), 'identity'));
    };
    return [await outcome(together), await outcome(oneByOne)];
  }

  describe('turns', () => {
    test('what a machine ends makes it free for what it is given in the same step', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'));
      const lease = await machine.lease();
      const { completions, claims } = await rig.broker.turns({
        completions: [endOf(lease)],
        claims: [claimOf(machine)],
      });
      expect(completions).toEqual([{ kind: 'removed' }]);
      expect(claims).toMatchObject([{ kind: 'leased', more: false, lease: { jobId: 'b' } }]);
      expect(await rig.stateOf('a')).toBeNull();
      expect(await rig.broker.stats()).toMatchObject({ leased: 1, waiting: 0, tombstones: 1 });
    });

    test('none at all changes nothing', async () => {
      const rig = await open();
      await rig.add('a');
      const before = await rig.seen();
      expect(await rig.broker.turns({ completions: [], claims: [] })).toEqual({
        completions: [],
        claims: [],
      });
      expect(await rig.seen()).toEqual(before);
    });

    test('each claim is answered for itself: leased, repeated, empty, lapsed, superseded', async () => {
      const rig = await open();
      const [lapsed, busy] = [await rig.machine('m1'), await rig.machine('m2')];
      await rig.under.advance(ttlMs);
      const [idle, older] = [await rig.machine('m3', { groups: ['g2'] }), await rig.machine('m4')];
      await rig.machine('m4', { incarnation: 2 });
      await rig.broker.enrol(busy.ref);
      await rig.submit(entryOf('a'), entryOf('b'));
      const asked = claimOf(busy);
      const { claims } = await rig.broker.turns({
        completions: [],
        claims: [asked, claimOf(idle), claimOf(lapsed), asked, claimOf(older), claimOf(busy)],
      });
      expect(claims).toMatchObject([
        { kind: 'leased', lease: { jobId: 'a' }, more: true },
        { kind: 'empty' },
        { kind: 'lapsed' },
        { kind: 'leased', lease: { jobId: 'a' }, more: true },
        { kind: 'superseded' },
        { kind: 'leased', lease: { jobId: 'b' }, more: false },
      ]);
      expect((await rig.add('c', { group: 'g2' })).wake).toEqual(idle.ref);
    });

    test('a repeat after its lease is answered from an earlier step, with its body', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'));
      const asked = claimOf(machine);
      const first = await rig.broker.claim(asked);
      const { claims } = await rig.broker.turns({ completions: [], claims: [asked, asked] });
      expect(claims).toEqual([first, first]);
    });

    test('completions of unknown, waiting, delayed and newer entries are as those that come alone', async () => {
      const [one, other] = await bothWays(async (rig, send) => {
        const machine = await rig.machine('m1');
        const notBeforeMs = (await rig.now()) + 5_000;
        await rig.submit(
          ...[entryOf('leased'), entryOf('waiting'), entryOf('behind')],
          ...[entryOf('newer', { fenceFloor: '9' }), entryOf('delayed', { notBeforeMs })],
        );
        const lease = await machine.lease();
        const ended = ['waiting', 'unknown', 'newer', 'delayed', 'unknown', 'waiting'];
        const completions = ended.map((jobId, at) => ({ jobId, token: String(at), fenceFloor: '7' }));
        return await send(rig, { completions: [...completions, endOf(lease)], claims: [claimOf(machine)] });
      });
      expect(one).toEqual(other);
      expect(one).toMatchObject({ told: { completions: { length: 7 }, claims: [{ kind: 'leased' }] } });
    });

    test('lanes and groups run empty, and their next best lead, as in claims that come alone', async () => {
      const [one, other] = await bothWays(async (rig, send) => {
        const machines = [await rig.machine('m1', { groups: ['g1', 'g2'] }), await rig.machine('m2')];
        const [both, single] = machines as [RigMachine, RigMachine];
        // Of g1 ten lanes of one to three jobs, of two pools; of g2 one lane.
        const made = Array.from({ length: 20 }, (_, at) =>
          entryOf(`j${at}`, {
            affinity: `lane-${at % 10}`,
            pool: at % 3 === 0 ? 'heavy' : 'standard',
            customer: `customer-${at % 4}`,
            costMs: 1_000 + 700 * (at % 5),
          }),
        );
        await rig.submit(...made, ...['x', 'y'].map((id) => entryOf(id, { group: 'g2' })));
        const warmLanes = [3, 9].map((at) => ({ group: 'g1', affinity: `lane-${at}`, bonusMs: 2_500 }));
        const answers: TurnsAnswer[] = [];
        for (let steps = 0; steps < 2; steps++) {
          const claims = Array.from({ length: 12 }, (_, at) =>
            at % 3 === 0
              ? claimOf(single, { warmLanes, groups: [{ group: 'g1', penaltyMs: 500 * (at % 2) }] })
              : claimOf(both, at % 3 === 1 ? {} : { warmLanes: warmLanes.slice(1) }),
          );
          answers.push(await send(rig, { completions: [], claims }));
        }
        return answers;
      });
      expect(one).toEqual(other);
      expect(one).toMatchObject({ stats: { waiting: 0, leased: 22 } });
    });

    test('a group that is named twice stands where it came first, with the penalty that came last', async () => {
      const [one, other] = await bothWays(async (rig, send) => {
        const twice = await rig.machine('m1', { groups: ['g1', 'g2'] });
        const made = [0, 1, 2].map((at) => entryOf(`a${at}`, { affinity: `lane-${at % 2}` }));
        await rig.submit(...made, entryOf('b', { group: 'g2', costMs: 500 }));
        const groups = ['g1', 'g1', 'g2', 'g1'].map((group, at) => ({ group, penaltyMs: 100 * at }));
        const claims = Array.from({ length: 6 }, () => claimOf(twice, { groups }));
        return [await send(rig, { completions: [], claims })];
      });
      expect(one).toEqual(other);
      expect(one).toMatchObject({ stats: { waiting: 0, leased: 4 } });
    });

    test('tombstones that are past are forgotten as by completions that come alone', async () => {
      const [one, other] = await bothWays(async (rig, send) => {
        const old = Array.from({ length: 20 }, (_, at) => ({
          jobId: `old-${at}`,
          token: '9',
          fenceFloor: '9',
        }));
        await send(rig, { completions: old, claims: [] });
        await rig.under.advance(900_000);
        const again = ['old-1', 'old-0', 'new', 'old-19'];
        const completions = again.map((jobId) => ({ jobId, token: '1', fenceFloor: '1' }));
        await send(rig, { completions, claims: [] });
        const submits = [...again, 'old-2'].map((jobId) => entryOf(jobId, { fenceFloor: '1' }));
        return await rig.submit(...submits);
      });
      expect(one).toEqual(other);
      expect(one).toMatchObject({ stats: { tombstones: 4 } });
    });

    test('a claim that leaves work wakes another machine that fits, and none twice', async () => {
      const rig = await open();
      const [m1, m2, m3] = [await rig.machine('m1'), await rig.machine('m2'), await rig.machine('m3')];
      for (const machine of [m1, m2, m3]) await machine.claim();
      expect((await rig.add('a')).wake).toEqual(m1.ref);
      expect((await rig.add('b')).wake).toEqual(m2.ref);
      await rig.submit(entryOf('c', { notBeforeMs: (await rig.now()) + 5_000 }));
      const claims = [claimOf(m1), claimOf(m2), claimOf(m1)];
      const answer = await rig.broker.turns({ completions: [], claims });
      expect(answer.claims).toMatchObject([
        { kind: 'leased', lease: { jobId: 'a' }, more: true, wake: m3.ref },
        { kind: 'leased', lease: { jobId: 'b' }, more: false, wake: null },
        { kind: 'empty' },
      ]);
      // m1 found nothing and is idle again, m3 is on its way.
      expect((await rig.add('d')).wake).toEqual(m1.ref);
      expect((await rig.add('e')).wake).toBeNull();
    });

    test('tokens rise, and stay above the floors, while the clock stands', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const far = `${((await rig.now()) + 60_000) * 1_000}`;
      await rig.submit(entryOf('a'), entryOf('b', { fenceFloor: far }));
      const lease = await machine.lease();
      await rig.release(lease);
      const { claims } = await rig.broker.turns({
        completions: [],
        claims: [claimOf(machine), claimOf(machine)],
      });
      expect(claims).toMatchObject([
        { lease: { jobId: 'a', token: tokenAfter(lease.token), run: 2 } },
        { lease: { jobId: 'b', token: far } },
      ]);
    });

    test('each claim of a full step names sixteen lanes and bonuses of its own, and gets the warmest', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const made = Array.from({ length: 16 * turnsLimit }, (_, at) =>
        entryOf(`j${at}`, { affinity: `lane-${at}`, customer: `customer-${at}` }),
      );
      await rig.submit(...made);
      const claims = Array.from({ length: turnsLimit }, (_, at) => {
        const lanes = Array.from({ length: 16 }, (_each, index) => 16 * at + index);
        const warmLanes = lanes.map((lane) => ({ group: 'g1', affinity: `lane-${lane}`, bonusMs: 1 + lane }));
        return claimOf(machine, { warmLanes });
      });
      const answer = await rig.broker.turns({ completions: [], claims });
      const expected = claims.map((_, at) => ({ lease: { jobId: `j${16 * at + 15}` } }));
      expect(answer.claims).toMatchObject(expected);
    });

    test('its events are read by any cursor and limit, and trimmed one by one', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(...['a', 'b', 'c', 'd', 'e', 'f'].map((id) => entryOf(id)));
      await machine.lease();
      const claims = Array.from({ length: 5 }, () => claimOf(machine));
      await rig.broker.turns({ completions: [], claims });
      const { identity, events } = await rig.broker.events({ after: 0, limit: 10 });
      expect(events.map((each) => each.jobId)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
      expect(events.map((each) => each.id - (events[0]?.id ?? 0))).toEqual([0, 1, 2, 3, 4, 5]);
      const idsOf = async (after: number, limit: number) =>
        (await rig.broker.events({ after, limit })).events.map((each) => each.id);
      const ids = events.map((each) => each.id);
      for (const [at, after] of [0, ...ids].entries())
        for (const limit of [1, 2, 5, 6])
          expect(await idsOf(after, limit)).toEqual(ids.slice(at, at + limit));
      for (const [at, upTo] of ids.entries()) {
        await rig.broker.trimEvents({ identity, upTo });
        // A recorder that was overtaken trims what is trimmed already.
        await rig.broker.trimEvents({ identity, upTo: upTo - 1 });
        expect(await idsOf(0, 10)).toEqual(ids.slice(at + 1));
      }
    });

    test('while closed completions are served and claims are answered closed', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'));
      const lease = await machine.lease();
      await rig.under.restart();
      expect(await rig.broker.turns({ completions: [endOf(lease)], claims: [claimOf(machine)] })).toEqual({
        completions: [{ kind: 'removed' }],
        claims: [{ kind: 'closed' }],
      });
    });

    test(`${turnsLimit} are one step, one more is refused, and nothing is written of it`, async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const half = turnsLimit / 2;
      await rig.submit(...Array.from({ length: half }, (_, at) => entryOf(`j${at}`)));
      const completions = Array.from({ length: half }, (_, at) => endOf({ jobId: `u${at}`, token: '1' }));
      const claims = Array.from({ length: half }, () => claimOf(machine));
      const before = await rig.seen();
      const refusal = { code: 'VALIDATION_FAILED' };
      const extra = [...completions, endOf({ jobId: 'extra', token: '1' })];
      await expect(rig.broker.turns({ completions: extra, claims })).rejects.toMatchObject(refusal);
      expect(await rig.seen()).toEqual(before);
      const answer = await rig.broker.turns({ completions, claims });
      expect(answer.completions).toHaveLength(half);
      expect(new Set(answer.claims.map((each) => each.kind === 'leased' && each.lease.jobId)).size).toBe(
        half,
      );
    });

    test('what is malformed is named with its place, and nothing of the step is done', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const [good, bad] = [claimOf(machine), { ...claimOf(machine), requestId: 0 }];
      const before = await rig.seen();
      await expect(rig.broker.turns({ completions: [], claims: [good, bad] })).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        errors: [{ pointer: '/claims/1/requestId' }],
      });
      const end = { jobId: 'a', token: 'x', fenceFloor: '0' };
      await expect(rig.broker.turns({ completions: [end], claims: [good] })).rejects.toMatchObject({
        errors: [{ pointer: '/completions/0/token' }],
      });
      expect(await rig.seen()).toEqual(before);
    });
  });
}
