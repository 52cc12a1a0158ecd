import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Folders that hold what was installed or made, not what was written. */
const notSource = new Set(['node_modules', '.git', '.toolchain', '.cache', 'out']);

/** Bytes beyond which a file is data rather than something that a person wrote. */
const textLimitBytes = 1024 * 1024;

/** Paths of all files of the repository, relative to `root`, with `/`, in a stable order. */
export function sourceFiles(root: string, under = ''): string[] {
  return readdirSync(join(root, under), { withFileTypes: true })
    .filter((entry) => !notSource.has(entry.name) && !entry.name.endsWith('.log'))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = under === '' ? entry.name : `${under}/${entry.name}`;
      if (entry.isDirectory()) return sourceFiles(root, path);
      return entry.isFile() ? [path] : [];
    });
}

/** The text of a file, or undefined where it is binary or too large to have been written by hand. */
export function readText(root: string, path: string): string | undefined {
  const bytes = readFileSync(join(root, path));
  if (bytes.length > textLimitBytes || bytes.includes(0)) return undefined;
  return bytes.toString('utf8');
}
