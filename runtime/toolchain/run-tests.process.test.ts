import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { plantTree } from './planted-tree.ts';
import { repositoryRoot } from './repository.ts';
import { sourceFiles } from './source-tree.ts';
import { tiers } from './tiers.ts';

const passing = "import { expect, test } from 'vitest';\n\ntest('adds', () => expect(1 + 1).toBe(2));\n";

/** What the frame needs of a repository, without its tests; `files` come on top. */
function plantRepository(files: Record<string, string>) {
  const tree = plantTree({
    'README.md': '# A repository\n',
    'docs/errors.md': '| `NOT_FOUND` | 404 | no | gone |\n',
    'protocol/errors.ts': 'export const ERROR_CODES = { NOT_FOUND: { status: 404, retryable: false } };\n',
    ...Object.fromEntries(tiers.map(({ suffix }) => [`protocol/sum${suffix}`, passing])),
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
function runTests(root: string, variables: NodeJS.ProcessEnv = {}, program = 'run-tests.ts') {
  const { CI: _, EMP_REPEAT: __, EMP_TALLY: ___, ...env } = process.env;
  const run = spawnSync(process.execPath, [`runtime/toolchain/${program}`], {
    cwd: root,
    env: { ...env, ...variables },
    encoding: 'utf8',
  });
  return {
    status: run.status,
    stdout: run.stdout,
    output: `${run.stdout}\n${run.stderr}`,
    lastLine: run.stdout.trimEnd().split('\n').at(-1),
  };
}

/** Tiers that this machine can run: each is a step that passes, with one test that passes. */
const running = tiers.filter((tier) => (tier.missing?.() ?? null) === null).length;
/** The system packages, further Redis servers, and tiers that this machine cannot run. */
const skips = 2 + tiers.length - running;
const checks = 6;

function total(over: { passed?: number; failed?: number; skipped?: number } = {}): string {
  const { passed = 0, failed = 0, skipped = 0 } = over;
  return `${checks + 2 * running + passed} passed, ${failed} failed, ${skips + skipped} skipped`;
}

test('a sound repository passes, and the last line is the total', () => {
  using tree = plantRepository({});
  const { status, stdout, output, lastLine } = runTests(tree.root);
  expect(lastLine, output).toBe(total());
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
  expect(stdout).toContain('   protocol/wrong.test.ts > adds wrongly: expected 2 to be 3');
  expect(stdout).toMatch(/^ {3}protocol\/broken\.test\.ts > outside of its tests: .*not-there\.ts/m);
  expect(stdout).toContain('docs/errors.md does not list NOT_FOUND');
  expect(stdout).toContain('stray.txt: the root holds only');
  expect(lastLine, output).toBe(total({ passed: -4, failed: 6 }));
  expect(status).toBe(1);
});

test('a skip is listed with its reason; one without a reason fails its tier', () => {
  const skipping = (call: string) =>
    `import { expect, test } from 'vitest';\n\ntest('needs a part', (context) => {\n  ${call};\n  expect(1).toBe(1);\n});\n`;
  using tree = plantRepository({
    'protocol/a.test.ts': skipping("context.skip('no GPU on this machine')"),
    'protocol/b.process.test.ts': skipping('context.skip()'),
  });
  const { status, stdout, output, lastLine } = runTests(tree.root);
  expect(stdout).toContain('   protocol/a.test.ts > needs a part: no GPU on this machine\n');
  expect(stdout).toContain('protocol/b.process.test.ts > needs a part is skipped without a reason');
  expect(lastLine, output).toBe(total({ passed: -1, failed: 1, skipped: 2 }));
  expect(status).toBe(1);
});

test('a tier whose server or browser is not installed, or that is for CI, is skipped as a whole, with the reason', () => {
  using tree = plantRepository({});
  const none = `${tree.root}/none`;
  const { status, stdout, output } = runTests(tree.root, { EMP_REDIS_SERVER: none, EMP_CHROMIUM: none });
  expect(stdout).toMatch(/^ {3}redis tests: no redis-server /m);
  expect(stdout).toMatch(/^ {3}browser tests: no Chromium here .* set EMP_CHROMIUM /m);
  expect(stdout).toMatch(/^ {3}postgres tests: takes minutes; run with CI=true, or by npm run test:one/m);
  expect(stdout, output).not.toMatch(/^== (redis|postgres|browser) tests/m);
  expect(status).toBe(0);
});

test('a further Redis server that cannot be had is skipped with the reason, and nothing at all is no success', () => {
  using tree = plantRepository({});
  const variables = { EMP_TEST_SERVERS: 'installed' };
  const { status, stdout, lastLine } = runTests(tree.root, variables, 'run-redis-matrix.ts');
  expect(stdout).toContain('   redis suite on redis-8: EMP_TEST_SERVERS=installed forbids');
  expect(stdout).toContain('   redis suite on valkey-8: EMP_TEST_SERVERS=installed forbids');
  expect(stdout).not.toContain('suite ran on');
  expect(lastLine).toMatch(/^0 passed, 0 failed, [23] skipped$/);
  expect(status).toBe(1);
});

test('a tier without tests has failed', () => {
  using tree = plantRepository({
    'protocol/sum.process.test.ts': "import { test } from 'vitest';\n\ntest.todo('a');\n",
  });
  const { status, stdout, output, lastLine } = runTests(tree.root);
  expect(stdout).toContain('not one test ran');
  expect(lastLine, output).toBe(total({ passed: -2, failed: 1, skipped: 1 }));
  expect(status).toBe(1);
});
