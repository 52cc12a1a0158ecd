import { previewLimitBytes } from '#actors/connectors/worker-messages.ts';
import { asPipeline, type Picture } from './decode.ts';

/** Small JPEG of the picture; lower quality until it fits into a progress message. */
export async function preview(picture: Picture): Promise<{ mime: string; bytes: Uint8Array }> {
  for (const quality of [75, 50, 25, 5]) {
    const bytes = await asPipeline(picture)
      .resize({ width: 320, height: 320, fit: 'inside', withoutEnlargement: true })
      .flatten({ background: '#ffffff' })
      .jpeg({ quality })
      .toBuffer();
    if (bytes.byteLength <= previewLimitBytes) return { mime: 'image/jpeg', bytes };
  }
  throw new Error('a JPEG of 320 pixels does not fit into a preview');
}
