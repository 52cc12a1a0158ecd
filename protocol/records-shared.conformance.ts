import { describe, expect, test } from 'vitest';
import { expire, hubOn, m1, m2, newJob, type RecordsSetup, t0 } from './records-fixture.conformance.ts';

/** Two hubs on one store. Passed over where a store has one client by nature. */
export function sharedSuite(setup: RecordsSetup): void {
  const pair = async () => {
    const under = await setup();
    if (!under.another) return null;
    return { a: hubOn(under.records), b: hubOn(await under.another(), 'server-1'), elapse: under.elapse };
  };

  describe('two hubs', () => {
    test('a submission through both is created once', async () => {
      const hubs = await pair();
      if (!hubs) return;
      const jobs = Array.from({ length: 20 }, () => newJob());
      const answers = await Promise.all(
        [hubs.a, hubs.b].flatMap((hub) => jobs.map((job) => hub.records.submitJobs([job], t0))),
      );
      expect(answers.flat().filter((answer) => answer.kind === 'created')).toHaveLength(20);
      for (const job of jobs) expect((await hubs.b.records.timeline(job.id)).transitions).toHaveLength(1);
    });

    test('of completions through both exactly one commits', async () => {
      const hubs = await pair();
      if (!hubs) return;
      const { a, b } = hubs;
      const ids = await Promise.all(Array.from({ length: 10 }, () => a.submit()));
      const answers = await Promise.all(
        ids.flatMap((id) => [a.complete(id, '500'), b.complete(id, '501', { holder: m2 })]),
      );
      expect(answers.filter((answer) => answer.kind === 'committed')).toHaveLength(10);
      for (const id of ids) expect(await a.job(id)).toEqual(await b.job(id));
    });

    test('an expiry through one fences the completion through the other', async () => {
      const hubs = await pair();
      if (!hubs) return;
      const { a, b } = hubs;
      const id = await a.submit();
      await a.claim(id, '500');
      await a.exit(id, '500', expire);
      expect(await b.complete(id, '500', { holder: m1 })).toMatchObject({
        kind: 'staleLease',
        fenceFloor: '501',
      });
    });

    test('a singleton is held by one of them, and what the other commits under its old lease is refused', async () => {
      const hubs = await pair();
      if (!hubs) return;
      const { a, b, elapse } = hubs;
      const id = await a.submit();
      const old = await a.recorder();
      await expect(b.recorder()).rejects.toThrow('another holds');
      await elapse(600_001);
      const fresh = await b.recorder();
      expect(fresh.token).toBe(old.token + 1);
      expect(await a.record(a.event('leased', id, { token: '5' }))).toEqual({ kind: 'staleSingleton' });
      expect(await b.record(b.event('leased', id, { token: '5' }))).toMatchObject({ kind: 'ok' });
    });

    test('incarnations and secrets are handed out once', async () => {
      const hubs = await pair();
      if (!hubs) return;
      const machineClass = {
        pool: 'p',
        services: [{ service: 's', version: '1', slots: 1 }],
        vramMb: 0,
        ramMb: 0,
        diskMb: 0,
        cpuCores: 1,
        tags: [],
        region: null,
      };
      const enrol = (records: typeof hubs.a.records) =>
        records.enrolMachine({ machineId: 'm', classId: 'c', machineClass, hubId: 'h', nowMs: t0 });
      const rows = await Promise.all(
        Array.from({ length: 10 }, (_, n) => enrol(n % 2 ? hubs.a.records : hubs.b.records)),
      );
      expect(new Set(rows.map((row) => row.incarnation)).size).toBe(10);
      const [one, two] = await Promise.all([hubs.a.records.secret('key'), hubs.b.records.secret('key')]);
      expect(one).toBe(two);
    });
  });
}
