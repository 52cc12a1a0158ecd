import { dirname } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import { builtInFiles } from '#runtime/models/catalogue.ts';
import { enlarge, loadNetwork, startBackend } from './network.ts';
import { cutWindow, type Pixels, pasteTile, planTiles } from './tiles.ts';
import { upscaleModels } from './upscale-models.ts';

const photo = new URL('../../../runtime/demo/photos/chelsea.jpg', import.meta.url).pathname;

function modelFolder(id: string): string {
  const file = builtInFiles().find(({ modelId }) => modelId === id);
  if (file === undefined) throw new Error(`no built-in model ${id}`);
  return dirname(file.absolutePath);
}

async function part(width: number, height: number): Promise<Pixels> {
  const { data } = await sharp(photo)
    .extract({ left: 40, top: 30, width, height })
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { data, width, height };
}

beforeAll(startBackend);

describe('tiles of the network, put together, look like its work on the whole picture', () => {
  // Just above one tile, so that the seams run through the middle.
  test.each([
    ['esrgan-slim-x2', 150, 134, 4, 0],
    ['esrgan-medium-x2', 110, 100, 4, 1],
    ['esrgan-thick-x4', 72, 30, 2, 1],
  ])('%s: no value differs by more than its bound', async (id, width, height, count, bound) => {
    const model = upscaleModels.find((candidate) => candidate.id === id)!;
    const network = await loadNetwork(modelFolder(id));
    const picture = await part(width, height);
    const whole = enlarge(network, model, picture);
    const tiled = { ...whole, data: new Uint8Array(whole.data.length) };
    const tiles = planTiles(picture, model);
    expect(tiles).toHaveLength(count);
    for (const tile of tiles) {
      const window = {
        data: cutWindow(picture, tile.window),
        width: tile.window.width,
        height: tile.window.height,
      };
      pasteTile(tiled, enlarge(network, model, window), tile, model.scale);
    }
    let worst = 0;
    for (const [at, value] of whole.data.entries())
      worst = Math.max(worst, Math.abs(value - (tiled.data[at] ?? 0)));
    expect(worst).toBeLessThanOrEqual(bound);
  });
});
