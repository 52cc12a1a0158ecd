import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, expect, test } from 'vitest';
import { plantTree } from './planted-tree.ts';
import { repositoryRoot } from './repository.ts';

// One download of Node, pnpm and all packages takes 25 s here; a slow registry may take minutes.
const timeout = 300_000;

/** What the planted `emp` answers: the arguments, folder and Node it was started with. */
interface Answer {
  args: string[];
  cwd: string;
  node: string;
}

const cli =
  'console.log(JSON.stringify({ args: process.argv.slice(2), cwd: process.cwd(), node: process.versions.node }));\n';

const cleanup = new DisposableStack();
// Several whole installations are removed: minutes on a slow disk.
afterAll(() => cleanup.dispose(), 300_000);
/** Shared by all tests but the first to fill it: later installs come from its caches. */
const home = cleanup.use(plantTree({})).root;

/** A clone as it comes, with nothing installed, in a path with a blank. */
function plantClone(): { root: string; elsewhere: string } {
  const tree = cleanup.use(plantTree({ 'a clone/runtime/cli.ts': cli, 'elsewhere/.keep': '' }));
  const root = join(tree.root, 'a clone');
  const frame = ['bootstrap.sh', 'emp', 'emp-dev', 'pinned'].map((name) => `runtime/toolchain/${name}`);
  for (const path of [...frame, 'package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml']) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    cpSync(join(repositoryRoot, path), join(root, path), { recursive: true });
  }
  return { root, elsewhere: join(tree.root, 'elsewhere') };
}

/** PATH of a bare machine: neither our toolchain nor package binaries, as `npm test` has put them there. */
const barePath = (process.env.PATH ?? '')
  .split(':')
  .filter((folder) => !/node_modules|toolchain/.test(folder))
  .join(':');

function start(command: string, args: string[], cwd: string, env: NodeJS.ProcessEnv): ChildProcess {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|EMP_|NODE_COMPILE_CACHE|INIT_CWD)/.test(name),
  );
  return spawn(command, args, {
    cwd,
    env: { ...Object.fromEntries(inherited), PATH: barePath, HOME: home, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function finish(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout!),
    text(child.stderr!),
    new Promise<number | null>((resolve) => child.once('exit', resolve)),
  ]);
  return { code, stdout, stderr };
}

test('two first runs at once both answer, with nothing but the answer on stdout', { timeout }, async () => {
  const { root, elsewhere } = plantClone();
  const link = join(elsewhere, 'emp');
  symlinkSync(join(root, 'runtime/toolchain/emp'), link);
  const byNpm = start('npm', ['run', '-s', 'emp', '--', 'jobs', '--json'], root, { CI: 'true' });
  const byLink = start(link, ['why', 'a job'], elsewhere, {});
  const [npm, linked] = await Promise.all([finish(byNpm), finish(byLink)]);

  expect(npm.code, npm.stderr).toBe(0);
  expect(linked.code, linked.stderr).toBe(0);
  expect(JSON.parse(npm.stdout) as Answer).toMatchObject({ args: ['jobs', '--json'], cwd: root });
  expect(JSON.parse(linked.stdout) as Answer).toMatchObject({ args: ['why', 'a job'], cwd: elsewhere });
  expect(Number((JSON.parse(npm.stdout) as Answer).node.split('.')[0])).toBeGreaterThanOrEqual(24);
  // Exactly one of the two has installed the packages.
  expect(`${npm.stderr}${linked.stderr}`.match(/installing packages/g)).toHaveLength(1);

  const again = await finish(start('npm', ['run', '-s', 'emp', '--', 'jobs'], root, {}));
  expect(again.stderr).toBe('');
  expect(JSON.parse(again.stdout) as Answer).toMatchObject({ args: ['jobs'] });
});

test('a first run that was killed leaves nothing that stops the next one', { timeout }, async () => {
  const { root } = plantClone();
  const first = start('sh', ['runtime/toolchain/emp', 'jobs'], root, {});
  // Its installer is at work once it has made the log; it outlives the shell that is killed here.
  await expect.poll(() => existsSync(join(root, '.toolchain/install.log')), { timeout: 60_000 }).toBe(true);
  first.kill('SIGKILL');
  const second = await finish(start('sh', ['runtime/toolchain/emp', 'jobs'], root, {}));
  expect(second.code, second.stderr).toBe(0);
  expect(JSON.parse(second.stdout) as Answer).toMatchObject({ args: ['jobs'] });
});

test('a toolchain elsewhere serves, and a HOME is not needed', { timeout }, async () => {
  const { root, elsewhere } = plantClone();
  const env = { HOME: undefined, EMP_TOOLCHAIN: join(elsewhere, 'tools') };
  const run = await finish(start('sh', ['runtime/toolchain/emp-dev', 'node', '--version'], root, env));
  expect(run.code, run.stderr).toBe(0);
  expect(run.stdout).toMatch(/^v(2[4-9]|[3-9]\d)\./);
  expect(existsSync(join(root, '.toolchain'))).toBe(false);
});

test('without npm the message says what is needed', async () => {
  const { root, elsewhere } = plantClone();
  for (const tool of [
    'sh',
    'dirname',
    'readlink',
    'cmp',
    'mkdir',
    'flock',
    'ls',
    'uname',
    'rm',
    'cp',
    'mv',
    'cat',
  ]) {
    symlinkSync(join('/usr/bin', tool), join(elsewhere, tool));
  }
  const run = await finish(start('sh', ['runtime/toolchain/emp'], root, { PATH: elsewhere }));
  expect(run.code).toBe(1);
  expect(run.stdout).toBe('');
  expect(run.stderr).toContain(
    'npm is not on PATH. Install Node 20 or newer with npm, or Node >= 24 and pnpm 12.',
  );
});
