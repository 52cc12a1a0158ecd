import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gpuModel } from './gpu-model.ts';
import { legacyFields } from './legacy-requirements.ts';
import {
  canonicalGroup,
  Group,
  groupId,
  MachineClass,
  machineClassId,
  Requirements,
} from './requirements.ts';
import { canonicalRange, inRange, VersionRange } from './version-range.ts';

const group = (requirements: Requirements, more: Partial<Group> = {}): Group => ({
  service: 'image',
  pool: 'standard',
  requirements,
  ...more,
});
const digest = `sha256:${'a1'.repeat(32)}`;
const machineClass: MachineClass = {
  pool: 'standard',
  services: [{ service: 'image', version: '1.0.0', slots: 1 }],
  vramMb: 24_000,
  ramMb: 16_000,
  diskMb: 50_000,
  cpuCores: 4,
  tags: [],
  region: null,
};

describe('models of cards', () => {
  test.each([
    ['rtx4090', ['NVIDIA GeForce RTX 4090', 'RTX 4090 (24 GB)', 'RTX_4090', 'rtx-4090', 'GeForce RTX4090']],
    ['a100sxm4', ['NVIDIA A100-SXM4-80GB', 'A100 SXM4 40 GB', 'A100_SXM4']],
    ['h100', ['NVIDIA H100 80GB HBM3', 'H100']],
    ['t4', ['Tesla T4', 'T4 (16 GiB)']],
    ['rtx6000ada', ['NVIDIA RTX 6000 Ada Generation', 'RTX 6000Ada']],
    ['rtx4070tisuper', ['NVIDIA GeForce RTX 4070 Ti SUPER', 'RTX 4070 Ti Super (16 GB)']],
    ['l40s', ['NVIDIA L40S', 'L40S']],
  ])('%s is the same card however it is printed', (model, printed) => {
    expect(printed.map(gpuModel)).toEqual(printed.map(() => model));
  });

  test('another card has another name', () => {
    const cards = [
      'RTX 4090',
      'RTX 4090 D',
      'RTX 4090 Laptop',
      'RTX 4070',
      'RTX 4070 Ti',
      'L40',
      'L40S',
      'A100 MIG 1g',
    ];
    expect(new Set(cards.map(gpuModel)).size).toBe(cards.length);
  });

  test('a name that names no model is refused with how to write one', () => {
    for (const name of ['NVIDIA', '24 GB', '( )', '--'])
      expect(Requirements.safeParse({ gpu: [name] }).error?.issues[0]).toMatchObject({
        path: ['gpu', 0],
        message: expect.stringContaining('RTX 4090'),
      });
    expect(Requirements.safeParse({ gpu: [] }).success).toBe(false);
  });
});

describe('ranges of versions', () => {
  test.each([
    ['1.4.2', '>=1.4.2 <1.4.3'],
    ['=1.4', '>=1.4.0 <1.5.0'],
    ['1', '>=1.0.0 <2.0.0'],
    ['^1.4', '>=1.4.0 <2.0.0'],
    ['^0.4.2', '>=0.4.2 <0.5.0'],
    ['^0.0.4', '>=0.0.4 <0.0.5'],
    ['^0', '>=0.0.0 <1.0.0'],
    ['^0.0', '>=0.0.0 <0.1.0'],
    ['~1.4.2', '>=1.4.2 <1.5.0'],
    ['~1', '>=1.0.0 <2.0.0'],
    ['>=1.4', '>=1.4.0'],
    ['>1.4', '>=1.5.0'],
    ['>1.4.2', '>=1.4.3'],
    ['<2', '>=0.0.0 <2.0.0'],
    ['<=1.4', '>=0.0.0 <1.5.0'],
    ['  >=1.2   <3  <2.5 ', '>=1.2.0 <2.5.0'],
    ['1.999999', '>=1.999999.0 <2.0.0'],
    ['^999999', '>=999999.0.0'],
  ])('%s is the interval %s, and that is a range again', (written, canonical) => {
    expect(VersionRange.safeParse(written).success).toBe(true);
    expect(canonicalRange(written)).toBe(canonical);
    expect(canonicalRange(canonical)).toBe(canonical);
  });

  test.each([
    '',
    'latest',
    '1.x',
    '*',
    '1.2.3.4',
    '1.0.0-beta',
    '>=',
    '>= 1',
    '1 || 2',
    '-1',
    '1234567',
    '>999999',
  ])('what is not understood is refused with what to write: %j', (written) => {
    expect(VersionRange.safeParse(written).success).toBe(false);
  });

  test('comparators that exclude each other are refused: such a job could never run', () => {
    for (const written of ['>2 <1', '>=1.4 <1.4', '1.4.2 1.4.3', '^1 ^2'])
      expect(VersionRange.safeParse(written).error?.issues[0]?.message, written).toContain(
        'no version is in',
      );
  });

  test('a version is in a range exactly when each comparator holds by itself', () => {
    const part = fc.integer({ min: 0, max: 3 });
    const version = fc.array(part, { minLength: 1, maxLength: 3 });
    const one = fc.tuple(fc.constantFrom('', '=', '^', '~', '>', '>=', '<', '<='), version);
    fc.assert(
      fc.property(fc.tuple(part, part, part), fc.array(one, { minLength: 1, maxLength: 3 }), (own, words) => {
        const range = words.map(([operator, parts]) => `${operator}${parts.join('.')}`).join(' ');
        fc.pre(VersionRange.safeParse(range).success);
        const expected = words.every(([operator, parts]) => holds(own, operator, parts));
        expect(inRange(own.join('.'), range)).toBe(expected);
        expect(inRange(own.join('.'), canonicalRange(range))).toBe(expected);
      }),
      { numRuns: 3_000 },
    );
  });

  test('a version that is no numbers is in no range', () => {
    for (const version of ['dev', '1.0.0-rc1', '', '1.2.3.4']) expect(inRange(version, '>=0')).toBe(false);
  });
});

/** Each comparator from its sentence in the table, by comparing lists of numbers and no interval. */
function holds(own: readonly number[], operator: string, parts: readonly number[]): boolean {
  const compare = (left: readonly number[], right: readonly number[]): number => {
    for (let index = 0; index < right.length; index++)
      if ((left[index] ?? 0) !== right[index]) return (left[index] ?? 0) - (right[index] ?? 0);
    return 0;
  };
  const begins = (places: number) => compare(own, parts.slice(0, places)) === 0;
  const atLeast = compare(own, [...parts, 0, 0].slice(0, 3)) >= 0;
  switch (operator) {
    case '^': {
      const first = parts.findIndex((part) => part > 0);
      return atLeast && begins(first < 0 ? parts.length : first + 1);
    }
    case '~':
      return atLeast && begins(Math.min(parts.length, 2));
    case '>=':
      return atLeast;
    case '>':
      return compare(own, parts) > 0;
    case '<':
      return !atLeast;
    case '<=':
      return compare(own, parts) <= 0;
    default:
      return begins(parts.length);
  }
}

describe('groups', () => {
  test('forms that ask for the same have one id', () => {
    const asked = group({
      gpu: ['RTX_4090', 'NVIDIA L40S', 'rtx 4090'],
      connectorVersion: '^1',
      tags: [],
      ramMb: 0,
    });
    const same = group({ gpu: ['L40S', 'RTX 4090 (24 GB)'], connectorVersion: '>=1 <2' });
    expect(groupId(asked)).toBe(groupId(same));
    expect(canonicalGroup(asked).requirements).toEqual({
      gpu: ['l40s', 'rtx4090'],
      connectorVersion: '>=1.0.0 <2.0.0',
    });
  });

  test('what a group asks, and whose jobs it holds, tells it apart', () => {
    const groups = [
      group({}),
      group({ gpu: ['l40s'] }),
      group({ connectorVersion: '1' }),
      group({ environment: digest }),
      group({ isolation: 'strict' }, { customer: 'amber' }),
      group({}, { customer: 'amber' }),
      group({}, { customer: 'birch' }),
      group({}, { notCustomers: ['amber'] }),
      group({}, { notCustomers: ['amber', 'birch'] }),
    ];
    expect(new Set(groups.map(groupId)).size).toBe(groups.length);
    expect(groupId(group({}, { notCustomers: ['b', 'a', 'b'] }))).toBe(
      groupId(group({}, { notCustomers: ['a', 'b'] })),
    );
    expect(groupId(group({}, { notCustomers: [] }))).toBe(groupId(group({})));
  });

  test('a canonical group is a group', () => {
    const all = group(
      {
        vramMb: 1,
        tags: ['a'],
        gpu: ['NVIDIA A100-SXM4-80GB'],
        connectorVersion: '1.999999',
        environment: digest,
        isolation: 'strict',
      },
      { customer: 'amber' },
    );
    expect(Group.parse(canonicalGroup(all))).toEqual(canonicalGroup(all));
    expect(canonicalGroup(canonicalGroup(all))).toEqual(canonicalGroup(all));
  });
});

describe('machine classes', () => {
  test('the order of cards and customers makes no other class, what they are does', () => {
    const id = (more: Partial<MachineClass>) =>
      machineClassId(MachineClass.parse({ ...machineClass, ...more }));
    expect(id({ gpus: ['a', 'b'] })).toBe(id({ gpus: ['b', 'a'] }));
    expect(id({ customers: { allow: ['a', 'b'] } })).toBe(id({ customers: { allow: ['b', 'a', 'b'] } }));
    expect(id({ reservedFor: ['a', 'b'] })).toBe(id({ reservedFor: ['b', 'a', 'b'] }));
    const kinds: Partial<MachineClass>[] = [
      {},
      { gpus: ['a'] },
      { environment: digest },
      { customers: { strict: 'a' } },
      { customers: { allow: ['a'] } },
      { customers: { deny: ['a'] } },
      { tags: ['a'] },
      { tags: ['a'], reservedFor: ['a'] },
    ];
    expect(new Set(kinds.map(id)).size).toBe(kinds.length);
  });

  test('a class that says nothing of reservations has the id that it always had', () => {
    expect(machineClassId(machineClass)).toBe('cf1913140f0049767');
  });

  test('a reservation names tags, at least one and at most as many as there may be', () => {
    const read = (reservedFor: unknown) => MachineClass.safeParse({ ...machineClass, reservedFor }).success;
    const names = (count: number) => Array.from({ length: count }, (_, index) => `t${index}`);
    expect([undefined, ['workflow.a'], names(32)].map(read)).toEqual([true, true, true]);
    expect([[], names(33), ['a b'], 'a', [''], null, [1]].map(read)).toEqual(Array(7).fill(false));
  });

  test('a rule has one of three forms and names somebody', () => {
    for (const customers of [
      {},
      { allow: [] },
      { deny: [] },
      { strict: '' },
      { allow: ['a'], deny: ['b'] },
      'a',
    ])
      expect(MachineClass.safeParse({ ...machineClass, customers }).success).toBe(false);
  });
});

test('docs/requirements.md has a row for every requirement and every field of the former queue, and no other', () => {
  const page = readFileSync(new URL('../docs/requirements.md', import.meta.url), 'utf8');
  const [ours = '', former = ''] = page.split('## Requirements of the former queue');
  const rows = (text: string) =>
    [...text.matchAll(/^\| (`[^|]*) \|/gm)].flatMap(([, names = '']) =>
      [...names.matchAll(/`([A-Za-z_]+)/g)].map(([, name]) => name as string),
    );
  const tables = ours.split('| field |')[1]?.split('**Models of cards**')[0] ?? '';
  expect([...new Set(rows(tables))].sort()).toEqual(Object.keys(Requirements.shape).sort());
  expect([...new Set(rows(former))].sort()).toEqual([...legacyFields].sort());
});
