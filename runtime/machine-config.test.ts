import { describe, expect, test } from 'vitest';
import type { EmpError } from '#protocol/errors.ts';
import { type MachineFlags, readMachineConfig } from './machine-config.ts';
import { builtInConnectors, loadConnectors } from './machine-connectors.ts';

const least = { EMP_HUB_URL: 'http://127.0.0.1:7700', EMP_JOIN_TOKEN: 'join' };
const read = (
  variables: Record<string, string | undefined>,
  flags: MachineFlags = {},
  readFile?: (path: string) => string,
) =>
  readMachineConfig({
    variables,
    flags,
    defaultServices: ['simulation'],
    ...(readFile === undefined ? {} : { readFile }),
  });
const refusal = (
  variables: Record<string, string | undefined>,
  flags: MachineFlags = {},
  readFile?: (path: string) => string,
): EmpError => {
  try {
    read(variables, flags, readFile);
  } catch (error) {
    return error as EmpError;
  }
  throw new Error('it was accepted');
};

describe('configuration of a machine', () => {
  test('a hub and a token suffice', () => {
    expect(read(least)).toMatchObject({
      hubUrls: ['ws://127.0.0.1:7700/v1/link'],
      joinToken: 'join',
      machineId: null,
      pool: 'standard',
      services: [{ service: 'simulation', slots: null }],
      healthPort: 0,
      stageLeadMs: 300,
    });
  });

  test('hubs may be several, secure, or links already', () => {
    const { hubUrls } = read({ ...least, EMP_HUB_URL: 'https://a.example, ws://b:1/v1/link ,http://c/' });
    expect(hubUrls).toEqual(['wss://a.example/v1/link', 'ws://b:1/v1/link', 'ws://c/v1/link']);
  });

  test('services name their slots', () => {
    expect(read({ ...least, EMP_SERVICES: 'simulation:4,image' }).services).toEqual([
      { service: 'simulation', slots: 4 },
      { service: 'image', slots: null },
    ]);
  });

  test('flags go over variables, and older names of variables are understood', () => {
    expect(
      read(
        { ...least, EMP_POOL: 'heavy', MACHINE_ID: 'old', CONNECTORS: 'image:2' },
        { pool: 'fast-lane', services: ['simulation:3'] },
      ),
    ).toMatchObject({
      pool: 'fast-lane',
      machineId: 'old',
      services: [{ service: 'simulation', slots: 3 }],
    });
    expect(read({ ...least, MACHINE_ID: 'old', EMP_MACHINE_ID: 'new' }).machineId).toBe('new');
  });

  test('the token may lie in a file', () => {
    const files: Record<string, string> = { '/run/secrets/join': 'from-file\n' };
    const { joinToken } = read(
      { EMP_HUB_URL: 'http://a', EMP_JOIN_TOKEN_FILE: '/run/secrets/join' },
      {},
      (path) => files[path] as string,
    );
    expect(joinToken).toBe('from-file');
  });

  test('all problems are told at once, each by its name and with what to do', () => {
    const error = refusal({
      EMP_HUB_URL: 'ftp://a',
      EMP_SERVICES: 'image:0',
      EMP_HEALTH_PORT: '99999',
      EMP_POOL: 'no blanks',
      EMP_STAGE_LEAD_MS: '-2',
    });
    expect(error.code).toBe('CONFIG_INVALID');
    for (const name of [
      'EMP_HUB_URL',
      'EMP_JOIN_TOKEN',
      'EMP_SERVICES',
      'EMP_HEALTH_PORT',
      'EMP_POOL',
      'EMP_STAGE_LEAD_MS',
    ])
      expect(error.message).toContain(name);
    expect(error.errors).toHaveLength(6);
    expect(error.message).toContain('EMP_HEALTH_PORT: "99999" is not a whole number from 0 to 65535');
  });

  test('what is missing says how to get it', () => {
    expect(refusal({}).message).toMatch(
      /EMP_HUB_URL: is not set; name the hub[\s\S]*EMP_JOIN_TOKEN: is not set; ask the hub for a join token \(emp machines token/,
    );
  });

  test('a token file that cannot be read is named, once', () => {
    const error = refusal({ EMP_HUB_URL: 'http://a', EMP_JOIN_TOKEN_FILE: '/none' }, {}, () => {
      throw new Error('ENOENT');
    });
    expect(error.message).toContain('EMP_JOIN_TOKEN_FILE: /none cannot be read: ENOENT');
    expect(error.errors).toHaveLength(1);
  });

  test('a wrong flag is named as a flag', () => {
    expect(refusal(least, { pool: '' }).message).toContain('--pool');
  });

  test('no value of a secret is repeated in an error', () => {
    expect(refusal({ EMP_JOIN_TOKEN: 'top-secret', EMP_HUB_URL: 'nonsense' }).message).not.toContain(
      'top-secret',
    );
  });

  test('empty variables count as unset', () => {
    expect(read({ ...least, EMP_POOL: '', EMP_TAGS: '' })).toMatchObject({ pool: 'standard', tags: [] });
  });
});

describe('connectors', () => {
  test('every built-in one loads under its own name', async () => {
    const loaded = await loadConnectors(
      builtInConnectors.map((service) => ({ service, slots: null })),
      { simulationCrash: false },
    );
    expect(Object.keys(loaded)).toEqual(['simulation', 'image', 'upscale']);
    expect(Object.values(loaded).map((entry) => entry.slots)).toEqual([4, 1, 1]);
  });

  test('an unknown one is refused by name, with those that there are', async () => {
    await expect(
      loadConnectors([{ service: 'nope', slots: 1 }], { simulationCrash: false }),
    ).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/nope.*simulation, image, upscale/),
    });
  });
});
