import { describe, expect, test } from 'vitest';
import type { BeatAnswer, BeatRequest } from './broker.ts';
import { beatsLimit, beatsRunsLimit } from './broker.ts';
import {
  type BrokerSetup,
  entryOf,
  leasedRig,
  openRig,
  type Rig,
  type RigMachine,
  runningRig,
  ttlMs,
} from './broker-fixture.conformance.ts';

/** Beats of many incarnations in one step: nothing but the number of calls tells them from single ones. */
export function beatsSuite(setup: BrokerSetup): void {
  const open = () => openRig(setup);

  describe('beats', () => {
    test('each is answered as if it came alone, in order: ok, dropped, cancelled, lapsed, superseded', async () => {
      const rig = await open();
      const [lapsed, busy, idle] = [
        await rig.machine('m1'),
        await rig.machine('m2'),
        await rig.machine('m3'),
      ];
      await rig.submit(entryOf('a'), entryOf('b'));
      await lapsed.lease();
      await rig.under.advance(ttlMs);
      const older = await rig.machine('m4');
      await rig.machine('m4', { incarnation: 2 });
      for (const machine of [busy, idle]) await rig.broker.enrol(machine.ref);
      await busy.lease();
      await rig.broker.cancel({ jobId: 'b', fenceFloor: '0' });
      const { answers, pulse } = await rig.broker.beats([
        idle.free(),
        lapsed.request(),
        busy.request({ running: [...busy.running, { jobId: 'nobody', token: '1' }] }),
        older.request(),
      ]);
      const { earliestExpiryMs } = pulse;
      const ok = { kind: 'ok', unnamed: [], work: false, closed: false, earliestExpiryMs };
      expect(answers).toEqual([
        { ...ok, drop: [], cancel: [] },
        { kind: 'lapsed' },
        { ...ok, drop: ['nobody'], cancel: ['b'] },
        { kind: 'superseded' },
      ]);
    });

    test('a step of several leaves the Broker as the same beats one by one do', async () => {
      const together = await playBeats(setup, async (rig, requests) => {
        return (await rig.broker.beats(requests)).answers;
      });
      const oneByOne = await playBeats(setup, async (rig, requests) => {
        const answers: BeatAnswer[] = [];
        for (const request of requests) answers.push(await rig.broker.beat(request));
        return answers;
      });
      expect(together).toEqual(oneByOne);
    });

    test('every incarnation in it has its whole time again', async () => {
      const rig = await open();
      const machines = [await rig.machine('m1'), await rig.machine('m2'), await rig.machine('m3')];
      await rig.submit(entryOf('a'), entryOf('b'), entryOf('c'));
      for (const machine of machines) await machine.lease();
      for (let rounds = 0; rounds < 3; rounds++) {
        await rig.under.advance(ttlMs - 1);
        await rig.broker.beats(machines.slice(0, 2).map((machine) => machine.request()));
      }
      const answer = await rig.broker.lapsed({ limit: 10 });
      expect(answer).toMatchObject({ kind: 'ok', leases: [{ jobId: 'c', machineId: 'm3' }] });
    });

    test('two beats of one incarnation in it are two beats', async () => {
      const { rig, machine, lease } = await leasedRig(setup);
      const silent = machine.request({ running: [] });
      const { answers } = await rig.broker.beats([silent, silent]);
      expect(answers).toMatchObject([
        { unnamed: [] },
        { unnamed: [{ jobId: lease.jobId, token: lease.token }] },
      ]);
    });

    test('a beat from before a claim takes nothing back, however late its step comes', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const stale = machine.free();
      await rig.add('a');
      await machine.lease();
      for (let rounds = 0; rounds < 3; rounds++)
        expect((await rig.broker.beats([stale])).answers).toMatchObject([{ unnamed: [] }]);
      expect(await rig.broker.inspect('a')).toMatchObject({ holder: machine.ref });
    });

    test('while closed it adopts, drops nothing, lets nothing lapse and offers no work', async () => {
      const { rig, machine, known } = await runningRig(setup);
      await rig.under.restart();
      const ticket = await rig.start();
      await rig.broker.submit({ identity: ticket.identity, ticket, entries: [known] });
      await rig.under.advance(2 * ttlMs);
      const other = { ...machine.free(), machineId: 'm2', running: [{ jobId: 'nobody', token: '1' }] };
      const { answers, pulse } = await rig.broker.beats([machine.request(), other]);
      expect(pulse).toMatchObject({ identity: ticket.identity, open: false });
      for (const answer of answers)
        expect(answer).toMatchObject({ kind: 'ok', drop: [], unnamed: [], work: false, closed: true });
      expect(await rig.broker.inspect('a')).toMatchObject({ state: 'leased', holder: machine.ref });
    });

    test(`${beatsLimit} beats are one step, one more is refused`, async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const requests = Array.from({ length: beatsLimit }, (_, index) => ({
        ...machine.free(),
        machineId: `m${index}`,
      }));
      const { answers } = await rig.broker.beats(requests);
      expect(answers.map(({ kind }) => kind)).toEqual(requests.map(() => 'ok'));
      const refusal = { code: 'VALIDATION_FAILED' };
      await expect(rig.broker.beats([...requests, machine.free()])).rejects.toMatchObject(refusal);
    });

    test(`they name ${beatsRunsLimit} runs together, one more is refused`, async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const runs = (count: number) =>
        machine.request({
          running: Array.from({ length: count }, (_, index) => ({ jobId: `j-${index}`, token: '1' })),
        });
      const most = Array.from({ length: beatsRunsLimit / 250 }, () => runs(250));
      const { answers } = await rig.broker.beats(most);
      expect(answers.map((each) => each.kind === 'ok' && each.drop.length)).toEqual(most.map(() => 250));
      await expect(rig.broker.beats([...most, runs(1)])).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
      });
    });
  });

  describe('no wake is lost by beats of several', () => {
    test('all that fit are told of work, whoever was woken for it', async () => {
      const rig = await open();
      const [dead, m2, m3] = [await rig.machine('m1'), await rig.machine('m2'), await rig.machine('m3')];
      const misfit = await rig.machine('m4', { groups: ['g2'] });
      for (const machine of [dead, m2, m3, misfit]) await machine.claim();
      expect((await rig.add('a')).wake).toEqual(dead.ref);
      const { answers } = await rig.broker.beats([m2.free(), m3.free(), misfit.free()]);
      expect(answers.map((each) => each.kind === 'ok' && each.work)).toEqual([true, true, false]);
    });

    test('all with free slots enter the idle index again, one after the other in their old places', async () => {
      const rig = await open();
      const machines = [await rig.machine('m1'), await rig.machine('m2')];
      await rig.broker.beats(machines.map((machine) => machine.free()));
      expect((await rig.add('a')).wake).toEqual(machines[0]!.ref);
      expect((await rig.add('b')).wake).toEqual(machines[1]!.ref);
      const [first, second] = machines;
      await first!.lease();
      await second!.lease();
      await rig.broker.beats([first!.request(), second!.free()]);
      expect((await rig.add('c')).wake).toEqual(second!.ref);
    });

    test('a submit meets each machine before or after its beat: either way it learns of the job', async () => {
      const rig = await open();
      const machines = [await rig.machine('m1'), await rig.machine('m2'), await rig.machine('m3')];
      for (let jobs = 0; jobs < 20; jobs++) {
        const [{ answers }, { wake }] = await Promise.all([
          rig.broker.beats(machines.map((machine) => machine.free())),
          rig.add(`j${jobs}`),
        ]);
        const isTold = answers.some((each) => each.kind === 'ok' && each.work);
        expect(isTold || wake !== null).toBe(true);
        expect((await machines[jobs % 3]!.claim()).kind).toBe('leased');
      }
    });
  });

  describe('pulse', () => {
    test('no beat at all asks for it and keeps nobody alive', async () => {
      const { rig, machine } = await leasedRig(setup);
      const endsMs = (await rig.now()) + ttlMs;
      await rig.under.advance(1_000);
      const { answers, pulse } = await rig.broker.beats([]);
      expect(answers).toEqual([]);
      expect(pulse).toMatchObject({ ...(await rig.broker.identity()), earliestExpiryMs: endsMs });
      await rig.under.advance(ttlMs - 1_000);
      expect((await machine.beat()).kind).toBe('lapsed');
    });

    test('it counts what waits, is delayed and is leased', async () => {
      const rig = await open();
      const entries = async () => (await rig.broker.beats([])).pulse.entries;
      expect(await entries()).toBe(0);
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'), entryOf('c', { notBeforeMs: (await rig.now()) + 1_000 }));
      const { jobId, token } = await machine.lease();
      expect(await entries()).toBe(3);
      await rig.broker.complete({ jobId, token, fenceFloor: token });
      expect(await entries()).toBe(2);
    });

    test('the id of the newest event is there also when that is trimmed', async () => {
      const { rig, machine } = await leasedRig(setup);
      const newest = async () => (await rig.broker.beats([])).pulse.lastEventId;
      const { identity, events } = await rig.broker.events({ after: 0, limit: 10 });
      expect(await newest()).toBe(events.at(-1)?.id);
      await rig.broker.trimEvents({ identity, upTo: await newest() });
      expect(await newest()).toBe(events.at(-1)?.id);
      await rig.add('b');
      await machine.lease();
      expect(await newest()).toBe((await rig.broker.events({ after: 0, limit: 10 })).events.at(-1)?.id);
    });

    test('it tells another server from the one before, and that it is closed', async () => {
      const rig = await open();
      const before = (await rig.broker.beats([])).pulse;
      expect(before.open).toBe(true);
      await rig.under.restart();
      const { pulse } = await rig.broker.beats([]);
      expect(pulse.open).toBe(false);
      expect(pulse.identity).not.toBe(before.identity);
    });
  });
}

/** A scene with running, lost, cancelled and waiting work, the beats of all its machines, and what it leaves. */
async function playBeats(
  setup: BrokerSetup,
  send: (rig: Rig, requests: BeatRequest[]) => Promise<BeatAnswer[]>,
): Promise<unknown> {
  const rig = await openRig(setup);
  const machines: RigMachine[] = [];
  for (const machineId of ['m1', 'm2', 'm3', 'm4']) machines.push(await rig.machine(machineId));
  const [m1, m2, m3, m4] = machines as [RigMachine, RigMachine, RigMachine, RigMachine];
  await rig.submit(...['a', 'b', 'c', 'd'].map((jobId) => entryOf(jobId)));
  for (const machine of [m1, m1, m2, m3]) await machine.lease();
  await rig.broker.cancel({ jobId: 'c', fenceFloor: '0' });
  m1.running = m1.running.slice(1);
  const requests = [m1.request(), m2.request(), m3.free(), m4.free(), m1.request()];
  const answers = await send(rig, requests);
  const { wake } = await rig.add('e');
  // The end that each answer tells is the one thing in which they may differ.
  const told = answers.map((each) => (each.kind === 'ok' ? { ...each, earliestExpiryMs: null } : each));
  const { entries, list, events, stats } = (await rig.seen()) as Record<string, unknown>;
  return JSON.parse(
    JSON.stringify({ told, wake, entries, list, events, stats }).replaceAll(await rig.identity(), 'identity'),
  );
}
