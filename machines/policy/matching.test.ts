import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type CustomerRule,
  canonicalGroup,
  type Group,
  type MachineClass,
  type Requirements,
} from '#protocol/requirements.ts';
import { customerScope, namedCustomers } from './customer-scope.ts';
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
const digests = ['a1', 'b2'].map((pair) => `sha256:${pair.repeat(32)}`);
const customer = fc.constantFrom('amber', 'birch', 'cedar', 'dune');
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
    gpu: fc.uniqueArray(fc.constantFrom('NVIDIA L40S', 'RTX 4090 (24 GB)', 'RTX_3060'), { minLength: 1 }),
    connectorVersion: fc.constantFrom('1', '^1.2', '~2.0', '>=1.1 <2', '2.0.1'),
    environment: fc.constantFrom(...digests),
    isolation: fc.constant('strict' as const),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<Requirements>;
const ruleArb: fc.Arbitrary<CustomerRule> = fc.oneof(
  customer.map((strict) => ({ strict })),
  fc.uniqueArray(customer, { minLength: 1, maxLength: 3 }).map((allow) => ({ allow })),
  fc.uniqueArray(customer, { minLength: 1, maxLength: 3 }).map((deny) => ({ deny })),
);
const classArb = fc.record(
  {
    pool: fc.constantFrom('standard', 'heavy'),
    services: fc
      .uniqueArray(fc.constantFrom('image', 'upscale'), { minLength: 1 })
      .chain((names) =>
        fc.tuple(
          ...names.map((service) =>
            fc
              .constantFrom('1', '1.1.0', '1.2.5', '2.0.1', 'dev')
              .map((version) => ({ service, version, slots: 1 })),
          ),
        ),
      ),
    vramMb: size,
    ramMb: size,
    diskMb: size,
    cpuCores: fc.integer({ min: 1, max: 4 }),
    tags: fc.uniqueArray(tag),
    region: fc.constantFrom('eu', 'us', null),
    gpus: fc.uniqueArray(fc.constantFrom('l40s', 'rtx4090', 'rtx3060'), { maxLength: 2 }),
    environment: fc.constantFrom(...digests),
    customers: ruleArb,
    reservedFor: fc.uniqueArray(tag, { minLength: 1, maxLength: 2 }),
  },
  { requiredKeys: ['pool', 'services', 'vramMb', 'ramMb', 'diskMb', 'cpuCores', 'tags', 'region'] },
) as fc.Arbitrary<MachineClass>;

const printed: Record<string, string> = {
  l40s: 'NVIDIA L40S',
  rtx4090: 'RTX 4090 (24 GB)',
  rtx3060: 'RTX_3060',
};
/** Versions of the classes above that are in each of the ranges above, by hand. */
const inside: Record<string, string[]> = {
  '1': ['1', '1.1.0', '1.2.5'],
  '^1.2': ['1.2.5'],
  '~2.0': ['2.0.1'],
  '>=1.1 <2': ['1.1.0', '1.2.5'],
  '2.0.1': ['2.0.1'],
};

interface Asked {
  service: string;
  customer: string;
  requirements: Requirements;
}

/** The requirements themselves, written again from their documentation: of one job, whatever its group. */
function holds(machine: MachineClass, machineId: string, job: Asked): boolean {
  const { vramMb = 0, ramMb = 0, diskMb = 0, cpuCores = 0, tags = [], withoutTags = [] } = job.requirements;
  const { region, machineId: pin, gpu, connectorVersion, environment, isolation } = job.requirements;
  const rule = machine.customers;
  const [strict, allow, deny] = [
    rule && 'strict' in rule ? rule.strict : null,
    rule && 'allow' in rule ? rule.allow : null,
    rule && 'deny' in rule ? rule.deny : null,
  ];
  return (
    machine.services.some(
      ({ service, version }) =>
        service === job.service &&
        (connectorVersion === undefined || inside[connectorVersion]?.includes(version) === true),
    ) &&
    machine.vramMb >= vramMb &&
    machine.ramMb >= ramMb &&
    machine.diskMb >= diskMb &&
    machine.cpuCores >= cpuCores &&
    tags.every((each) => machine.tags.includes(each)) &&
    withoutTags.every((each) => !machine.tags.includes(each)) &&
    (machine.reservedFor === undefined || machine.reservedFor.some((each) => tags.includes(each))) &&
    (region === undefined || region === machine.region) &&
    (environment === undefined || environment === machine.environment) &&
    (gpu === undefined ||
      (machine.gpus !== undefined &&
        machine.gpus.length > 0 &&
        machine.gpus.every((model) => gpu.includes(printed[model] ?? '')))) &&
    (isolation === undefined || strict === job.customer) &&
    (strict === null || strict === job.customer) &&
    (allow === null || allow.includes(job.customer)) &&
    (deny === null || !deny.includes(job.customer)) &&
    (pin === undefined || pin === machineId)
  );
}

const askedArb = fc.record({
  service: fc.constantFrom('image', 'upscale'),
  customer,
  requirements: requirementsArb,
});

/** The group that a job gets while these classes are known. */
function groupOf(job: Asked, known: readonly MachineClass[]): Group {
  const isApart = job.requirements.isolation === 'strict';
  const scope = customerScope(namedCustomers(known), { customer: job.customer, isApart });
  return canonicalGroup({ ...group(job.requirements, job.service), ...scope });
}

describe('matching', () => {
  test('a machine of a known class meets the group of a job exactly when every hard requirement holds, whatever the pool', () => {
    fc.assert(
      fc.property(classArb, fc.array(classArb, { maxLength: 3 }), askedArb, (machineClass, others, job) => {
        const wanted = groupOf(job, [...others, machineClass]);
        expect(machineMeets({ machineId: 'm1', machineClass }, wanted)).toBe(holds(machineClass, 'm1', job));
      }),
      { numRuns: 5_000 },
    );
  });

  test('a machine whose class nobody knew when a job came never meets its group against a requirement', () => {
    fc.assert(
      fc.property(classArb, fc.array(classArb, { maxLength: 3 }), askedArb, (machineClass, known, job) => {
        const wanted = groupOf(job, known);
        if (machineMeets({ machineId: 'm1', machineClass }, wanted))
          expect(holds(machineClass, 'm1', job)).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });

  test('what is unmet is named once each, with what is needed and what is there, and exactly where something is', () => {
    fc.assert(
      fc.property(classArb, askedArb, (machineClass, job) => {
        const wanted = groupOf(job, [machineClass]);
        const unmet = unmetRequirements(machineClass, wanted);
        const names = unmet.map(({ requirement }) => requirement);
        expect(new Set(names).size).toBe(names.length);
        for (const { needed, available } of unmet)
          expect([needed, available].every((text) => text !== '')).toBe(true);
        // Without what is named as unmet, and only then, the machine may run it.
        const rest = Object.fromEntries(
          Object.entries(job.requirements).filter(([key]) => !names.includes(key as keyof Requirements)),
        );
        const lighter = { ...job, requirements: rest as Requirements };
        const { customers, reservedFor, ...bare } = machineClass;
        const isClosed = names.includes('customer') || names.includes('isolation');
        // Without its tags a job may be shut out that named the right one.
        const isKept = names.includes('reservation') || names.includes('tags');
        const open: MachineClass = {
          ...bare,
          ...(isClosed || customers === undefined ? {} : { customers }),
          ...(isKept || reservedFor === undefined ? {} : { reservedFor }),
        };
        if (!names.includes('service'))
          expect(holds(open, job.requirements.machineId ?? 'm1', lighter)).toBe(true);
      }),
      { numRuns: 3_000 },
    );
  });

  test('classes that a search answers meet the group, and none is left out', () => {
    fc.assert(
      fc.property(fc.array(classArb, { minLength: 1, maxLength: 5 }), askedArb, (classes, job) => {
        const wanted = groupOf(job, classes);
        const known = classes.map((machineClass, index) => ({ classId: `c${index}`, machineClass }));
        const fit = known
          .filter(({ machineClass }) => classMeets(machineClass, wanted))
          .map(({ classId }) => classId);
        const found = findClasses(known, wanted);
        expect(found.kind === 'met' ? found.classIds : []).toEqual(fit);
        if (found.kind === 'unmet') expect(found.unmet.length).toBeGreaterThan(0);
      }),
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

  test('of cards, versions, environments and customers it is told what there is, and of customers no name', () => {
    const dedicated: MachineClass = { ...small, gpus: ['l40s', 'rtx4090'], customers: { strict: 'birch' } };
    const asked = { gpu: ['NVIDIA RTX 4090'], connectorVersion: '^1.2', environment: digests[0] as string };
    expect(unmetRequirements(dedicated, canonicalGroup({ ...group(asked), customer: 'amber' }))).toEqual([
      { requirement: 'connectorVersion', needed: '>=1.2.0 <2.0.0', available: '1' },
      { requirement: 'environment', needed: digests[0], available: 'none' },
      { requirement: 'gpu', needed: 'rtx4090', available: 'l40s and rtx4090' },
      { requirement: 'customer', needed: 'room for amber', available: 'room for another customer' },
    ]);
    expect(unmetRequirements(small, { ...group({ isolation: 'strict' }), customer: 'amber' })).toEqual([
      { requirement: 'isolation', needed: 'a machine of amber alone', available: 'one for everybody' },
    ]);
    for (const customers of [{ allow: ['birch'] }, { deny: ['amber', 'birch'] }])
      expect(
        JSON.stringify(unmetRequirements({ ...small, customers }, { ...group({}), customer: 'amber' })),
      ).not.toContain('birch');
  });

  test('a reserved machine runs what names one of its tags, whatever else is asked for, and says what it takes', () => {
    const kept: MachineClass = { ...small, tags: ['a', 'b', 'nvme'], reservedFor: ['a', 'b'] };
    for (const tags of [['a'], ['b', 'nvme'], ['a', 'b']])
      expect(unmetRequirements(kept, group({ tags }))).toEqual([]);
    const requirement = 'reservation';
    const available = 'one for jobs with one of the tags a, b';
    for (const asked of [{}, { tags: [] }, { machineId: 'm1' }, { withoutTags: ['c'] }])
      expect(unmetRequirements(kept, group(asked))).toEqual([
        { requirement, needed: 'no reservation', available },
      ]);
    expect(unmetRequirements(kept, group({ tags: ['nvme'] }))).toEqual([
      { requirement, needed: 'no reservation, or one for nvme', available },
    ]);
    expect(unmetRequirements(kept, group({ tags: ['a'], withoutTags: ['b'] }))).toMatchObject([
      { requirement: 'withoutTags' },
    ]);
    expect(machineMeets({ machineId: 'm1', machineClass: kept }, group({ machineId: 'm1' }))).toBe(false);
    expect(
      unmetRequirements({ ...kept, customers: { strict: 'amber' } }, group({ tags: ['a'] })),
    ).toMatchObject([{ requirement: 'customer' }]);
  });

  test('where every machine that could is reserved, that is what is unmet', () => {
    const of = (tag: string) => ({ ...big, tags: [tag], reservedFor: [tag] });
    const known = [of('x'), of('y'), small].map((machineClass, index) => ({
      classId: `c${index}`,
      machineClass,
    }));
    expect(findClasses(known.slice(0, 2), group({}))).toEqual({
      kind: 'unmet',
      closest: 'c0',
      unmet: [
        {
          requirement: 'reservation',
          needed: 'no reservation',
          available: 'one for jobs with the tag x | one for jobs with the tag y',
        },
      ],
    });
    expect(findClasses(known, group({ vramMb: 20_000 }))).toMatchObject({
      kind: 'unmet',
      unmet: [{ requirement: 'reservation' }],
    });
    expect(findClasses(known, group({ vramMb: 20_000, tags: ['y'] }))).toEqual({
      kind: 'met',
      classIds: ['c1'],
    });
  });

  test('a group that may hold anybody is served by no machine with a rule, one without the denied by those who deny no others', () => {
    const open = group({});
    const without: Group = { ...group({}), notCustomers: ['amber', 'birch'] };
    const meets = (customers: CustomerRule, wanted: Group) => classMeets({ ...small, customers }, wanted);
    expect(classMeets(small, open) && classMeets(small, without)).toBe(true);
    for (const rule of [{ strict: 'dune' }, { allow: ['dune'] }, { deny: ['amber'] }])
      expect(meets(rule, open)).toBe(false);
    expect(meets({ deny: ['birch', 'amber'] }, without)).toBe(true);
    expect(meets({ deny: ['amber', 'cedar'] }, without)).toBe(false);
    expect(meets({ strict: 'dune' }, without) || meets({ allow: ['dune'] }, without)).toBe(false);
  });

  test('only customers whom a rule names have groups of their own', () => {
    const scope = (rules: CustomerRule[], name: string, isApart = false) =>
      customerScope(namedCustomers([small, ...rules.map((customers) => ({ ...small, customers }))]), {
        customer: name,
        isApart,
      });
    expect(scope([], 'amber')).toEqual({});
    expect(scope([], 'amber', true)).toEqual({ customer: 'amber' });
    expect(scope([{ strict: 'amber' }], 'amber')).toEqual({ customer: 'amber' });
    expect(scope([{ strict: 'amber' }], 'birch')).toEqual({});
    expect(scope([{ deny: ['cedar', 'amber'] }, { allow: ['birch'] }], 'dune')).toEqual({
      notCustomers: ['amber', 'cedar'],
    });
    expect(scope([{ deny: ['cedar', 'amber'] }], 'cedar')).toEqual({ customer: 'cedar' });
    expect(customerScope(namedCustomers([]), { customer: 'amber', isApart: false })).toEqual({
      customer: 'amber',
    });
    const many = Array.from({ length: 5 }, (_, rule) => ({
      deny: Array.from({ length: 60 }, (_each, index) => `c${rule}-${index}`),
    }));
    expect(scope(many, 'dune')).toEqual({ customer: 'dune' });
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
