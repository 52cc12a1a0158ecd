import { describe, expect, test } from 'vitest';
import { legacyFields, translateLegacy } from './legacy-requirements.ts';
import { Requirements } from './requirements.ts';

const document = (requirements: unknown, more: object = {}) => ({
  service: 'comfyui',
  requirements,
  ...more,
});
const translated = (requirements: unknown, more: object = {}) => {
  const { document: made, error } = translateLegacy(document(requirements, more));
  expect(error?.issues ?? []).toEqual([]);
  return made as { service: string; requirements: Requirements; maxRunMs?: number };
};
const faults = (requirements: unknown, more: object = {}) =>
  (translateLegacy(document(requirements, more)).error?.issues ?? []).map(({ path, message }) => ({
    at: path.join('/'),
    message,
  }));

describe('requirements of the former queue', () => {
  test('every field of it together is one set of ours, and ours accept it', () => {
    const { requirements, maxRunMs } = translated({
      service_type: 'comfyui',
      hardware: { gpu_memory_gb: 24, ram_gb: 32, cpu_cores: 8 },
      models: ['sdxl-base'],
      positive_requirements: {
        asset_type: 'image',
        nvme: true,
        spot: false,
        codecs: ['h264', 'av1'],
        gpu_model: ['RTX 4090', 'L40S'],
      },
      negative_requirements: { tier: 'economy', shared: true, offline: false },
      component: 'text2img',
      workflow: 'wf-7',
      customer_isolation: 'strict',
      quality_level: 'high',
      timeout_minutes: 15,
      geographic_region: 'us-east',
      compliance: ['gdpr', 'hipaa'],
    });
    expect(Requirements.parse(requirements)).toEqual({
      vramMb: 22_889,
      ramMb: 30_518,
      cpuCores: 8,
      gpu: ['RTX 4090', 'L40S'],
      isolation: 'strict',
      region: 'us-east',
      tags: [
        'component.text2img',
        'workflow.wf-7',
        'quality_level.high',
        'compliance.gdpr',
        'compliance.hipaa',
        'asset_type.image',
        'nvme',
        'codecs.h264',
        'codecs.av1',
        'offline',
      ],
      withoutTags: ['spot', 'tier.economy', 'shared'],
    });
    expect(maxRunMs).toBe(900_000);
  });

  test('a card of so many gigabytes by its name has what so many gigabytes ask for', () => {
    // MiB that nvidia-smi shows of cards sold as 8, 12, 16, 24 and 80 GB.
    for (const [gigabytes, shown] of [
      [8, 8_188],
      [12, 12_288],
      [16, 16_376],
      [24, 23_028],
      [24, 24_564],
      [80, 81_559],
    ])
      expect(translated({ hardware: { gpu_memory_gb: gigabytes } }).requirements.vramMb).toBeLessThanOrEqual(
        shown as number,
      );
    expect(translated({ hardware: { gpu_memory_gb: 24 } }).requirements.vramMb).toBeGreaterThan(20_480);
  });

  test('what asks for nothing becomes nothing', () => {
    for (const requirements of [
      { hardware: { gpu_memory_gb: 'all', ram_gb: 'all', cpu_cores: 'all' } },
      { hardware: {} },
      { component: 'all', workflow: 'all' },
      { customer_isolation: 'loose' },
      { customer_isolation: 'none' },
      { models: [], compliance: [], positive_requirements: {}, negative_requirements: {} },
      { positive_requirements: { gpu_model: 'all', region: 'all' } },
      { geographic_region: 'all' },
      { geographic_region: 'all', positive_requirements: { region: 'all' } },
    ])
      expect(translated(requirements).requirements, JSON.stringify(requirements)).toEqual({});
  });

  test('a document without its fields is left alone, whatever it is', () => {
    for (const each of [
      document({ vramMb: 1, colour: 'red' }),
      document([]),
      document(null),
      document(3),
      {},
      [],
      null,
      'x',
    ])
      expect(translateLegacy(each)).toEqual({ document: each, models: [], origins: new Map(), error: null });
  });

  test('both forms add up: the larger size, all tags, one of what is said twice alike', () => {
    const { requirements } = translated({
      vramMb: 40_000,
      ramMb: 1,
      tags: ['nvme', 'fast'],
      region: 'eu',
      hardware: { gpu_memory_gb: 24, ram_gb: 16 },
      positive_requirements: { nvme: true, tier: 'premium' },
      geographic_region: 'eu',
    });
    expect(requirements).toEqual({
      vramMb: 40_000,
      ramMb: 15_259,
      tags: ['nvme', 'fast', 'tier.premium'],
      region: 'eu',
    });
    for (const [one, other] of [
      ['eu', 'eu'],
      ['all', 'eu'],
      ['eu', 'all'],
    ])
      expect(
        translated({ geographic_region: one, positive_requirements: { region: other } }).requirements,
      ).toEqual({ region: 'eu' });
    expect(translated({ service_type: 'ollama' }, { service: undefined }).service).toBe('ollama');
    expect(translated({ timeout_minutes: 1 }, { maxRunMs: 60_000 }).maxRunMs).toBe(60_000);
  });

  test.each([
    ['another service', { service_type: 'ollama' }, 'requirements/service_type', 'comfyui'],
    [
      'two regions',
      { geographic_region: 'us', region: 'eu' },
      'requirements/geographic_region',
      'region is given',
    ],
    [
      'two regions of its own',
      { geographic_region: 'us', positive_requirements: { region: 'eu' } },
      'requirements/positive_requirements/region',
      'name one region',
    ],
    [
      'a size in words',
      { hardware: { gpu_memory_gb: '24' } },
      'requirements/hardware/gpu_memory_gb',
      'number of gigabytes',
    ],
    [
      'a size below nothing',
      { hardware: { ram_gb: -1 } },
      'requirements/hardware/ram_gb',
      'number of gigabytes',
    ],
    ['half a core', { hardware: { cpu_cores: 0.5 } }, 'requirements/hardware/cpu_cores', 'number of cores'],
    [
      'an unknown isolation',
      { customer_isolation: 'very' },
      'requirements/customer_isolation',
      'strict, loose or none',
    ],
    ['no time at all', { timeout_minutes: 0 }, 'requirements/timeout_minutes', 'at least a second'],
    ['a month', { timeout_minutes: 43_200 }, 'requirements/timeout_minutes', '7 days'],
    [
      'a number',
      { positive_requirements: { cuda: 12 } },
      'requirements/positive_requirements/cuda',
      'at least so much',
    ],
    [
      'a value that is none',
      { positive_requirements: { a: null } },
      'requirements/positive_requirements/a',
      'true, false',
    ],
    [
      'a key with a dot',
      { negative_requirements: { 'a.b': 'c' } },
      'requirements/negative_requirements/a.b',
      'no dot',
    ],
    [
      'a card that must not be there, which no tag tells',
      { negative_requirements: { gpu_model: 'RTX 3060' } },
      'requirements/negative_requirements/gpu_model',
      'positive_requirements.gpu_model',
    ],
    [
      'a card without a name',
      { positive_requirements: { gpu_model: '24 GB' } },
      'requirements/positive_requirements/gpu_model',
      'model',
    ],
    ['a word that is none', { component: 'a b' }, 'requirements/component', '1 to 31'],
    ['a norm that is no word', { compliance: ['gdpr', 'a/b'] }, 'requirements/compliance/1', '1 to 31'],
  ])('%s is refused where it stands, with what to do', (_, requirements, at, message) => {
    expect(faults(requirements)).toEqual([{ at, message: expect.stringContaining(message) }]);
  });

  test('an unknown field of its hardware is named, and two times for one run are not guessed at', () => {
    const error = translateLegacy(document({ hardware: { gpu_count: 2 } })).error;
    expect(error?.issues).toMatchObject([
      { code: 'unrecognized_keys', keys: ['gpu_count'], path: ['requirements', 'hardware'] },
    ]);
    expect(faults({ timeout_minutes: 1 }, { maxRunMs: 1_000 })).toEqual([
      { at: 'requirements/timeout_minutes', message: expect.stringContaining('maxRunMs') },
    ]);
  });

  test('each requirement is known to have been asked for where the client wrote it', () => {
    const { origins, models } = translateLegacy(
      document({
        tags: ['own'],
        hardware: { gpu_memory_gb: 8 },
        component: 'a',
        models: ['m1', 'm2'],
        negative_requirements: { tier: ['x', 'y'] },
      }),
    );
    expect(Object.fromEntries([...origins].map(([name, path]) => [name, path.join('/')]))).toEqual({
      vramMb: 'requirements/hardware/gpu_memory_gb',
      'tags component.a': 'requirements/component',
      'withoutTags tier.x': 'requirements/negative_requirements/tier',
      'withoutTags tier.y': 'requirements/negative_requirements/tier',
    });
    expect(models).toEqual([
      { modelId: 'm1', path: ['requirements', 'models', 0] },
      { modelId: 'm2', path: ['requirements', 'models', 1] },
    ]);
  });

  test('no field of it is one of ours', () => {
    expect(legacyFields.filter((name) => name in Requirements.shape)).toEqual([]);
  });
});
