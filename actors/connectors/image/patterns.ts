import type { Picture } from './decode.ts';
import type { OperationOf } from './image-spec.ts';

type Generate = OperationOf<'generate'>;

/** Mix of the two colours at a pixel, 0 to 1. */
type Shade = (x: number, y: number) => number;

/** A picture made from its parameters alone: load and trials without any input file. Pure. */
export function generatePattern(operation: Generate): Picture {
  const { width, height, colours } = operation;
  const [from, to] = [colourBytes(colours[0]), colourBytes(colours[1])];
  const shade = shades[operation.pattern](operation);
  const data = Buffer.allocUnsafe(width * height * 4);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const share = shade(x, y);
      for (let channel = 0; channel < 4; channel++, at++) {
        const low = from[channel] ?? 0;
        data[at] = Math.round(low + ((to[channel] ?? 0) - low) * share);
      }
    }
  }
  return { data, width, height, channels: 4 };
}

const shades: Record<Generate['pattern'], (operation: Generate) => Shade> = {
  gradient: ({ width, height, seed }) => {
    const angle = (seed % 360) * (Math.PI / 180);
    const [dx, dy] = [Math.cos(angle), Math.sin(angle)];
    const reach = Math.abs(dx) * (width - 1) + Math.abs(dy) * (height - 1) || 1;
    return (x, y) => ((x - (width - 1) / 2) * dx + (y - (height - 1) / 2) * dy) / reach + 0.5;
  },
  checker:
    ({ cell }) =>
    (x, y) =>
      (Math.floor(x / cell) + Math.floor(y / cell)) % 2,
  noise:
    ({ seed }) =>
    (x, y) =>
      hash(x, y, seed),
  clouds: ({ cell, seed }) => {
    return (x, y) => {
      let [sum, weight, size] = [0, 0.5, cell * 4];
      for (let octave = 0; octave < 5; octave++, weight /= 2, size /= 2)
        sum += weight * smoothNoise(x / size, y / size, seed + octave);
      return sum / (1 - 1 / 32);
    };
  },
  rings: ({ width, height, cell, seed }) => {
    const [centreX, centreY] = [width * hash(0, 0, seed), height * hash(1, 0, seed)];
    return (x, y) => 0.5 + 0.5 * Math.cos((Math.hypot(x - centreX, y - centreY) / cell) * Math.PI);
  },
};

/** Value noise: random values on whole points, blended between them. */
function smoothNoise(x: number, y: number, seed: number): number {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [fx, fy] = [ease(x - left), ease(y - top)];
  const upper = mix(hash(left, top, seed), hash(left + 1, top, seed), fx);
  const lower = mix(hash(left, top + 1, seed), hash(left + 1, top + 1, seed), fx);
  return mix(upper, lower, fy);
}

const ease = (t: number) => t * t * (3 - 2 * t);
const mix = (a: number, b: number, share: number) => a + (b - a) * share;

/** Uniform in [0, 1) from a point and a seed: integer mixing in 32 bits, equal on every engine. */
function hash(x: number, y: number, seed: number): number {
  let h = Math.imul(x, 0x27d4eb2d) ^ Math.imul(y, 0x165667b1) ^ Math.imul(seed, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) / 4_294_967_296;
}

/** `#rrggbb` or `#rrggbbaa` as four bytes. */
export function colourBytes(colour: string): [number, number, number, number] {
  const at = (from: number) => Number.parseInt(colour.slice(from, from + 2), 16);
  return [at(1), at(3), at(5), colour.length === 9 ? at(7) : 255];
}
