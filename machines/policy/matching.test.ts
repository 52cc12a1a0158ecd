import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Group, MachineClass, Requirements } from '#protocol/requirements.ts';
import { classMeets, findClasses, machineMeets, unmetRequirements } from './matching.ts';

const small: MachineClass = {
  pool: 'standard',
  services: [{ service: 'image', version: '1', slots: 1 }],
  vramMb: 8_192,
  ramMb: 16_000,
  diskMb: 50_000,
  cpuCores: 4,
  tags: ['nvme'],
  region: 'eu',
};
const big: MachineClass = { ...small, pool: 'heavy', vramMb: 24_576, region: 'us', tags: [] };
const group = (requirements: Requirements, service = 'image'): Group => ({
  service,
  pool: 'standard',
  requirements,
});

const tag = fc.constantFrom('a', 'b', 'c');
const size = fc.integer({ min: 0, max: 4 });
const requirementsArb = fc.record(
  {
    vramMb: size,
    ramMb: size,
    diskMb: size,
    cpuCores: fc.integer({ min: 1, max: 4 }),
    tags: fc.uniqueArray(tag),
    withoutTags: fc.uniqueArray(tag),
    region: fc.constantFrom('eu', 'us'),
    machineId: fc.constantFrom('m1', 'm2'),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<Requirements>;
const classArb: fc.Arbitrary<MachineClass> = fc.record({
  pool: fc.constantFrom('standard', 'heavy'),
  services: fc
    .uniqueArray(fc.constantFrom('image', 'upscale'), { minLength: 1 })
    .map((names) => names.map((service) => ({ service, version: '1', slots: 1 }))),
  vramMb: size,
  ramMb: size,
  diskMb: size,
  cpuCores: fc.integer({ min: 1, max: 4 }),
  tags: fc.uniqueArray(tag),
  region: fc.constantFrom('eu', 'us', null),
});

/** The requirement itself, written again from its documentation. */
function holds(machine: MachineClass, machineId: string, wanted: Group): boolean {
  const {
    vramMb = 0,
    ramMb = 0,
    diskMb = 0,
    cpuCores = 0,
    tags = [],
    withoutTags = [],
  } = wanted.requirements;
  const { region, machineId: pin } = wanted.requirements;
  return (
    machine.services.some((each) => each.service === wanted.service) &&
    machine.vramMb >= vramMb &&
    machine.ramMb >= ramMb &&
    machine.diskMb >= diskMb &&
    machine.cpuCores >= cpuCores &&
    tags.every((each) => machine.tags.includes(each)) &&
    withoutTags.every((each) => !machine.tags.includes(each)) &&
    (region === undefined || region === machine.region) &&
    (pin === undefined || pin === machineId)
  );
}

describe('matching', () => {
  test('a machine meets a group exactly when every hard requirement holds, whatever the pool', () => {
    fc.assert(
      fc.property(
        classArb,
        requirementsArb,
        fc.constantFrom('image', 'upscale'),
        (machineClass, requirements, service) => {
          const wanted = group(requirements, service);
          expect(machineMeets({ machineId: 'm1', machineClass }, wanted)).toBe(
            holds(machineClass, 'm1', wanted),
          );
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('classes that a search answers meet the group, and none is left out', () => {
    fc.assert(
      fc.property(
        fc.array(classArb, { minLength: 1, maxLength: 5 }),
        requirementsArb,
        (classes, requirements) => {
          const wanted = group(requirements);
          const known = classes.map((machineClass, index) => ({ classId: `c${index}`, machineClass }));
          const fit = known
            .filter(({ machineClass }) => classMeets(machineClass, wanted))
            .map(({ classId }) => classId);
          const found = findClasses(known, wanted);
          expect(found.kind === 'met' ? found.classIds : []).toEqual(fit);
          if (found.kind === 'unmet') expect(found.unmet.length).toBeGreaterThan(0);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test('each unmet requirement is named with what is needed and what is there', () => {
    expect(
      unmetRequirements(
        small,
        group({ vramMb: 24_000, tags: ['nvme', 'fp8'], withoutTags: ['nvme'], region: 'us' }),
      ),
    ).toEqual([
      { requirement: 'vramMb', needed: '24000 MiB', available: '8192 MiB' },
      { requirement: 'tags', needed: 'fp8', available: 'nvme' },
      { requirement: 'withoutTags', needed: 'not nvme', available: 'nvme' },
      { requirement: 'region', needed: 'us', available: 'eu' },
    ]);
  });

  test('a search without classes says that nothing is known', () => {
    expect(findClasses([], group({}))).toEqual({ kind: 'noneKnown' });
  });

  test('an unknown service is answered with those that are offered', () => {
    const known = [{ classId: 'c1', machineClass: small }];
    expect(findClasses(known, group({}, 'video'))).toEqual({ kind: 'unknownService', offered: ['image'] });
  });

  test('a size that no class has is answered with the best there is', () => {
    const known = [
      { classId: 'c1', machineClass: small },
      { classId: 'c2', machineClass: big },
    ];
    expect(findClasses(known, group({ vramMb: 80_000 }))).toMatchObject({
      kind: 'unmet',
      unmet: [{ requirement: 'vramMb', needed: '80000 MiB', available: '24576 MiB' }],
    });
  });

  test('where only the combination is missing, the closest class says what it lacks', () => {
    const known = [
      { classId: 'c1', machineClass: small },
      { classId: 'c2', machineClass: big },
    ];
    expect(findClasses(known, group({ vramMb: 20_000, tags: ['nvme'], region: 'us' }))).toEqual({
      kind: 'unmet',
      closest: 'c2',
      unmet: [{ requirement: 'tags', needed: 'nvme', available: 'none' }],
    });
  });
});
