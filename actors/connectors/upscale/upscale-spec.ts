import { z } from 'zod';
import type { ServiceSpec } from '#protocol/connector.ts';
import { findUpscaleModel } from './upscale-models.ts';

/** Enlarges one picture with a network that adds plausible detail. */
export const UpscalePayload = z
  .strictObject({
    model: z.enum(['esrgan-slim-x2', 'esrgan-medium-x2', 'esrgan-thick-x4']).default('esrgan-slim-x2'),
    format: z.enum(['png', 'jpeg', 'webp']).default('png'),
    quality: z.int().min(1).max(100).optional(),
    /** Adds a picture that shows plain enlargement and the network side by side. */
    compareWith: z.enum(['none', 'bicubic', 'nearest']).default('none'),
  })
  .refine(({ format, quality }) => format !== 'png' || quality === undefined, {
    error: 'PNG keeps every pixel and takes no quality; leave it out or choose jpeg or webp',
    path: ['quality'],
  });
export type UpscalePayload = z.infer<typeof UpscalePayload>;

/** Size of a picture whose size is not known yet. */
const usualPixels = 65_536;

export const upscaleSpec: ServiceSpec = {
  service: 'upscale',
  version: '1.0.0',
  payload: UpscalePayload,
  models: (payload) => [UpscalePayload.parse(payload).model],
  expectedMs: (payload) =>
    200 + usualPixels * (findUpscaleModel(UpscalePayload.parse(payload).model)?.msPerPixel ?? 1),
  inputs: { min: 1, max: 1 },
};
