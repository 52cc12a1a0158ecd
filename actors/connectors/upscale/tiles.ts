/** A part of the picture: what is kept (`x`, `y`, `width`, `height`) and the window the network sees. */
export interface Tile {
  x: number;
  y: number;
  width: number;
  height: number;
  window: { x: number; y: number; width: number; height: number };
  /** Whether it is the last of its row: then a whole strip of the result is done. */
  endsRow: boolean;
}

/** Interleaved RGB. */
export interface Pixels {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
}

/**
 * Cuts a picture into tiles of nearly equal size, none above `tile`, in reading order. Windows reach
 * `pad` further, but never beyond the picture, so that its edge is treated as without tiles.
 */
export function planTiles(
  picture: { width: number; height: number },
  { tile, pad }: { tile: number; pad: number },
): Tile[] {
  const columns = cuts(picture.width, tile);
  const rows = cuts(picture.height, tile);
  return rows.flatMap(([top, bottom]) =>
    columns.map(([left, right]) => {
      const x = Math.max(0, left - pad);
      const y = Math.max(0, top - pad);
      return {
        x: left,
        y: top,
        width: right - left,
        height: bottom - top,
        window: {
          x,
          y,
          width: Math.min(picture.width, right + pad) - x,
          height: Math.min(picture.height, bottom + pad) - y,
        },
        endsRow: right === picture.width,
      };
    }),
  );
}

/** [from, to) of the parts of a length. */
function cuts(length: number, limit: number): [number, number][] {
  const parts = Math.ceil(length / limit);
  const at = (part: number) => Math.round((length * part) / parts);
  return Array.from({ length: parts }, (_, part) => [at(part), at(part + 1)]);
}

/** A window of the picture as a picture of its own. */
export function cutWindow(picture: Pixels, { x, y, width, height }: Tile['window']): Uint8Array {
  const part = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const from = ((y + row) * picture.width + x) * 3;
    part.set(picture.data.subarray(from, from + width * 3), row * width * 3);
  }
  return part;
}

/** Puts the kept part of an enlarged window into the enlarged picture. */
export function pasteTile(target: Pixels, enlarged: Pixels, tile: Tile, scale: number): void {
  const left = (tile.x - tile.window.x) * scale;
  const top = (tile.y - tile.window.y) * scale;
  const rowBytes = tile.width * scale * 3;
  for (let row = 0; row < tile.height * scale; row++) {
    const from = ((top + row) * enlarged.width + left) * 3;
    target.data.set(
      enlarged.data.subarray(from, from + rowBytes),
      ((tile.y * scale + row) * target.width + tile.x * scale) * 3,
    );
  }
}
