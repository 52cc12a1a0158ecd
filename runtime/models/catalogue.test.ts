import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { expect, test } from 'vitest';
import { upscaleModels } from '#actors/connectors/upscale/upscale-models.ts';
import { modelBytes } from '#protocol/model.ts';
import { type BuiltInModel, builtInFiles, builtInModels } from './catalogue.ts';

test('every file of every built-in model is installed with the size and hash that the catalogue names', async () => {
  const files = builtInFiles();
  expect(files).toHaveLength(12);
  for (const { file, absolutePath } of files) {
    const hash = createHash('sha256');
    await pipeline(createReadStream(absolutePath), hash);
    expect({
      path: absolutePath,
      bytes: (await stat(absolutePath)).size,
      sha256: hash.digest('hex'),
    }).toEqual({
      path: absolutePath,
      bytes: file.bytes,
      sha256: file.sha256,
    });
  }
});

test('the catalogue holds exactly the networks that the upscale connector can run', () => {
  expect(builtInModels.map(({ manifest }) => manifest.id)).toEqual(upscaleModels.map(({ id }) => id));
  expect(builtInModels.every(({ manifest }) => manifest.service === 'upscale')).toBe(true);
});

test('the weights of the thick network are registered shard by shard, whole', () => {
  const thick = builtInModels.find(({ manifest }) => manifest.id === 'esrgan-thick-x4');
  expect(thick?.manifest.files.filter(({ name }) => name.endsWith('.bin'))).toHaveLength(7);
  expect(thick && modelBytes(thick.manifest)).toBe(29_042_960 + 193_998);
});

test('a package that is not installed is named with what to do', () => {
  const [slim] = builtInModels as [BuiltInModel];
  expect(() => builtInFiles([{ ...slim, packageName: '@upscalerjs/absent' }])).toThrow(
    expect.objectContaining({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('@upscalerjs/absent'),
    }),
  );
});
