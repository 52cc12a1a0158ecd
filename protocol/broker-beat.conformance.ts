import { describe, expect, test } from 'vitest';
import { type BrokerSetup, entryOf, openRig, ttlMs } from './broker-fixture.conformance.ts';

/** Leases and those who hold them: beats, enrolment, shortening, leaving, lapsing. */
export function beatSuite(setup: BrokerSetup): void {
  const open = () => openRig(setup);

  describe('beat', () => {
    test('one extends every lease of its incarnation, whatever it runs and whatever it names', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'), entryOf('c'));
      for (let claims = 0; claims < 3; claims++) await machine.lease();
      for (let round = 0; round < 10; round++) {
        await rig.under.advance(ttlMs - 1);
        machine.running = machine.running.slice(0, 2);
        await machine.beatOk({ openRequestId: 3 });
      }
      expect(await rig.broker.lapsed({ limit: 10 })).toMatchObject({ kind: 'ok', leases: [] });
      expect((await rig.broker.stats()).leased).toBe(3);
    });

    test('T3: a lease is as long as its machine beats: three hours later it is nobody else’s', async () => {
      const rig = await open();
      const [holder, other] = [await rig.machine('m1'), await rig.machine('m2')];
      await rig.add('long');
      await holder.lease();
      for (let seconds = 0; seconds < 3 * 3_600; seconds += 25) {
        await rig.under.advance(25_000);
        await holder.beatOk();
        await other.beatOk();
      }
      expect(await other.claim()).toEqual({ kind: 'empty' });
    });

    test('what is named and not held here is dropped: unknown, another’s, an older token', async () => {
      const rig = await open();
      const [m1, m2] = [await rig.machine('m1'), await rig.machine('m2')];
      await rig.submit(entryOf('a'), entryOf('b'), entryOf('waits'));
      const a = await m1.lease();
      const b = await m2.lease();
      const older = String(Number(a.token) - 1);
      const running = [
        { jobId: 'nobody', token: '5' },
        { jobId: b.jobId, token: b.token },
        { jobId: a.jobId, token: older },
        { jobId: 'waits', token: a.token },
      ];
      expect((await m1.beatOk({ running })).drop).toEqual(['nobody', 'b', 'a', 'waits']);
      expect(await rig.broker.inspect('b')).toMatchObject({ holder: m2.ref, token: b.token });
      expect(await rig.broker.inspect('a')).toMatchObject({ holder: m1.ref, token: a.token });
    });

    test('the same job under another token of the same machine is not adopted by an open Broker', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const { token } = await machine.lease();
      const newer = String(Number(token) + 1_000);
      expect((await machine.beatOk({ running: [{ jobId: 'a', token: newer }] })).drop).toEqual(['a']);
      expect(await rig.broker.inspect('a')).toMatchObject({ token });
    });

    test('a cancel is told to the holder that names the job, in every beat', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'));
      await machine.lease();
      await machine.lease();
      await rig.broker.cancel({ jobId: 'b', fenceFloor: '0' });
      for (let beats = 0; beats < 2; beats++)
        expect(await machine.beatOk()).toMatchObject({ drop: [], cancel: ['b'], unnamed: [] });
    });

    test('work is told with free slots only, and only where it fits', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('other', { group: 'g2' });
      expect((await machine.idle()).work).toBe(false);
      await rig.add('a');
      expect((await machine.beatOk()).work).toBe(false);
      expect((await machine.idle()).work).toBe(true);
      expect((await machine.idle()).work).toBe(true);
    });

    test('its answer carries the end of the lease that ends first', async () => {
      const rig = await open();
      const m1 = await rig.machine('m1');
      const startMs = await rig.now();
      await rig.under.advance(10_000);
      const m2 = await rig.machine('m2');
      expect((await m2.beatOk()).earliestExpiryMs).toBe(startMs + ttlMs);
      expect((await m1.beatOk()).earliestExpiryMs).toBe(startMs + 10_000 + ttlMs);
    });

    test('256 runs are named in one beat, one more is refused', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const running = Array.from({ length: 257 }, (_, index) => ({ jobId: `j-${index}`, token: '1' }));
      expect((await machine.beatOk({ running: running.slice(1) })).drop).toHaveLength(256);
      await expect(machine.beat({ running })).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    });
  });

  describe('leases that beats do not name', () => {
    test('one is taken back by two beats that leave it out, and again until it is released', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const lease = await machine.lease();
      machine.running = [];
      expect((await machine.beatOk()).unnamed).toEqual([]);
      for (let beats = 0; beats < 2; beats++)
        expect((await machine.beatOk()).unnamed).toEqual([{ jobId: 'a', token: lease.token }]);
      expect(await rig.release(lease)).toMatchObject({ kind: 'requeued' });
      expect((await machine.beatOk()).unnamed).toEqual([]);
    });

    test('a beat that names it in between begins the count anew', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      await machine.lease();
      for (let rounds = 0; rounds < 3; rounds++) {
        expect((await machine.beatOk({ running: [] })).unnamed).toEqual([]);
        expect((await machine.beatOk()).unnamed).toEqual([]);
      }
    });

    test('a request that is still open is not counted, however many beats leave it out', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      await machine.claim();
      for (let beats = 0; beats < 5; beats++)
        expect((await machine.beatOk({ openRequestId: 1 })).unnamed).toEqual([]);
      expect((await machine.beatOk()).unnamed).toEqual([]);
      expect((await machine.beatOk()).unnamed).toHaveLength(1);
    });

    test('a request that the beat was sent before is not counted', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      await machine.claim();
      for (let beats = 0; beats < 5; beats++)
        expect((await machine.beatOk({ highestRequestId: 0 })).unnamed).toEqual([]);
    });

    test('naming it with another token is not naming it', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      await machine.lease();
      const running = [{ jobId: 'a', token: '1' }];
      expect(await machine.beatOk({ running })).toMatchObject({ drop: ['a'], unnamed: [] });
      expect(await machine.beatOk({ running })).toMatchObject({ drop: ['a'], unnamed: [{ jobId: 'a' }] });
    });
  });

  describe('lapse', () => {
    test('a silent incarnation is told lapsed by beat and claim until its jobs are out, then it may go on', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const lease = await machine.lease();
      await rig.under.advance(ttlMs);
      expect(await machine.beat()).toEqual({ kind: 'lapsed' });
      expect(await rig.broker.enrol(machine.ref)).toEqual({ kind: 'ok' });
      expect(await machine.claim()).toEqual({ kind: 'lapsed' });
      expect(await rig.broker.lapsed({ limit: 10 })).toMatchObject({
        leases: [{ ...machine.ref, jobId: 'a', token: lease.token, rebuilt: false }],
      });
      await rig.release(lease, { attempts: 1 });
      machine.running = [];
      expect((await machine.beatOk()).kind).toBe('ok');
      expect(await machine.lease()).toMatchObject({ jobId: 'a', attempts: 1 });
    });

    test('one that held nothing simply beats again', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.under.advance(10 * ttlMs);
      expect((await machine.beat()).kind).toBe('ok');
    });

    test('a lease ends at its time exactly, and the last beat before counts', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      await machine.lease();
      await rig.under.advance(ttlMs - 1);
      expect(await rig.broker.lapsed({ limit: 1 })).toMatchObject({ leases: [] });
      await machine.beatOk();
      await rig.under.advance(ttlMs - 1);
      expect(await rig.broker.lapsed({ limit: 1 })).toMatchObject({ leases: [] });
      await rig.under.advance(1);
      expect(await rig.broker.lapsed({ limit: 1 })).toMatchObject({ leases: [{ jobId: 'a' }] });
    });

    test('T4: ten thousand healthy leases do not hide the dead one', async () => {
      const rig = await open();
      const dead = await rig.machine('dead');
      await rig.add('lost');
      await dead.lease();
      const healthy = await Promise.all(Array.from({ length: 40 }, (_, index) => rig.machine(`m${index}`)));
      for (let batch = 0; batch < 10; batch++)
        await rig.submit(...Array.from({ length: 1_000 }, (_, index) => entryOf(`${batch}-${index}`)));
      for (const machine of healthy) for (let jobs = 0; jobs < 250; jobs++) await machine.claim();
      await rig.under.advance(ttlMs - 1);
      for (const machine of healthy) await machine.beatOk();
      await rig.under.advance(1);
      const answer = await rig.broker.lapsed({ limit: 1 });
      expect(answer).toMatchObject({ leases: [{ jobId: 'lost', ...dead.ref }] });
      expect((await rig.broker.stats()).leased).toBe(10_001);
    });

    test('at most as many as asked for are answered, longest dead first, and the rest after those are out', async () => {
      const rig = await open();
      const [m1, m2] = [await rig.machine('m1'), await rig.machine('m2')];
      await rig.submit(...['a', 'b', 'c', 'd'].map((jobId) => entryOf(jobId)));
      const leases = [await m2.lease(), await m2.lease(), await m1.lease(), await m1.lease()];
      await rig.under.advance(1_000);
      await m2.beatOk();
      await rig.under.advance(ttlMs);
      const first = await rig.broker.lapsed({ limit: 3 });
      expect(first.kind === 'ok' && first.leases.map((each) => each.jobId)).toEqual(['c', 'd', 'a']);
      for (const lease of leases.slice(0, 1).concat(leases.slice(2))) await rig.release(lease);
      const rest = await rig.broker.lapsed({ limit: 3 });
      expect(rest.kind === 'ok' && rest.leases.map((each) => each.jobId)).toEqual(['b']);
    });

    test('the dead that hold nothing are forgotten, and nothing is due then', async () => {
      const rig = await open();
      for (let index = 0; index < 20; index++) await rig.machine(`m${index}`);
      await rig.under.advance(ttlMs);
      expect(await rig.broker.lapsed({ limit: 5 })).toEqual({
        kind: 'ok',
        leases: [],
        earliestExpiryMs: null,
      });
      expect((await rig.broker.stats()).incarnations).toBe(0);
    });

    test('asking does not end anything: the lease is there until its exit', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      await machine.lease();
      await rig.under.advance(ttlMs);
      await rig.broker.lapsed({ limit: 5 });
      expect(await rig.broker.lapsed({ limit: 5 })).toMatchObject({ leases: [{ jobId: 'a' }] });
      expect(await rig.stateOf('a')).toBe('leased');
    });
  });

  describe('enrol', () => {
    test('R35: a newer incarnation makes the leases of the older lapse at once', async () => {
      const rig = await open();
      const older = await rig.machine('m1');
      await rig.add('a');
      await older.lease();
      const newer = await rig.machine('m1', { incarnation: 5 });
      expect(await rig.broker.lapsed({ limit: 5 })).toMatchObject({
        leases: [{ machineId: 'm1', incarnation: 1, jobId: 'a', rebuilt: false }],
      });
      expect((await newer.beatOk({ running: older.running })).drop).toEqual(['a']);
    });

    test('again by the same incarnation neither ends nor lengthens what it holds', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const { expiresAtMs } = await machine.lease();
      await rig.under.advance(10_000);
      expect(await rig.broker.enrol(machine.ref)).toEqual({ kind: 'ok' });
      expect((await rig.broker.lapsed({ limit: 1 })).kind === 'ok').toBe(true);
      expect(await rig.broker.lapsed({ limit: 1 })).toEqual({
        kind: 'ok',
        leases: [],
        earliestExpiryMs: expiresAtMs,
      });
    });

    test('two machines with the same number are two', async () => {
      const rig = await open();
      const [m1, m2] = [
        await rig.machine('m1', { incarnation: 3 }),
        await rig.machine('m2', { incarnation: 2 }),
      ];
      expect((await m1.beat()).kind).toBe('ok');
      expect((await m2.beat()).kind).toBe('ok');
    });
  });

  describe('shorten and leave', () => {
    test('an unexplained close leaves at most the rest, a beat gives the whole time again', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const nowMs = await rig.now();
      expect(await rig.broker.shorten({ ...machine.ref, restMs: 20_000 })).toEqual({
        earliestExpiryMs: nowMs + 20_000,
      });
      expect((await machine.beatOk()).earliestExpiryMs).toBe(nowMs + ttlMs);
    });

    test('it never lengthens', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const nowMs = await rig.now();
      await rig.broker.shorten({ ...machine.ref, restMs: 5_000 });
      expect(await rig.broker.shorten({ ...machine.ref, restMs: 20_000 })).toEqual({
        earliestExpiryMs: nowMs + 5_000,
      });
      expect(await rig.broker.shorten({ ...machine.ref, restMs: 1e9 })).toEqual({
        earliestExpiryMs: nowMs + 5_000,
      });
    });

    test('a machine that is not known is neither made nor ended by it', async () => {
      const rig = await open();
      expect(await rig.broker.shorten({ machineId: 'm9', incarnation: 1, restMs: 5 })).toEqual({
        earliestExpiryMs: null,
      });
      expect(await rig.broker.leave({ machineId: 'm9', incarnation: 1 })).toEqual({ leases: [] });
      expect((await rig.broker.stats()).incarnations).toBe(0);
    });

    test('leave answers what is still held; the leases keep their time until they are released', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.submit(entryOf('a'), entryOf('b'));
      const leases = [await machine.lease(), await machine.lease()];
      expect(await rig.broker.leave(machine.ref)).toEqual({
        leases: leases.map(({ jobId, token }) => ({ jobId, token })),
      });
      expect(await rig.stateOf('a')).toBe('leased');
      // The hub that should release them dies here: they lapse as any other.
      await rig.under.advance(ttlMs);
      expect(await rig.broker.lapsed({ limit: 5 })).toMatchObject({
        leases: [{ jobId: 'a' }, { jobId: 'b' }],
      });
    });

    test('leave of one that holds nothing forgets it', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      expect(await rig.broker.leave(machine.ref)).toEqual({ leases: [] });
      expect((await rig.broker.stats()).incarnations).toBe(0);
      expect(await machine.claim()).toEqual({ kind: 'lapsed' });
    });
  });
}
