import { describe, expect, test } from 'vitest';
import type { ModelManifest } from './model.ts';
import { hubOn, type RecordsSetup, t0 } from './records-fixture.conformance.ts';
import { type MachineClass, machineClassId } from './requirements.ts';

const machineClass: MachineClass = {
  pool: 'standard',
  services: [{ service: 'simulation', version: '1', slots: 2 }],
  vramMb: 24_000,
  ramMb: 64_000,
  diskMb: 200_000,
  cpuCores: 8,
  tags: ['spot'],
  region: null,
};
const classId = machineClassId(machineClass);
const manifest: ModelManifest = {
  id: 'flux-dev',
  service: 'comfyui',
  kind: 'checkpoint',
  files: [{ name: 'flux.safetensors', bytes: 12, sha256: 'a'.repeat(64), sources: [] }],
  memoryMb: 12_000,
  licence: 'test only',
};

/** Machines, classes, groups, models, singletons, secrets, and the store itself. */
export function machineSuite(setup: RecordsSetup): void {
  const hub = async () => {
    const base = hubOn((await setup()).records);
    const enrol = (machineId: string, nowMs = t0, over: Partial<MachineClass> = {}) => {
      const own = { ...machineClass, ...over };
      return base.records.enrolMachine({
        machineId,
        classId: machineClassId(own),
        machineClass: own,
        hubId: 'hub-1',
        nowMs,
      });
    };
    const machineFacts = async () => {
      await base.records.assignSeq({ limit: 1_000, lease: await base.recorder() });
      return (await base.records.listEvents({ after: 0, limit: 1_000 })).map((event) => [
        event.type,
        event.machineId,
        event.data.incarnation,
      ]);
    };
    return { ...base, enrol, machineFacts };
  };

  describe('machines', () => {
    test('every enrolment is a higher incarnation of its machine', async () => {
      const { records, enrol, machineFacts } = await hub();
      const rows = await Promise.all([enrol('a'), enrol('a'), enrol('b'), enrol('a')]);
      expect(
        rows
          .filter((row) => row.machineId === 'a')
          .map((row) => row.incarnation)
          .sort(),
      ).toEqual([1, 2, 3]);
      expect(await records.getMachine('b')).toEqual({
        machineId: 'b',
        incarnation: 1,
        classId,
        machineClass,
        state: 'joined',
        cordoned: false,
        draining: false,
        joinedAtMs: t0,
        lastSeenAtMs: t0,
        hubId: 'hub-1',
        report: {},
      });
      expect((await machineFacts()).filter(([type]) => type === 'machine.joined')).toHaveLength(4);
      expect(await records.getMachine('nobody')).toBeNull();
    });

    test('a new incarnation stays cordoned and is no longer draining', async () => {
      const { records, enrol } = await hub();
      await enrol('a');
      await records.setMachineFlags({ machineId: 'a', cordoned: true, draining: true });
      expect(await enrol('a')).toMatchObject({ incarnation: 2, cordoned: true, draining: false });
    });

    test('flags change alone or together, and only a change is an event', async () => {
      const { records, enrol, machineFacts } = await hub();
      await enrol('a');
      expect(await records.setMachineFlags({ machineId: 'a', cordoned: true })).toMatchObject({
        cordoned: true,
        draining: false,
      });
      expect(await records.setMachineFlags({ machineId: 'a', draining: true })).toMatchObject({
        cordoned: true,
        draining: true,
      });
      expect(await records.setMachineFlags({ machineId: 'a', draining: true })).toMatchObject({
        cordoned: true,
        draining: true,
      });
      expect(await records.setMachineFlags({ machineId: 'nobody', draining: true })).toBeNull();
      expect((await machineFacts()).filter(([type]) => type === 'machine.flagged')).toHaveLength(2);
    });

    test('the present incarnation resumes on another hub, an older one and one that left do not', async () => {
      const { records, enrol, machineFacts } = await hub();
      await enrol('a');
      await enrol('a');
      const report = { machineId: 'a', incarnation: 2, report: {}, nowMs: t0 + 5 };
      await records.reportMachine({ ...report, state: 'lost' });
      const resume = (incarnation: number) =>
        records.resumeMachine({ machineId: 'a', incarnation, hubId: 'hub-2', nowMs: t0 + 10 });
      expect(await resume(1)).toBeNull();
      expect(await resume(2)).toMatchObject({
        state: 'joined',
        hubId: 'hub-2',
        incarnation: 2,
        lastSeenAtMs: t0 + 10,
      });
      await records.reportMachine({ ...report, state: 'left' });
      expect(await resume(2)).toBeNull();
      expect((await machineFacts()).map(([type]) => type)).toEqual([
        'machine.joined',
        'machine.joined',
        'machine.lost',
        'machine.resumed',
        'machine.left',
      ]);
    });

    test('a report counts only from the present incarnation, and silence is not seeing', async () => {
      const { records, enrol } = await hub();
      await enrol('a');
      const report = (incarnation: number, state: 'joined' | 'lost', nowMs: number, health: string) =>
        records.reportMachine({ machineId: 'a', incarnation, state, report: { health }, nowMs });
      await report(1, 'joined', t0 + 10, 'fine');
      expect(await records.getMachine('a')).toMatchObject({
        report: { health: 'fine' },
        lastSeenAtMs: t0 + 10,
      });
      await report(1, 'joined', t0 + 4, 'reordered');
      await report(1, 'lost', t0 + 60_000, 'silent');
      expect(await records.getMachine('a')).toMatchObject({ state: 'lost', lastSeenAtMs: t0 + 10 });
      await enrol('a', t0 + 70_000);
      await report(1, 'lost', t0 + 80_000, 'zombie');
      expect(await records.getMachine('a')).toMatchObject({ state: 'joined', incarnation: 2, report: {} });
      await report(9, 'joined', t0, 'nobody');
    });

    test('a report over 64 KiB is refused by name', async () => {
      const { records, enrol } = await hub();
      await enrol('a');
      const huge = records.reportMachine({
        machineId: 'a',
        incarnation: 1,
        state: 'joined',
        report: { log: 'x'.repeat(70_000) },
        nowMs: t0,
      });
      await expect(huge).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        errors: [{ pointer: '/report' }],
      });
    });

    test('lists and classes go by when a machine was seen', async () => {
      const { records, enrol } = await hub();
      await enrol('old', t0);
      await enrol('new', t0 + 1_000, { vramMb: 48_000 });
      expect((await records.listMachines({ seenAfterMs: null })).map((row) => row.machineId)).toEqual([
        'new',
        'old',
      ]);
      expect((await records.listMachines({ seenAfterMs: t0 })).map((row) => row.machineId)).toEqual(['new']);
      expect(
        (await records.listClasses({ seenAfterMs: t0 + 1 })).map((row) => row.machineClass.vramMb),
      ).toEqual([48_000]);
      await records.reportMachine({
        machineId: 'old',
        incarnation: 1,
        state: 'joined',
        report: {},
        nowMs: t0 + 2_000,
      });
      expect(
        (await records.listClasses({ seenAfterMs: t0 + 1 })).map((row) => row.machineClass.vramMb).sort(),
      ).toEqual([24_000, 48_000]);
    });
  });

  describe('groups and models', () => {
    test('a group is interned once', async () => {
      const { records } = await hub();
      const group = { service: 'simulation', pool: 'standard', requirements: { tags: ['spot'] } };
      await Promise.all([
        records.internGroup('g1', group),
        records.internGroup('g1', group),
        records.internGroup('g0', { ...group, requirements: {} }),
      ]);
      expect(await records.listGroups()).toEqual([
        { groupId: 'g0', group: { ...group, requirements: {} } },
        { groupId: 'g1', group },
      ]);
    });

    test('all that a class and a group may say comes back as it was said', async () => {
      const { records, enrol } = await hub();
      const environment = `sha256:${'a1'.repeat(32)}`;
      const own = {
        gpus: ['l40s', 'rtx4090'],
        environment,
        customers: { deny: ['amber', 'birch'] },
        reservedFor: ['a', 'b'],
      };
      expect((await enrol('m1', t0, own)).machineClass).toEqual({ ...machineClass, ...own });
      expect(await records.listClasses({ seenAfterMs: t0 })).toEqual([
        { classId: machineClassId({ ...machineClass, ...own }), machineClass: { ...machineClass, ...own } },
      ]);
      const requirements = {
        gpu: ['rtx4090'],
        connectorVersion: '>=1.0.0 <2.0.0',
        environment,
        isolation: 'strict' as const,
      };
      const named = { service: 'simulation', pool: 'standard', requirements, customer: 'amber' };
      const open = { service: 'simulation', pool: 'standard', requirements: {}, notCustomers: ['amber'] };
      await records.internGroup('g0', named);
      await records.internGroup('g1', open);
      expect((await records.listGroups()).map(({ group }) => group)).toEqual([named, open]);
    });

    test('an equal manifest is a repeat, another replaces it', async () => {
      const { records, recorder } = await hub();
      expect(await records.getModel('flux-dev')).toBeNull();
      await records.putModel(manifest);
      await records.putModel({ ...manifest });
      await records.putModel({ ...manifest, memoryMb: 13_000 });
      expect(await records.getModel('flux-dev')).toEqual({ ...manifest, memoryMb: 13_000 });
      expect(await records.listModels()).toHaveLength(1);
      await records.assignSeq({ limit: 10, lease: await recorder() });
      expect((await records.listEvents({ after: 0, limit: 10 })).map((event) => event.data.replaced)).toEqual(
        [false, true],
      );
    });
  });

  describe('singletons', () => {
    const hold = { name: 'sweeper', ttlMs: 10_000 };

    test('one holds it, renews it, and loses it when its time has passed', async () => {
      const { records, elapse } = await setup();
      const first = await records.holdSingleton({ ...hold, holder: 'a', current: null });
      expect(first).toMatchObject({ name: 'sweeper', holder: 'a', token: 1 });
      expect(await records.holdSingleton({ ...hold, holder: 'b', current: null })).toBeNull();
      await elapse(9_000);
      const renewed = await records.holdSingleton({ ...hold, holder: 'a', current: first });
      expect(renewed).toMatchObject({ token: 1 });
      expect(renewed!.untilMs).toBeGreaterThan(first!.untilMs);
      await elapse(9_000);
      expect(await records.holdSingleton({ ...hold, holder: 'b', current: null })).toBeNull();
      await elapse(1_001);
      expect(await records.holdSingleton({ ...hold, holder: 'b', current: null })).toMatchObject({
        holder: 'b',
        token: 2,
      });
      expect(await records.holdSingleton({ ...hold, holder: 'a', current: renewed })).toBeNull();
    });

    test('a late renewal stands while nobody else took it', async () => {
      const { records, elapse } = await setup();
      const first = await records.holdSingleton({ ...hold, holder: 'a', current: null });
      await elapse(60_000);
      expect(await records.holdSingleton({ ...hold, holder: 'a', current: first })).toMatchObject({
        token: 1,
      });
    });

    test('the same name without its lease is another holder', async () => {
      const { records } = await setup();
      await records.holdSingleton({ ...hold, holder: 'a', current: null });
      expect(await records.holdSingleton({ ...hold, holder: 'a', current: null })).toBeNull();
    });

    test('what is dropped can be taken at once, with a higher token; a stale drop does nothing', async () => {
      const { records } = await setup();
      const first = await records.holdSingleton({ ...hold, holder: 'a', current: null });
      await records.dropSingleton(first!);
      const second = await records.holdSingleton({ ...hold, holder: 'b', current: null });
      expect(second).toMatchObject({ token: 2 });
      await records.dropSingleton(first!);
      expect(await records.holdSingleton({ ...hold, holder: 'c', current: null })).toBeNull();
    });

    test('of many takers at once one gets it', async () => {
      const { records } = await setup();
      const taken = await Promise.all(
        Array.from({ length: 9 }, (_, n) =>
          records.holdSingleton({ ...hold, holder: `h${n}`, current: null }),
        ),
      );
      expect(taken.filter((lease) => lease !== null)).toHaveLength(1);
    });

    test.each([0, 999, 600_001, Number.NaN])('a time of %d ms is refused by name', async (ttlMs) => {
      const { records } = await setup();
      const held = records.holdSingleton({ ...hold, ttlMs, holder: 'a', current: null });
      await expect(held).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        errors: [{ pointer: '/ttlMs' }],
      });
    });
  });

  describe('the store', () => {
    test('a secret is made once, 32 bytes, and differs by name', async () => {
      const { records } = await setup();
      const secrets = await Promise.all(Array.from({ length: 5 }, () => records.secret('url-key')));
      expect(new Set(secrets).size).toBe(1);
      expect(Buffer.from(secrets[0]!, 'base64url')).toHaveLength(32);
      expect(await records.secret('token-key')).not.toBe(secrets[0]);
      await expect(records.secret('Not A Name')).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        errors: [{ pointer: '/name' }],
      });
    });

    test('a closed store commits what it was given and refuses what comes after', async () => {
      const { records } = await setup();
      await records.ping();
      const last = records.secret('made-while-closing');
      await records.close();
      expect(await last).toHaveLength(43);
      await expect(records.ping()).rejects.toMatchObject({ code: 'RECORDS_UNAVAILABLE' });
      await expect(records.getJob('x')).rejects.toMatchObject({ code: 'RECORDS_UNAVAILABLE' });
      await records.close();
    });
  });
}
