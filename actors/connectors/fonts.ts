import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/**
 * Environment that makes libvips draw text with the DejaVu fonts we ship. Without a font, text comes
 * out as boxes and nothing fails; containers often have none, and no writable cache for fontconfig.
 * Must be set before sharp is loaded, which is why workers get it at their start.
 */
export async function fontEnvironment(workDir: string): Promise<{ FONTCONFIG_FILE: string }> {
  const fonts = join(dirname(createRequire(import.meta.url).resolve('dejavu-fonts-ttf/package.json')), 'ttf');
  const cache = join(workDir, 'font-cache');
  const file = join(workDir, 'fonts.conf');
  await mkdir(cache, { recursive: true });
  await writeFile(
    file,
    `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${escapeMarkup(fonts)}</dir>
  <cachedir>${escapeMarkup(cache)}</cachedir>
</fontconfig>
`,
  );
  return { FONTCONFIG_FILE: file };
}

/** Text as it stands between XML tags or in a quoted attribute; characters XML forbids are dropped. */
export function escapeMarkup(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '')
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
