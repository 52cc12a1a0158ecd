import { join } from 'node:path';
import sharp from 'sharp';
import { z } from 'zod';
import { type ReportProgress, serveWorker } from '#actors/connectors/worker-serve.ts';
import type { JsonObject, JsonValue } from '#protocol/json.ts';
import { asPipeline, decodeInput, type Picture } from './decode.ts';
import { ImagePayload, type OperationOf, outputName, startsFromInput } from './image-spec.ts';
import { applyOperation, pictureMissing } from './operations.ts';
import { preview } from './preview.ts';

/** Order `run` of the image worker. */
const ImageOrder = z.strictObject({
  payload: ImagePayload,
  inputs: z.array(
    z.strictObject({ name: z.string(), path: z.string(), bytes: z.number(), mime: z.string() }),
  ),
  outDir: z.string(),
});

type Written = { name: string; width: number; height: number; bytes: number };

// One thread: the machine's slots are the unit of parallel work. No cache: two runs may use one path.
sharp.concurrency(1);
sharp.cache(false);

serveWorker({ ping: async () => null, run });

async function run(params: JsonObject, report: ReportProgress): Promise<JsonValue> {
  const { payload, inputs, outDir } = ImageOrder.parse(params);
  const { operations } = payload;
  const [first] = inputs;
  let picture = startsFromInput(payload) && first !== undefined ? await decodeInput(first) : null;
  const written: Written[] = [];
  let changed = true;
  for (const [index, operation] of operations.entries()) {
    const path = ['operations', index];
    if (operation.op === 'convert') {
      if (picture === null) throw pictureMissing(path);
      written.push(await write(picture, operation, { outDir, index: written.length }));
      changed = false;
    } else {
      picture = await applyOperation(operation, { picture, inputs, path });
      changed = true;
    }
    const shown = index === operations.length - 1 ? { preview: await preview(picture) } : {};
    const message = `${operation.op}: operation ${index + 1} of ${operations.length}`;
    await report({ fraction: (index + 1) / (operations.length + 1), message, ...shown });
  }
  if (picture !== null && changed) {
    const last = { format: 'png', background: '#ffffff' } as const;
    written.push(await write(picture, last, { outDir, index: written.length }));
  }
  return { outputs: written, rssMb: Math.round(process.resourceUsage().maxRSS / 1_024) };
}

async function write(
  picture: Picture,
  {
    format,
    quality = 82,
    background,
    name,
  }: Pick<OperationOf<'convert'>, 'format' | 'quality' | 'background' | 'name'>,
  { outDir, index }: { outDir: string; index: number },
): Promise<Written> {
  const file = outputName({ format, name }, index);
  const source = asPipeline(picture);
  const encoder = {
    png: () => source.png({ compressionLevel: 6 }),
    jpeg: () => source.flatten({ background }).jpeg({ quality }),
    webp: () => source.webp({ quality }),
    // Higher efforts take seven times as long for a few percent of size.
    avif: () => source.avif({ quality, effort: 2 }),
  }[format]();
  const { width, height, size } = await encoder.toFile(join(outDir, file));
  return { name: file, width, height, bytes: size };
}
