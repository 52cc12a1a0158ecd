import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cutWindow, type Pixels, pasteTile, planTiles } from './tiles.ts';

/** A "network" that looks at nothing but its own pixel, so that the right answer is known. */
function enlargePlainly(picture: Pixels, scale: number): Pixels {
  const width = picture.width * scale;
  const height = picture.height * scale;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (Math.floor(y / scale) * picture.width + Math.floor(x / scale)) * 3;
      data.set(picture.data.subarray(from, from + 3), (y * width + x) * 3);
    }
  }
  return { data, width, height };
}

const cases = fc.record({
  width: fc.integer({ min: 1, max: 90 }),
  height: fc.integer({ min: 1, max: 90 }),
  tile: fc.integer({ min: 8, max: 40 }),
  pad: fc.integer({ min: 0, max: 12 }),
  scale: fc.constantFrom(2, 4),
});

test('tiles put together again give the whole picture, at every size', () => {
  fc.assert(
    fc.property(cases, ({ width, height, tile, pad, scale }) => {
      const picture = {
        data: Uint8Array.from({ length: width * height * 3 }, (_, at) => (at * 37) % 251),
        width,
        height,
      };
      const target = {
        data: new Uint8Array(width * height * 3 * scale * scale),
        width: width * scale,
        height: height * scale,
      };
      for (const part of planTiles(picture, { tile, pad })) {
        const { width: windowWidth, height: windowHeight } = part.window;
        const window = { data: cutWindow(picture, part.window), width: windowWidth, height: windowHeight };
        pasteTile(target, enlargePlainly(window, scale), part, scale);
      }
      expect(target.data).toEqual(enlargePlainly(picture, scale).data);
    }),
    { numRuns: 60 },
  );
});

test('tiles keep their limit, cover each pixel once and see beyond their edge, but not beyond the picture', () => {
  fc.assert(
    fc.property(cases, ({ width, height, tile, pad }) => {
      const covered = new Uint8Array(width * height);
      for (const part of planTiles({ width, height }, { tile, pad })) {
        expect(Math.max(part.width, part.height)).toBeLessThanOrEqual(tile);
        const { window } = part;
        expect(window.x).toBe(Math.max(0, part.x - pad));
        expect(window.y).toBe(Math.max(0, part.y - pad));
        expect(window.x + window.width).toBe(Math.min(width, part.x + part.width + pad));
        expect(window.y + window.height).toBe(Math.min(height, part.y + part.height + pad));
        for (let y = part.y; y < part.y + part.height; y++) {
          for (let x = part.x; x < part.x + part.width; x++)
            covered[y * width + x] = (covered[y * width + x] ?? 0) + 1;
        }
      }
      expect(covered.every((count) => count === 1)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test('tiles of a row are alike in size: no sliver costs a whole padding', () => {
  const widths = planTiles({ width: 130, height: 10 }, { tile: 128, pad: 12 }).map(({ width }) => width);
  expect(widths).toEqual([65, 65]);
});

test('the last tile of each row says so', () => {
  const ends = planTiles({ width: 20, height: 20 }, { tile: 10, pad: 2 }).map(({ endsRow }) => endsRow);
  expect(ends).toEqual([false, true, false, true]);
});
