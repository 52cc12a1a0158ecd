import { readdirSync } from 'node:fs';
import { sourceFolders } from './tiers.ts';

const rootFiles = [
  'package.json',
  'pnpm-lock.yaml',
  'pnpm-workspace.yaml',
  'tsconfig.json',
  'README.md',
  'LICENSE',
];
const ignored = ['node_modules', 'out'];
const allowed = new Set([...sourceFolders, ...rootFiles, 'docs', ...ignored]);

/** One line for each entry of the root that does not belong there; dotfiles always may. */
export function rootLayoutProblems(root: string): string[] {
  return readdirSync(root)
    .filter((name) => !allowed.has(name) && !name.startsWith('.') && !name.endsWith('.log'))
    .map(
      (name) => `${name}: the root holds only ${sourceFolders.join(', ')}, docs and the project's own files`,
    );
}
