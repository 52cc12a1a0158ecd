import sharp from 'sharp';
import { overlay } from '#actors/connectors/image/contact-sheet.ts';
import { asPipeline, type Picture, rawPicture } from '#actors/connectors/image/decode.ts';
import { drawCaption } from '#actors/connectors/image/draw-text.ts';
import type { UpscaleModel } from './upscale-models.ts';

const gap = 12;
const captionHeight = 40;
const captionTop = 8;
/** Longest side of each half; larger results are shown smaller. */
const halfLimit = 2_048;

/** Plain enlargement on the left, the network on the right, each with its name below. */
export async function comparisonPicture(
  source: Picture,
  result: Picture,
  model: UpscaleModel,
  method: 'bicubic' | 'nearest',
): Promise<Picture> {
  const { width, height } = result;
  const plain = await rawPicture(
    asPipeline(source).resize({
      width,
      height,
      fit: 'fill',
      kernel: method === 'bicubic' ? 'cubic' : 'nearest',
    }),
  );
  const [left, right] = [await fitted(plain), await fitted(result)];
  const captions = await Promise.all(
    [`${method} x${model.scale}`, model.id].map((text) =>
      drawCaption(
        text,
        { size: 24, font: 'sans', bold: false, align: 'left', colour: '#222222' },
        left.width,
      ),
    ),
  );
  const canvas = {
    width: 2 * left.width + 3 * gap,
    height: left.height + gap + captionHeight,
    channels: 3,
    background: '#ffffff',
  } as const;
  const columns = [gap, 2 * gap + left.width];
  const labels = captions.map((caption, index) =>
    overlay(
      caption,
      (columns[index] ?? 0) + Math.floor((left.width - caption.width) / 2),
      gap + left.height + captionTop,
    ),
  );
  return await rawPicture(
    sharp({ create: canvas }).composite([
      overlay(left, gap, gap),
      overlay(right, 2 * gap + left.width, gap),
      ...labels,
    ]),
  );
}

async function fitted(picture: Picture): Promise<Picture> {
  if (Math.max(picture.width, picture.height) <= halfLimit) return picture;
  return await rawPicture(asPipeline(picture).resize({ width: halfLimit, height: halfLimit, fit: 'inside' }));
}
