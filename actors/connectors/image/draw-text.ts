import sharp from 'sharp';
import { escapeMarkup } from '#actors/connectors/fonts.ts';
import { asPipeline, type Picture, rawPicture } from './decode.ts';
import { colourBytes } from './patterns.ts';

export interface TextStyle {
  /** Height of a line, pixels. */
  size: number;
  font: 'sans' | 'serif' | 'mono';
  bold: boolean;
  align: 'left' | 'centre' | 'right';
  /** #rrggbb or #rrggbbaa. */
  colour: string;
}

const fontNames = { sans: 'DejaVu Sans', serif: 'DejaVu Serif', mono: 'DejaVu Sans Mono' } as const;
/** Line height of the DejaVu fonts over their size. */
const lineShare = 1.17;

/**
 * The text as a picture of its own, as small as the letters allow. Lines break at `maxWidth` pixels.
 * The text is taken literally: Pango would read `<`, `&` as markup, so they are escaped.
 */
export async function drawText(text: string, style: TextStyle, maxWidth: number): Promise<Picture> {
  const [red, green, blue, alpha] = colourBytes(style.colour);
  // A fully transparent alpha is no valid value for Pango; 1 of 65535 cannot be seen.
  const attributes = `foreground="#${hex(red)}${hex(green)}${hex(blue)}" alpha="${Math.max(1, alpha * 257)}"`;
  return await rawPicture(
    sharp({
      text: {
        text: `<span ${attributes}>${escapeMarkup(text)}</span>`,
        font: `${fontNames[style.font]}${style.bold ? ' Bold' : ''} ${pointSize(style.size)}`,
        dpi: 72,
        rgba: true,
        width: maxWidth,
        align: style.align,
        wrap: 'word-char',
      },
    }),
  );
}

/** Upper bound of the pixels that `drawText` would take, before anything is drawn. */
export function textPixelBound(text: string, size: number, maxWidth: number): number {
  const lines = text
    .split('\n')
    .reduce((sum, line) => sum + Math.max(1, Math.ceil((line.length * size * 1.1) / maxWidth)), 0);
  return lines * Math.ceil(size * 1.5) * maxWidth;
}

/** One line of text, cut with an ellipsis to at most `width` pixels. */
export async function drawCaption(text: string, style: TextStyle, width: number): Promise<Picture> {
  const letters = [...text.replaceAll(/\s+/g, ' ')];
  // Narrower than the narrowest letter: nothing is drawn that surely does not fit.
  const fitting = Math.floor(width / (style.size * 0.25));
  let shown = letters.length > fitting ? `${letters.slice(0, fitting).join('')}…` : letters.join('');
  for (;;) {
    const drawn = await drawText(shown === '' ? ' ' : shown, style, 16_000);
    if (drawn.width <= width || shown === '…' || shown === '')
      return drawn.width <= width ? drawn : await cropped(drawn, width);
    const kept = [...shown.replace(/…$/, '')];
    shown = `${kept.slice(0, Math.min(kept.length - 1, Math.floor((kept.length * width) / drawn.width))).join('')}…`;
  }
}

async function cropped(picture: Picture, width: number): Promise<Picture> {
  return await rawPicture(asPipeline(picture).extract({ left: 0, top: 0, width, height: picture.height }));
}

function pointSize(size: number): number {
  return Math.round((size / lineShare) * 10) / 10;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
