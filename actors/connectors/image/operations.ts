import { fieldRefused } from '#actors/connectors/payload.ts';
import type { StagedInput } from '#protocol/connector.ts';
import type { EmpError } from '#protocol/errors.ts';
import { contactSheet, overlay } from './contact-sheet.ts';
import { asPipeline, decodeInput, type Picture, rawPicture } from './decode.ts';
import { drawText, textPixelBound } from './draw-text.ts';
import {
  type Gravity,
  type ImageOperation,
  type OperationOf,
  type Point,
  pixelLimit,
  sideLimit,
} from './image-spec.ts';
import { colourBytes, generatePattern } from './patterns.ts';

/** Every operation but `convert`, which writes instead of changing. */
export type PictureOperation = Exclude<ImageOperation, { op: 'convert' }>;

interface Scene {
  /** Null until the first operation brought a picture. */
  picture: Picture | null;
  inputs: StagedInput[];
  /** Where the operation stands in the payload, for refusals. */
  path: (string | number)[];
}

/**
 * The picture after one operation. `PAYLOAD_INVALID` names the field when the operation cannot be
 * done to this picture (a crop outside it, a result beyond the limits), `INPUT_INVALID` a bad input.
 */
export async function applyOperation(operation: PictureOperation, scene: Scene): Promise<Picture> {
  const { inputs, path } = scene;
  if (operation.op === 'load')
    return await decodeInput(findInput(inputs, operation.input, [...path, 'input']));
  if (operation.op === 'contactSheet') return await contactSheet(operation, inputs, path);
  if (operation.op === 'generate') {
    limitPixels(operation, [...path, 'width']);
    return generatePattern(operation);
  }
  if (scene.picture === null) throw pictureMissing(path);
  return await change(operation, scene.picture, scene);
}

/** Refusal of an operation that comes before any picture. */
export function pictureMissing(path: (string | number)[]): EmpError {
  return fieldRefused(
    path,
    'there is no picture yet: the job has no input; begin with "generate" or add an input',
  );
}

type ChangeOperation = Exclude<PictureOperation, { op: 'load' | 'contactSheet' | 'generate' }>;

async function change(
  operation: ChangeOperation,
  picture: Picture,
  { inputs, path }: Scene,
): Promise<Picture> {
  switch (operation.op) {
    case 'resize':
      return await resize(operation, picture, path);
    case 'crop':
      return await crop(operation, picture, path);
    case 'rotate':
      limitPixels(rotatedSize(picture, operation.angle), [...path, 'angle']);
      return await rawPicture(
        asPipeline(picture).rotate(operation.angle, { background: operation.background }),
      );
    case 'grayscale':
      return await rawPicture(asPipeline(picture).grayscale());
    case 'blur':
      return await rawPicture(asPipeline(picture).blur(operation.sigma));
    case 'sharpen':
      return await rawPicture(asPipeline(picture).sharpen({ sigma: operation.sigma }));
    case 'composite':
      return await composite(operation, picture, { inputs, path });
    case 'annotate':
      return await annotate(operation, picture, path);
  }
}

async function resize(
  operation: OperationOf<'resize'>,
  picture: Picture,
  path: (string | number)[],
): Promise<Picture> {
  const { width, height, fit, kernel, enlarge, background } = operation;
  limitPixels(resizedSize(operation, picture), [...path, width === undefined ? 'height' : 'width']);
  return await rawPicture(
    asPipeline(picture).resize({
      ...(width === undefined ? {} : { width }),
      ...(height === undefined ? {} : { height }),
      fit,
      kernel,
      background,
      withoutEnlargement: !enlarge,
    }),
  );
}

/** Upper bound of the size after a resize: a side that is not given follows the picture's shape. */
function resizedSize(
  { width, height, fit }: OperationOf<'resize'>,
  picture: Picture,
): { width: number; height: number } {
  const scaleX = width === undefined ? null : width / picture.width;
  const scaleY = height === undefined ? null : height / picture.height;
  if (scaleX !== null && scaleY !== null && fit !== 'outside')
    return { width: width ?? 1, height: height ?? 1 };
  const scale = Math.max(scaleX ?? 0, scaleY ?? 0);
  return { width: Math.round(picture.width * scale), height: Math.round(picture.height * scale) };
}

async function crop(
  { left, top, width, height }: OperationOf<'crop'>,
  picture: Picture,
  path: (string | number)[],
): Promise<Picture> {
  if (left + width > picture.width) {
    throw fieldRefused(
      [...path, 'width'],
      `left + width is ${left + width}, but the picture is only ${picture.width} pixels wide here`,
    );
  }
  if (top + height > picture.height) {
    throw fieldRefused(
      [...path, 'height'],
      `top + height is ${top + height}, but the picture is only ${picture.height} pixels high here`,
    );
  }
  return await rawPicture(asPipeline(picture).extract({ left, top, width, height }));
}

async function composite(
  operation: OperationOf<'composite'>,
  picture: Picture,
  { inputs, path }: Omit<Scene, 'picture'>,
): Promise<Picture> {
  const { width, height, opacity, blend } = operation;
  let layer = await decodeInput(findInput(inputs, operation.input, [...path, 'input']));
  if (width !== undefined || height !== undefined) {
    layer = await resize(
      {
        op: 'resize',
        width,
        height,
        fit: 'inside',
        kernel: 'lanczos3',
        enlarge: true,
        background: '#00000000',
      },
      layer,
      path,
    );
  }
  const place = operation.at ?? placeBy(operation.gravity, picture, layer, 0);
  const visible = await overlap(layer, place, picture);
  if (visible === null)
    throw fieldRefused(
      [...path, 'at'],
      `the overlay lies outside the picture of ${picture.width}x${picture.height} pixels`,
    );
  if (opacity < 1) visible.layer = await faded(visible.layer, opacity);
  const { left, top } = visible.place;
  return await rawPicture(asPipeline(picture).composite([{ ...overlay(visible.layer, left, top), blend }]));
}

async function annotate(
  operation: OperationOf<'annotate'>,
  picture: Picture,
  path: (string | number)[],
): Promise<Picture> {
  const { text, size, padding, margin, background } = operation;
  const room = picture.width - 2 * (margin + padding);
  if (room < size)
    throw fieldRefused(
      [...path, 'size'],
      `the picture is ${picture.width} pixels wide, too narrow for letters of ${size} with this margin and padding`,
    );
  if (textPixelBound(text, size, room) > pixelLimit)
    throw fieldRefused([...path, 'size'], 'the text would need too many pixels; choose smaller letters');
  const letters = await drawText(text, operation, room);
  const box = { width: letters.width + 2 * padding, height: letters.height + 2 * padding };
  const label = await rawPicture(
    asPipeline(plain(box, background)).composite([overlay(letters, padding, padding)]),
  );
  const place = operation.at ?? placeBy(operation.gravity, picture, label, margin);
  const { left, top } = place;
  if (left < 0 || top < 0 || left + box.width > picture.width || top + box.height > picture.height) {
    throw fieldRefused(
      [...path, 'size'],
      `the text takes ${box.width}x${box.height} pixels and does not fit into the picture of ${picture.width}x${picture.height} there; choose smaller letters or another place`,
    );
  }
  return await rawPicture(asPipeline(picture).composite([overlay(label, left, top)]));
}

function plain({ width, height }: { width: number; height: number }, colour: string): Picture {
  const pixel = Buffer.from(colourBytes(colour));
  return { data: Buffer.alloc(width * height * 4, pixel), width, height, channels: 4 };
}

/** Upper left corner of something that sits on the picture at a side or corner. */
function placeBy(
  gravity: Gravity,
  picture: Picture,
  thing: { width: number; height: number },
  margin: number,
): Point {
  const spaceX = picture.width - thing.width;
  const spaceY = picture.height - thing.height;
  const left = gravity.endsWith('west')
    ? margin
    : gravity.endsWith('east')
      ? spaceX - margin
      : Math.floor(spaceX / 2);
  const top = gravity.startsWith('north')
    ? margin
    : gravity.startsWith('south')
      ? spaceY - margin
      : Math.floor(spaceY / 2);
  return { left, top };
}

/** The part of a layer that lies on the picture, and where; null if there is none. */
async function overlap(
  layer: Picture,
  place: Point,
  picture: Picture,
): Promise<{ layer: Picture; place: Point } | null> {
  const left = Math.max(0, place.left);
  const top = Math.max(0, place.top);
  const width = Math.min(place.left + layer.width, picture.width) - left;
  const height = Math.min(place.top + layer.height, picture.height) - top;
  if (width <= 0 || height <= 0) return null;
  if (width === layer.width && height === layer.height) return { layer, place };
  const part = await rawPicture(
    asPipeline(layer).extract({ left: left - place.left, top: top - place.top, width, height }),
  );
  return { layer: part, place: { left, top } };
}

async function faded(layer: Picture, opacity: number): Promise<Picture> {
  const result = await rawPicture(asPipeline(layer).ensureAlpha());
  for (let at = 3; at < result.data.length; at += 4)
    result.data[at] = Math.round((result.data[at] ?? 0) * opacity);
  return result;
}

function rotatedSize({ width, height }: Picture, angle: number): { width: number; height: number } {
  const radians = (angle * Math.PI) / 180;
  const [cos, sin] = [Math.abs(Math.cos(radians)), Math.abs(Math.sin(radians))];
  return { width: Math.ceil(width * cos + height * sin), height: Math.ceil(width * sin + height * cos) };
}

function findInput(inputs: StagedInput[], name: string, path: (string | number)[]): StagedInput {
  const input = inputs.find((candidate) => candidate.name === name);
  if (input !== undefined) return input;
  const names = inputs.map((candidate) => `"${candidate.name}"`).join(', ');
  throw fieldRefused(
    path,
    `the job has no input "${name}"; ${names === '' ? 'it has none at all' : `it has ${names}`}`,
  );
}

function limitPixels({ width, height }: { width: number; height: number }, path: (string | number)[]): void {
  if (width * height <= pixelLimit && Math.max(width, height) <= sideLimit) return;
  throw fieldRefused(
    path,
    `the picture would have ${width}x${height} pixels; at most ${pixelLimit / 1_000_000} megapixels and ${sideLimit} a side are made`,
  );
}
