import { z } from 'zod';
import type { ServiceSpec } from '#protocol/connector.ts';
import { FileName } from '#protocol/names.ts';

/** Most pixels of any picture that is read, held or written: 64 MP, 256 MiB of RGBA. */
export const pixelLimit = 64_000_000;
/** Longest side of a picture: what WebP can hold. */
export const sideLimit = 16_383;
const outputLimit = 16;

const Side = z.int().min(1).max(sideLimit);
const Offset = z.int().min(-sideLimit).max(sideLimit);
const Colour = z.string().regex(/^#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?$/, 'a colour is #rrggbb or #rrggbbaa');
const InputName = z.string().min(1).max(256);

/** Where something smaller sits on the picture. */
export const Gravity = z.enum([
  'centre',
  'north',
  'northeast',
  'east',
  'southeast',
  'south',
  'southwest',
  'west',
  'northwest',
]);
export type Gravity = z.infer<typeof Gravity>;

/** Pixels from the picture's upper left corner; stronger than `gravity`. */
const Point = z.strictObject({ left: Offset, top: Offset });
export type Point = z.infer<typeof Point>;

const Load = z.strictObject({ op: z.literal('load'), input: InputName });

const Generate = z.strictObject({
  op: z.literal('generate'),
  pattern: z.enum(['gradient', 'checker', 'noise', 'clouds', 'rings']),
  width: Side,
  height: Side,
  /** Equal seeds give equal pictures, on every machine. */
  seed: z.int().min(0).max(4_294_967_295).default(0),
  colours: z.tuple([Colour, Colour]).default(['#1b2a49', '#f2c14e']),
  /** Size of a checker, cloud or ring, in pixels. */
  cell: z.int().min(1).max(4_096).default(32),
});

const ContactSheet = z.strictObject({
  op: z.literal('contactSheet'),
  columns: z.int().min(1).max(16).optional(),
  cellWidth: z.int().min(16).max(2_048).default(240),
  cellHeight: z.int().min(16).max(2_048).default(180),
  gap: z.int().min(0).max(256).default(12),
  background: Colour.default('#ffffff'),
  colour: Colour.default('#222222'),
  captions: z.enum(['name', 'none']).default('name'),
});

const Resize = z
  .strictObject({
    op: z.literal('resize'),
    width: Side.optional(),
    height: Side.optional(),
    fit: z.enum(['cover', 'contain', 'fill', 'inside', 'outside']).default('inside'),
    kernel: z.enum(['nearest', 'linear', 'cubic', 'mitchell', 'lanczos2', 'lanczos3']).default('lanczos3'),
    /** With false, a picture that is smaller already stays as it is. */
    enlarge: z.boolean().default(true),
    /** Fills what `contain` leaves free. */
    background: Colour.default('#00000000'),
  })
  .refine(({ width, height }) => width !== undefined || height !== undefined, {
    error: 'give a width, a height or both',
    path: ['width'],
  });

const Crop = z.strictObject({
  op: z.literal('crop'),
  left: z.int().min(0).max(sideLimit),
  top: z.int().min(0).max(sideLimit),
  width: Side,
  height: Side,
});

const Rotate = z.strictObject({
  op: z.literal('rotate'),
  /** Clockwise, degrees. */
  angle: z.number().min(-360).max(360),
  background: Colour.default('#00000000'),
});

const Grayscale = z.strictObject({ op: z.literal('grayscale') });
const Blur = z.strictObject({ op: z.literal('blur'), sigma: z.number().min(0.3).max(50) });
const Sharpen = z.strictObject({ op: z.literal('sharpen'), sigma: z.number().min(0.3).max(10).default(1) });

const Composite = z.strictObject({
  op: z.literal('composite'),
  /** The input that is laid over the picture; what stands out is cut off. */
  input: InputName,
  at: Point.optional(),
  gravity: Gravity.default('centre'),
  /** The overlay is made to fit inside this box first. */
  width: Side.optional(),
  height: Side.optional(),
  opacity: z.number().min(0).max(1).default(1),
  blend: z.enum(['over', 'multiply', 'screen', 'overlay', 'darken', 'lighten', 'difference']).default('over'),
});

const Annotate = z.strictObject({
  op: z.literal('annotate'),
  /** Drawn as it stands; long lines are broken at the picture's width. */
  text: z
    .string()
    .min(1)
    .max(500)
    .refine((text) => text.trim() !== '', 'the text has no visible character')
    .refine((text) => text.split('\n').length <= 20, 'a text has at most 20 lines'),
  /** Height of the letters' line, pixels. */
  size: z.int().min(6).max(256).default(24),
  font: z.enum(['sans', 'serif', 'mono']).default('sans'),
  bold: z.boolean().default(false),
  align: z.enum(['left', 'centre', 'right']).default('left'),
  colour: Colour.default('#ffffff'),
  /** Box behind the text. */
  background: Colour.default('#00000099'),
  padding: z.int().min(0).max(256).default(8),
  at: Point.optional(),
  gravity: Gravity.default('south'),
  /** Distance from the picture's edge, pixels. */
  margin: z.int().min(0).max(1_024).default(12),
});

const Convert = z
  .strictObject({
    op: z.literal('convert'),
    format: z.enum(['png', 'jpeg', 'webp', 'avif']),
    quality: z.int().min(1).max(100).optional(),
    /** Without extension; the format adds it. */
    name: FileName.max(100).optional(),
    /** Behind transparent parts, for JPEG. */
    background: Colour.default('#ffffff'),
  })
  .refine(({ format, quality }) => format !== 'png' || quality === undefined, {
    error: 'PNG keeps every pixel and takes no quality; leave it out or choose jpeg, webp or avif',
    path: ['quality'],
  });

export const ImageOperation = z.discriminatedUnion('op', [
  Load,
  Generate,
  ContactSheet,
  Resize,
  Crop,
  Rotate,
  Grayscale,
  Blur,
  Sharpen,
  Composite,
  Annotate,
  Convert,
]);
export type ImageOperation = z.infer<typeof ImageOperation>;
export type OperationOf<Op extends ImageOperation['op']> = Extract<ImageOperation, { op: Op }>;

/** Operations that bring a picture instead of changing one. */
const sources: ImageOperation['op'][] = ['load', 'generate', 'contactSheet'];

/**
 * A list of steps on one picture. If the first brings none, the first input is loaded. Each
 * `convert` writes an output; if none follows the last change, a PNG is written.
 */
export const ImagePayload = z.strictObject({
  operations: z
    .array(ImageOperation)
    .min(1)
    .max(32)
    .superRefine((operations, context) => {
      const names = new Set<string>();
      for (const [index, operation] of operations.entries()) {
        // What stands at the end unwritten is written as PNG.
        const written =
          operation.op === 'convert'
            ? operation
            : index === operations.length - 1
              ? ({ format: 'png' } as const)
              : null;
        if (written === null) continue;
        const name = outputName(written, names.size);
        if (names.size === outputLimit)
          context.addIssue({
            code: 'custom',
            path: [index],
            message: `a job writes at most ${outputLimit} pictures`,
          });
        if (names.has(name))
          context.addIssue({
            code: 'custom',
            path: [index, 'name'],
            message: `"${name}" is written twice; give another name`,
          });
        names.add(name);
      }
    }),
});
export type ImagePayload = z.infer<typeof ImagePayload>;

/** File name of the output of a `convert`; `index` counts the outputs written before it. */
export function outputName(
  { name, format }: { name?: string | undefined; format: OperationOf<'convert'>['format'] },
  index: number,
): string {
  return `${name ?? (index === 0 ? 'picture' : `picture-${index + 1}`)}.${format === 'jpeg' ? 'jpg' : format}`;
}

/** Whether the pipeline loads the first input by itself. */
export function startsFromInput({ operations }: ImagePayload): boolean {
  const [first] = operations;
  return first !== undefined && !sources.includes(first.op);
}

/** Time of an operation on a picture of one megapixel, ms, measured on one core (docs/connectors.md). */
const operationMs: Record<Exclude<ImageOperation['op'], 'convert' | 'generate'>, number> = {
  load: 10,
  contactSheet: 50,
  resize: 15,
  crop: 5,
  rotate: 60,
  grayscale: 10,
  blur: 20,
  sharpen: 90,
  composite: 30,
  annotate: 20,
};
const convertMs: Record<OperationOf<'convert'>['format'], number> = {
  jpeg: 20,
  png: 60,
  webp: 100,
  avif: 660,
};
const generateMs: Record<OperationOf<'generate'>['pattern'], number> = {
  gradient: 40,
  checker: 45,
  noise: 50,
  clouds: 240,
  rings: 115,
};

function expectedMs(operation: ImageOperation): number {
  if (operation.op === 'convert') return convertMs[operation.format];
  if (operation.op !== 'generate') return operationMs[operation.op];
  return (generateMs[operation.pattern] * operation.width * operation.height) / 1_000_000;
}

export const imageSpec: ServiceSpec = {
  service: 'image',
  version: '1.0.0',
  payload: ImagePayload,
  models: () => [],
  expectedMs: (payload) =>
    ImagePayload.parse(payload).operations.reduce((sum, operation) => sum + expectedMs(operation), 5),
  inputs: { min: 0, max: 16 },
};
