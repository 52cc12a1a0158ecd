import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { plantTree } from './planted-tree.ts';
import { repositoryRoot } from './repository.ts';
import { sourceFiles } from './source-tree.ts';

const passing = "import { expect, test } from 'vitest';\n\ntest('adds', () => expect(1 + 1).toBe(2));\n";

/** What the frame needs of a repository, without its tests; `files` come on top. */
function plantRepository(files: Record<string, string>) {
  const tree = plantTree({
    'README.md': '# A repository\n',
    'docs/errors.md': '| `NOT_FOUND` | 404 | no | gone |\n',
    'protocol/errors.ts': 'export const ERROR_CODES = { NOT_FOUND: { status: 404, retryable: false } };\n',
    'protocol/sum.test.ts': passing,
    'runtime/sum.process.test.ts': passing,
    ...files,
  });
  const frame = sourceFiles(repositoryRoot, 'runtime/toolchain').filter((path) => !path.endsWith('.test.ts'));
  for (const path of [...frame, '.biome.jsonc', '.gitignore', 'package.json', 'tsconfig.json']) {
    mkdirSync(join(tree.root, dirname(path)), { recursive: true });
    cpSync(join(repositoryRoot, path), join(tree.root, path));
  }
  symlinkSync(join(repositoryRoot, 'node_modules'), join(tree.root, 'node_modules'));
  return tree;
}

/** Runs `npm test`'s program there as it runs outside CI. */
function runTests(root: string) {
  const { CI: _, EMP_REPEAT: __, EMP_TALLY: ___, ...env } = process.env;
  const run = spawnSync(process.execPath, ['runtime/toolchain/run-tests.ts'], {
    cwd: root,
    env,
    encoding: 'utf8',
  });
  return {
    status: run.status,
    stdout: run.stdout,
    output: `${run.stdout}\n${run.stderr}`,
    lastLine: run.stdout.trimEnd().split('\n').at(-1),
  };
}

// 6 checks, 2 tiers, 2 tests; the system packages are the one skip.
test('a sound repository passes, and the last line is the total', () => {
  using tree = plantRepository({});
  const { status, stdout, output, lastLine } = runTests(tree.root);
  expect(lastLine, output).toBe('10 passed, 0 failed, 1 skipped');
  expect(status).toBe(0);
  expect(stdout).toContain('system packages: installed only with CI=true');
});

test('failing tests, files that do not load and bad checks are counted and named', () => {
  using tree = plantRepository({
    'protocol/wrong.test.ts': passing.replace('toBe(2)', 'toBe(3)').replace('adds', 'adds wrongly'),
    'protocol/broken.test.ts': "import './not-there.ts';\n",
    'stray.txt': '',
    'docs/errors.md': '| `GONE` | 410 | no | gone |\n',
  });
  const { status, stdout, output, lastLine } = runTests(tree.root);
  // Failed: 2 tests and 4 steps: types (the missing import), root layout, error codes, unit tests.
  expect(stdout).toContain('   protocol/wrong.test.ts > adds wrongly\n');
  expect(stdout).toContain('   protocol/broken.test.ts > outside of its tests\n');
  expect(stdout).toContain('docs/errors.md does not list NOT_FOUND');
  expect(stdout).toContain('stray.txt: the root holds only');
  expect(lastLine, output).toBe('6 passed, 6 failed, 1 skipped');
  expect(status).toBe(1);
});

test('a skip is listed with its reason; one without a reason fails its tier', () => {
  const skipping = (call: string) =>
    `import { expect, test } from 'vitest';\n\ntest('needs a part', (context) => {\n  ${call};\n  expect(1).toBe(1);\n});\n`;
  using tree = plantRepository({
    'protocol/a.test.ts': skipping("context.skip('no GPU on this machine')"),
    'runtime/b.process.test.ts': skipping('context.skip()'),
  });
  const { status, stdout, output, lastLine } = runTests(tree.root);
  expect(stdout).toContain('   protocol/a.test.ts > needs a part: no GPU on this machine\n');
  expect(stdout).toContain('runtime/b.process.test.ts > needs a part is skipped without a reason');
  expect(lastLine, output).toBe('9 passed, 1 failed, 3 skipped');
  expect(status).toBe(1);
});

test('a tier without tests has failed', () => {
  using tree = plantRepository({
    'runtime/sum.process.test.ts': "import { test } from 'vitest';\n\ntest.todo('a');\n",
  });
  const { status, stdout, output, lastLine } = runTests(tree.root);
  expect(stdout).toContain('not one test ran');
  expect(lastLine, output).toBe('8 passed, 1 failed, 2 skipped');
  expect(status).toBe(1);
});
