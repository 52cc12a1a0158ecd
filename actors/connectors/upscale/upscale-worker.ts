import { join } from 'node:path';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import sharp from 'sharp';
import { z } from 'zod';
import { asPipeline, decodeInput, type Picture, rawPicture } from '#actors/connectors/image/decode.ts';
import { preview } from '#actors/connectors/image/preview.ts';
import { type ReportProgress, serveWorker } from '#actors/connectors/worker-serve.ts';
import { EmpError } from '#protocol/errors.ts';
import type { JsonObject, JsonValue } from '#protocol/json.ts';
import { comparisonPicture } from './comparison.ts';
import { enlarge, loadNetwork, startBackend } from './network.ts';
import { cutWindow, pasteTile, planTiles } from './tiles.ts';
import { findUpscaleModel, type UpscaleModel, upscaleSideLimit } from './upscale-models.ts';
import { UpscalePayload } from './upscale-spec.ts';

const LoadOrder = z.strictObject({ modelId: z.string(), dir: z.string() });
const RunOrder = z.strictObject({
  payload: UpscalePayload,
  input: z.strictObject({ name: z.string(), path: z.string(), bytes: z.number(), mime: z.string() }),
  outDir: z.string(),
});

/** One network per process: its memory is freed by ending the process, and only so. */
let loaded: { model: UpscaleModel; network: LayersModel } | null = null;

sharp.concurrency(1);
sharp.cache(false);
await startBackend();
serveWorker({ ping: async () => null, load, run });

async function load(params: JsonObject): Promise<JsonValue> {
  const { modelId, dir } = LoadOrder.parse(params);
  const model = findUpscaleModel(modelId);
  if (model === undefined)
    throw new EmpError('CONNECTOR_FAILED', { detail: `"${modelId}" is no network this connector can run` });
  loaded = { model, network: await loadNetwork(dir) };
  return null;
}

async function run(params: JsonObject, report: ReportProgress): Promise<JsonValue> {
  if (loaded === null) throw new EmpError('CONNECTOR_FAILED', { detail: 'no network is loaded' });
  const { model } = loaded;
  const { payload, input, outDir } = RunOrder.parse(params);
  const source = await decodeInput(input, { pixels: model.pixelLimit, side: upscaleSideLimit });
  const { picture, tiles } = await enlargePicture(source, loaded, report);
  const names = [`upscaled.${extension(payload)}`];
  await write(picture, payload, join(outDir, `upscaled.${extension(payload)}`));
  if (payload.compareWith !== 'none') {
    await write(
      await comparisonPicture(source, picture, model, payload.compareWith),
      payload,
      join(outDir, `comparison.${extension(payload)}`),
    );
    names.push(`comparison.${extension(payload)}`);
  }
  return {
    names,
    width: picture.width,
    height: picture.height,
    inputWidth: source.width,
    inputHeight: source.height,
    tiles,
    rssMb: Math.round(process.resourceUsage().maxRSS / 1_024),
  };
}

async function enlargePicture(
  source: Picture,
  { model, network }: { model: UpscaleModel; network: LayersModel },
  report: ReportProgress,
): Promise<{ picture: Picture; tiles: number }> {
  const colours = source.channels === 3 ? source : await rawPicture(asPipeline(source).removeAlpha());
  const width = source.width * model.scale;
  const height = source.height * model.scale;
  const picture: Picture = { data: Buffer.alloc(width * height * 3, 0x80), width, height, channels: 3 };
  const tiles = planTiles(source, model);
  for (const [index, tile] of tiles.entries()) {
    const window = {
      data: cutWindow(colours, tile.window),
      width: tile.window.width,
      height: tile.window.height,
    };
    pasteTile(picture, enlarge(network, model, window), tile, model.scale);
    const shown = tile.endsRow ? { preview: await preview(picture) } : {};
    await report({
      fraction: (0.98 * (index + 1)) / tiles.length,
      message: `tile ${index + 1} of ${tiles.length}`,
      ...shown,
    });
  }
  return {
    picture: source.channels === 3 ? picture : await withAlphaOf(source, picture),
    tiles: tiles.length,
  };
}

/** The network knows colours only; transparency is enlarged plainly. */
async function withAlphaOf(source: Picture, { data, width, height }: Picture): Promise<Picture> {
  const alpha = await asPipeline(source)
    .extractChannel(3)
    .resize({ width, height, fit: 'fill', kernel: 'cubic' })
    .raw()
    .toBuffer();
  const joined = Buffer.alloc(width * height * 4);
  for (let pixel = 0; pixel < width * height; pixel++) {
    data.copy(joined, pixel * 4, pixel * 3, pixel * 3 + 3);
    joined[pixel * 4 + 3] = alpha[pixel] ?? 255;
  }
  return { data: joined, width, height, channels: 4 };
}

async function write(
  picture: Picture,
  { format, quality = 90 }: UpscalePayload,
  path: string,
): Promise<void> {
  const source = asPipeline(picture);
  const encoder = {
    png: () => source.png({ compressionLevel: 6 }),
    jpeg: () => source.flatten({ background: '#ffffff' }).jpeg({ quality }),
    webp: () => source.webp({ quality }),
  }[format]();
  await encoder.toFile(path);
}

function extension({ format }: UpscalePayload): string {
  return format === 'jpeg' ? 'jpg' : format;
}
