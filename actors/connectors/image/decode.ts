import { open } from 'node:fs/promises';
import sharp, { type OutputInfo, type Sharp } from 'sharp';
import type { StagedInput } from '#protocol/connector.ts';
import { EmpError } from '#protocol/errors.ts';
import { pixelLimit, sideLimit } from './image-spec.ts';

/** Pixels in sRGB, 8 bits a channel, without padding: RGB or RGBA. */
export interface Picture {
  data: Buffer;
  width: number;
  height: number;
  channels: 3 | 4;
}

/** Longest time of one step of libvips, s: what takes longer cannot succeed on the next machine either. */
const stepLimitS = 120;

/**
 * Reads an input picture, upright by its EXIF mark, first page only. `INPUT_INVALID` names the input
 * if it is no picture of an accepted format, damaged, cut short or too large. The format is judged by
 * the file's first bytes before any decoder sees it: SVG and PDF may refer to other files.
 */
export async function decodeInput(
  input: StagedInput,
  limits: { pixels: number; side: number } = { pixels: pixelLimit, side: sideLimit },
): Promise<Picture> {
  if (!(await hasPictureMagic(input))) {
    throw inputRefused(input, 'is no PNG, JPEG, WebP, AVIF, GIF or TIFF picture');
  }
  // The header alone, so that a picture beyond the limit can be told from one that is damaged.
  const header = sharp(input.path, { limitInputPixels: false }).metadata();
  const { width, height } = await header.catch((error: unknown) => {
    throw inputRefused(input, `cannot be read as a picture: ${reasonOf(error)}`, error);
  });
  if (width * height > limits.pixels) {
    throw inputRefused(
      input,
      `has ${width}x${height} pixels, more than the limit of ${limits.pixels / 1_000_000} megapixels; make it smaller first`,
    );
  }
  if (Math.max(width, height) > limits.side) {
    throw inputRefused(input, `has ${width}x${height} pixels; a side may have at most ${limits.side}`);
  }
  const source = sharp(input.path, { limitInputPixels: limits.pixels, failOn: 'error' });
  return await rawPicture(source.autoOrient()).catch((error: unknown) => {
    throw inputRefused(input, `is damaged or cut short: ${reasonOf(error)}`, error);
  });
}

/** Runs a libvips pipeline to its pixels. */
export async function rawPicture(pipeline: Sharp): Promise<Picture> {
  const first = await rawPixels(pipeline);
  // libvips keeps gray pictures gray; as the source of a second pipeline they become sRGB.
  const { data, info } =
    first.info.channels < 3 ? await rawPixels(sharp(first.data, { raw: first.info })) : first;
  const { width, height, channels } = info;
  if (channels !== 3 && channels !== 4) {
    throw new EmpError('INTERNAL', { detail: `sRGB pixels with ${channels} channels` });
  }
  return { data, width, height, channels };
}

async function rawPixels(pipeline: Sharp): Promise<{ data: Buffer; info: OutputInfo }> {
  return await pipeline
    .timeout({ seconds: stepLimitS })
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
}

/** The picture as the source of a further pipeline. */
export function asPipeline({ data, width, height, channels }: Picture): Sharp {
  return sharp(data, { raw: { width, height, channels }, limitInputPixels: pixelLimit });
}

function inputRefused({ name }: StagedInput, detail: string, cause?: unknown): EmpError {
  return new EmpError('INPUT_INVALID', {
    detail: `input "${name}" ${detail}`,
    errors: [{ pointer: '/inputs', detail: `"${name}" ${detail}` }],
    cause,
  });
}

/** First line of libvips' text, which may go on with a list of its callers. */
function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]?.slice(0, 200) ?? '';
}

async function hasPictureMagic({ name, path }: StagedInput): Promise<boolean> {
  const file = await open(path).catch((cause: NodeJS.ErrnoException) => {
    const detail = `input "${name}" cannot be opened on the machine (${cause.code})`;
    throw new EmpError('CONNECTOR_FAILED', { detail, cause });
  });
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(16), position: 0 });
    const head = buffer.subarray(0, bytesRead).toString('latin1');
    return (
      head.startsWith('\x89PNG\r\n\x1a\n') ||
      head.startsWith('\xff\xd8\xff') ||
      head.startsWith('GIF8') ||
      head.startsWith('II*\0') ||
      head.startsWith('MM\0*') ||
      (head.startsWith('RIFF') && head.slice(8, 12) === 'WEBP') ||
      (head.slice(4, 8) === 'ftyp' && ['avif', 'avis', 'mif1'].includes(head.slice(8, 12)))
    );
  } finally {
    await file.close();
  }
}
