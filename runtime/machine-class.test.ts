import { describe, expect, test } from 'vitest';
import { toEmpError } from '#protocol/errors.ts';
import type { GpuDevice } from '#protocol/gpus.ts';
import { MachineClass } from '#protocol/requirements.ts';
import { machineClassOf } from './machine-class.ts';
import { readMachineConfig } from './machine-config.ts';

const config = (variables: Record<string, string> = {}) =>
  readMachineConfig({
    variables: { EMP_HUB_URL: 'http://a', EMP_JOIN_TOKEN: 'x', ...variables },
    flags: {},
    defaultServices: ['simulation'],
  });
const card = (name: string, memoryMb: number): GpuDevice => ({
  uuid: `GPU-${name}`,
  kind: 'gpu',
  name,
  memoryMb,
});
const cpu: GpuDevice = { uuid: 'cpu-0', kind: 'cpu', name: 'AMD EPYC', memoryMb: 16_000 };
const made = (variables: Record<string, string>, devices: GpuDevice[] = [cpu]) =>
  machineClassOf(config(variables), { devices, ramMb: 16_000, cpuCores: 8 });
const refused = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    return `${toEmpError(error).code}: ${toEmpError(error).message}`;
  }
  return 'accepted';
};
const digest = `sha256:${'0f'.repeat(32)}`;

describe('what a machine says of itself', () => {
  test('without a word it is what the host has, and says nothing of cards, environment, customers and reservations', () => {
    expect(made({})).toEqual({
      pool: 'standard',
      vramMb: 0,
      ramMb: 16_000,
      diskMb: 20_480,
      cpuCores: 8,
      tags: [],
      region: null,
    });
  });

  test('what is configured stands in where no driver tells of cards', () => {
    const variables = {
      EMP_GPU: 'NVIDIA GeForce RTX 4090, rtx_4090',
      EMP_VRAM_MB: '24000',
      EMP_ENVIRONMENT: digest,
      EMP_CUSTOMERS: 'allow:amber, birch',
      EMP_TAGS: 'component.text2img',
      EMP_REGION: 'eu',
    };
    const found = made(variables);
    expect(found).toMatchObject({
      gpus: ['rtx4090'],
      vramMb: 24_000,
      environment: digest,
      customers: { allow: ['amber', 'birch'] },
      tags: ['component.text2img'],
      region: 'eu',
    });
    const services = [{ service: 'simulation', version: '1.0.0', slots: 1 }];
    expect(MachineClass.safeParse({ ...found, services }).error).toBeUndefined();
  });

  test('the driver tells the cards and the memory of the smallest one', () => {
    const devices = [
      card('NVIDIA L40S', 46_068),
      card('NVIDIA GeForce RTX 4090', 24_564),
      card('NVIDIA L40S', 46_068),
    ];
    expect(made({}, devices)).toMatchObject({ gpus: ['l40s', 'rtx4090'], vramMb: 24_564 });
    expect(made({ EMP_VRAM_MB: '20000' }, devices).vramMb).toBe(20_000);
    expect(made({ EMP_VRAM_MB: '90000' }, devices).vramMb).toBe(24_564);
    expect(made({ EMP_GPU: 'RTX 4090,L40S' }, devices).gpus).toEqual(['l40s', 'rtx4090']);
  });

  test('a configured card that the driver does not know is refused by name', () => {
    expect(refused(() => made({ EMP_GPU: 'H100' }, [card('NVIDIA L40S', 46_068)]))).toMatch(
      /CONFIG_INVALID: EMP_GPU: the driver tells of l40s, not of h100/,
    );
  });

  test.each([
    ['EMP_CUSTOMERS', 'amber', 'strict:NAME, allow:NAME,NAME or deny:NAME,NAME'],
    ['EMP_CUSTOMERS', 'strict:amber,birch', 'strict:NAME'],
    ['EMP_CUSTOMERS', 'allow:', 'allow:NAME'],
    ['EMP_CUSTOMERS', 'deny:a b', 'deny:NAME'],
    ['EMP_CUSTOMERS', 'constructor:a', 'strict:NAME'],
    ['EMP_ENVIRONMENT', 'latest', 'sha256:'],
    ['EMP_GPU', 'NVIDIA', 'RTX 4090'],
    ['EMP_VRAM_MB', '-1', 'EMP_VRAM_MB'],
    ['EMP_RESERVED_FOR', 'workflow.a,b c', 'a tag'],
    ['EMP_RESERVED_FOR', '-a', 'a tag'],
    ['EMP_RESERVED_FOR', ' , ', 'name at least one tag'],
    ['EMP_RESERVED_FOR', Array.from({ length: 33 }, (_, index) => `t${index}`).join(), 'at most 32 tags'],
  ])('%s=%s is refused with what to write', (name, value, says) => {
    const message = refused(() => config({ [name]: value }));
    expect(message).toContain(`CONFIG_INVALID: this machine cannot start:\n  ${name}: `);
    expect(message).toContain(says);
  });

  test('a machine has the tags that it is reserved for besides its own', () => {
    const found = made({
      EMP_TAGS: 'nvme,workflow.a',
      EMP_RESERVED_FOR: 'workflow.a, workflow.b,workflow.b',
    });
    expect(found).toMatchObject({
      tags: ['nvme', 'workflow.a', 'workflow.b'],
      reservedFor: ['workflow.a', 'workflow.b'],
    });
    expect(made({ EMP_RESERVED_FOR: 'workflow.a' })).toMatchObject({
      tags: ['workflow.a'],
      reservedFor: ['workflow.a'],
    });
    expect(made({ EMP_TAGS: 'workflow.a', EMP_RESERVED_FOR: '' })).not.toHaveProperty('reservedFor');
  });

  test('more tags than a machine may have, with those that it is reserved for, are refused by that name', () => {
    const many = Array.from({ length: 32 }, (_, index) => `t${index}`);
    expect(made({ EMP_TAGS: many.join(), EMP_RESERVED_FOR: 't0,t31' }).tags).toHaveLength(32);
    expect(refused(() => config({ EMP_TAGS: many.join(), EMP_RESERVED_FOR: 'other' }))).toBe(
      'CONFIG_INVALID: this machine cannot start:\n  EMP_RESERVED_FOR: a machine has at most 32 tags, those of EMP_TAGS and these together',
    );
    const alone = refused(() => config({ EMP_TAGS: [...many, 'more'].join() }));
    expect(alone).toContain('EMP_TAGS: at most 32 tags');
    expect(alone).not.toContain('EMP_RESERVED_FOR');
  });

  test('each rule about customers is read', () => {
    const rules = ['strict:amber', 'allow:amber', 'deny: amber , birch'].map(
      (text) => config({ EMP_CUSTOMERS: text }).customers,
    );
    expect(rules).toEqual([{ strict: 'amber' }, { allow: ['amber'] }, { deny: ['amber', 'birch'] }]);
  });
});
