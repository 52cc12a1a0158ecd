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
  test('without a word it is what the host has, and says nothing of cards, environment and customers', () => {
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
  ])('%s=%s is refused with what to write', (name, value, says) => {
    const message = refused(() => config({ [name]: value }));
    expect(message).toContain(`CONFIG_INVALID: this machine cannot start:\n  ${name}: `);
    expect(message).toContain(says);
  });

  test('each rule about customers is read', () => {
    const rules = ['strict:amber', 'allow:amber', 'deny: amber , birch'].map(
      (text) => config({ EMP_CUSTOMERS: text }).customers,
    );
    expect(rules).toEqual([{ strict: 'amber' }, { allow: ['amber'] }, { deny: ['amber', 'birch'] }]);
  });
});
