import sharp, { type OverlayOptions } from 'sharp';
import { fieldRefused } from '#actors/connectors/payload.ts';
import type { StagedInput } from '#protocol/connector.ts';
import { asPipeline, decodeInput, type Picture, rawPicture } from './decode.ts';
import { drawCaption } from './draw-text.ts';
import { type OperationOf, pixelLimit, sideLimit } from './image-spec.ts';

const captionSize = 16;
const captionHeight = 24;
/** Letters hang from one line: centred, words with and without long letters would stand uneven. */
const captionTop = 4;

/** All inputs in their order as a grid, each fitted into its cell, with its name below. */
export async function contactSheet(
  operation: OperationOf<'contactSheet'>,
  inputs: StagedInput[],
  path: (string | number)[],
): Promise<Picture> {
  const { cellWidth, cellHeight, gap, captions } = operation;
  if (inputs.length === 0) throw fieldRefused(path, 'a contact sheet shows the inputs, and the job has none');
  const columns = Math.min(operation.columns ?? Math.ceil(Math.sqrt(inputs.length)), inputs.length);
  const rows = Math.ceil(inputs.length / columns);
  const rowHeight = cellHeight + (captions === 'name' ? captionHeight : 0);
  const width = columns * (cellWidth + gap) + gap;
  const height = rows * (rowHeight + gap) + gap;
  if (width * height > pixelLimit || Math.max(width, height) > sideLimit) {
    throw fieldRefused(
      [...path, 'cellWidth'],
      `the sheet would have ${width}x${height} pixels; choose smaller cells`,
    );
  }
  const overlays: OverlayOptions[] = [];
  for (const [index, input] of inputs.entries()) {
    const left = gap + (index % columns) * (cellWidth + gap);
    const top = gap + Math.floor(index / columns) * (rowHeight + gap);
    const picture = await rawPicture(
      asPipeline(await decodeInput(input)).resize({ width: cellWidth, height: cellHeight, fit: 'inside' }),
    );
    overlays.push(
      overlay(picture, left + half(cellWidth - picture.width), top + half(cellHeight - picture.height)),
    );
    if (captions === 'none') continue;
    const style = {
      size: captionSize,
      font: 'sans',
      bold: false,
      align: 'left',
      colour: operation.colour,
    } as const;
    const caption = await drawCaption(input.name, style, cellWidth);
    overlays.push(overlay(caption, left + half(cellWidth - caption.width), top + cellHeight + captionTop));
  }
  return await rawPicture(
    sharp({ create: { width, height, channels: 4, background: operation.background } }).composite(overlays),
  );
}

/** A picture as an overlay of sharp at a place of the canvas. */
export function overlay(
  { data, width, height, channels }: Picture,
  left: number,
  top: number,
): OverlayOptions {
  return { input: data, raw: { width, height, channels }, left, top };
}

function half(space: number): number {
  return Math.max(0, Math.floor(space / 2));
}
