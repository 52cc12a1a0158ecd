/** How one super-resolution network is fed. Figures: docs/connectors.md. */
export interface UpscaleModel {
  id: string;
  scale: 2 | 4;
  /** Value of a full channel where the network reads and writes it. */
  range: 255 | 1;
  /** Side of a tile, and how far it looks beyond its edge, both in input pixels. */
  tile: number;
  pad: number;
  /** Most pixels of an input. */
  pixelLimit: number;
  /** Measured time per input pixel on one core, ms; the prior for predictions. */
  msPerPixel: number;
}

/**
 * Measured against the untiled network on a photo: slim 128+12 gives the same bytes, medium 96+12
 * differs by 1 of 255 in 5 of 720 000 values, thick 64+8 by 1 in 316 of 821 760. Less padding shows
 * seams, more costs time. The thick network reaches 120 pixels far, but with next to no weight.
 */
export const upscaleModels: readonly UpscaleModel[] = [
  {
    id: 'esrgan-slim-x2',
    scale: 2,
    range: 255,
    tile: 128,
    pad: 12,
    pixelLimit: 2_000_000,
    msPerPixel: 0.028,
  },
  {
    id: 'esrgan-medium-x2',
    scale: 2,
    range: 255,
    tile: 96,
    pad: 12,
    pixelLimit: 2_000_000,
    msPerPixel: 0.09,
  },
  { id: 'esrgan-thick-x4', scale: 4, range: 1, tile: 64, pad: 8, pixelLimit: 500_000, msPerPixel: 0.95 },
];

/** Longest side of an input: four times it stays within what pictures may have. */
export const upscaleSideLimit = 4_000;

export function findUpscaleModel(id: string): UpscaleModel | undefined {
  return upscaleModels.find((model) => model.id === id);
}
