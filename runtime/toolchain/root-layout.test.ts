import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { plantTree } from './planted-tree.ts';
import { rootLayoutProblems } from './root-layout.ts';

test('the six folders, docs, the named files and dotfiles may stand in the root', () => {
  using tree = plantTree({
    'protocol/a.ts': '',
    'docker/Dockerfile': '',
    'docs/a.md': '',
    'README.md': '',
    'pnpm-workspace.yaml': '',
    '.biome.jsonc': '',
    'node_modules/a/index.js': '',
  });
  expect(rootLayoutProblems(tree.root)).toEqual([]);
});

test('a seventh folder and a stray file are named', () => {
  using tree = plantTree({ 'protocol/a.ts': '' });
  mkdirSync(join(tree.root, 'src'));
  writeFileSync(join(tree.root, 'vitest.config.ts'), '');
  expect(rootLayoutProblems(tree.root).map((problem) => problem.split(':')[0])).toEqual([
    'src',
    'vitest.config.ts',
  ]);
});
