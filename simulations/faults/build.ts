import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What hubs and machines run on: nothing is built, so their sources are the build. */
const parts = ['protocol', 'machines', 'actors', 'runtime', 'package.json', 'pnpm-lock.yaml'];
/** Files that no hub and no machine reads. */
const beside = /\.(?:test|fixture|conformance)\.ts$|\.md$/;
const digestLength = 12;

/** Names of a build for the first line of a history. */
export interface Build {
  /** Of the contents of every source: it also tells trees apart that no commit names. */
  sources: string;
  /** Of the repository, with `-dirty` where sources differ from it; absent where there is none, as in a tarball. */
  commit?: string;
}

/** The build that lies below `root` now. Reads every source: some 100 ms. */
export function buildOf(root = fileURLToPath(new URL('../../', import.meta.url))): Build {
  const digest = createHash('sha256');
  for (const path of parts.flatMap((part) => filesBelow(root, part)))
    digest.update(`${path}\0`).update(
      createHash('sha256')
        .update(readFileSync(join(root, path)))
        .digest(),
    );
  const sources = digest.digest('hex').slice(0, digestLength);
  // A tarball may lie inside the repository of something else.
  return existsSync(join(root, '.git')) ? { sources, ...commitOf(root) } : { sources };
}

/** In a fixed order, with `/` between folders. */
function filesBelow(root: string, part: string): string[] {
  if (!existsSync(join(root, part))) return [];
  if (part.includes('.')) return [part];
  return readdirSync(join(root, part), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !beside.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length).replaceAll('\\', '/'))
    .map((path) => path.replace(/^\//, ''))
    .toSorted();
}

function commitOf(root: string): { commit?: string } {
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', root, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  try {
    const dirty = git('status', '--porcelain', '--', ...parts) === '' ? '' : '-dirty';
    return { commit: `${git('rev-parse', '--short=12', 'HEAD')}${dirty}` };
  } catch {
    // No git here, or no commit yet: the sources name the build.
    return {};
  }
}
