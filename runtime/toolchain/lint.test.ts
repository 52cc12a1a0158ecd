import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lintViolations, wellBehaved } from './lint-cases.ts';
import { importViolations } from './lint-import-cases.ts';
import { repositoryRoot } from './repository.ts';

const violations = [...importViolations, ...lintViolations];

interface Diagnostic {
  category: string;
  message: string;
  location: { path: string };
}

let folder: string;
let found: Diagnostic[];

/** Lints all planted files at once, with the repository's own configuration. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'emp-lint-'));
  for (const path of ['.biome.jsonc', 'package.json', 'runtime/toolchain/lint']) {
    cpSync(join(repositoryRoot, path), join(folder, path), { recursive: true });
  }
  const files = [...violations, ...wellBehaved].flatMap((each) => Object.entries(each.files));
  for (const [path, text] of files) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const biome = join(repositoryRoot, 'node_modules/.bin/biome');
  const options = ['--vcs-enabled=false', '--max-diagnostics=none', '--reporter=json'];
  const run = spawnSync(biome, ['lint', ...options, '.'], { cwd: folder, encoding: 'utf8' });
  found = (JSON.parse(run.stdout) as { diagnostics: Diagnostic[] }).diagnostics;
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function foundIn(files: Record<string, string>): string[] {
  return found
    .filter((each) => Object.keys(files).includes(each.location.path))
    .map((each) => `${each.category}: ${each.message}`);
}

describe('lint refuses', () => {
  test.each(violations)('$name', ({ files, rule, says }) => {
    const hits = foundIn(files).filter((hit) => hit.startsWith(`${rule}: `) && hit.includes(says));
    expect(hits, `diagnostics: ${foundIn(files).join('\n')}`).not.toEqual([]);
  });
});

describe('lint allows', () => {
  test.each(wellBehaved)('$name', ({ files }) => {
    expect(foundIn(files)).toEqual([]);
  });
});
