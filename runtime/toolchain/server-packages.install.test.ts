import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { plantTree } from './planted-tree.ts';
import { repositoryRoot } from './repository.ts';

/** Asks for the Redis of this machine's packages in a process of its own, with its toolchain in `root`. */
const ask = `
  import { redisPackages, unpackedServers } from './runtime/toolchain/server-packages.ts';
  console.log(JSON.stringify(unpackedServers(redisPackages)));`;
const argumentsOf = (text: string) => ['--input-type=module', '--eval', text];

function asked(root: string, { under = [], env = {} }: { under?: string[]; env?: NodeJS.ProcessEnv } = {}) {
  const [program = '', ...args] = [...under, process.execPath, ...argumentsOf(ask)];
  const run = spawnSync(program, args, {
    cwd: repositoryRoot,
    encoding: 'utf8',
    env: { ...process.env, EMP_TEST_SERVERS: '', EMP_TOOLCHAIN: root, ...env },
  });
  return { answer: run.stdout === '' ? run.stderr : JSON.parse(run.stdout), stderr: run.stderr };
}

/** The same without waiting for its end. */
async function askedBeside(root: string) {
  const child = spawn(process.execPath, argumentsOf(ask), {
    cwd: repositoryRoot,
    env: { ...process.env, EMP_TEST_SERVERS: '', EMP_TOOLCHAIN: root },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await once(child, 'close');
  return JSON.parse(said);
}

/** Open to all users, or root would use the system's cache instead. */
function openTree(files: Record<string, string> = {}): ReturnType<typeof plantTree> {
  const tree = plantTree(files);
  chmodSync(tree.root, 0o755);
  return tree;
}

const hasApt = spawnSync('apt-get', ['--version']).error === undefined;

describe('packages of servers', () => {
  beforeEach((context) => {
    if (!hasApt) context.skip('this system has no apt');
  });

  test('are unpacked once by two runs at once, recorded, and run', async () => {
    using tree = openTree();
    const [one, other] = await Promise.all([askedBeside(tree.root), askedBeside(tree.root)]);
    expect(one.kind, one.reason).toBe('unpacked');
    // The record has no time in it, but the files have: a second unpacking would show.
    expect(other).toEqual(one);
    const names = one.record.packages.map((each: { name: string }) => each.name);
    expect(names).toContain('redis-server');
    expect(names).not.toContain('libc6');
    const program = join(one.bin, 'redis-server');
    expect(spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout).toMatch(/^\w+ server v=\d/);
    expect(existsSync(`${one.bin}/../../redis.new`)).toBe(false);
  });

  test('of another definition are unpacked again', () => {
    using tree = openTree({
      'servers/redis/unpacked.json': JSON.stringify({ revision: 0, set: {}, packages: [] }),
    });
    const { answer } = asked(tree.root);
    expect(answer.kind, answer.reason).toBe('unpacked');
    const record = JSON.parse(readFileSync(join(tree.root, 'servers/redis/unpacked.json'), 'utf8'));
    expect(record.packages.length).toBeGreaterThan(3);
  });

  test('are not fetched without a network, which is told with what could not be reached', (context) => {
    if (spawnSync('unshare', ['--net', 'true']).status !== 0)
      context.skip('this user may not make a network of its own');
    using tree = openTree();
    const { answer } = asked(tree.root, { under: ['unshare', '--net'] });
    expect(answer).toEqual({
      kind: 'missing',
      reason: expect.stringMatching(/^apt cannot give redis-server by .*(fetch|resolv|connect|lists)/),
    });
    expect(existsSync(join(tree.root, 'servers/redis'))).toBe(false);
    // The next to ask is told the same without another try, until the note is old.
    expect(asked(tree.root).answer).toEqual(answer);
    utimesSync(join(tree.root, 'servers/redis.failed'), 0, 0);
    expect(asked(tree.root).answer.kind).toBe('unpacked');
  });
});

test('a system without apt is told so', () => {
  using tree = openTree();
  mkdirSync(join(tree.root, 'bin'));
  const flock = spawnSync('sh', ['-c', 'command -v flock'], { encoding: 'utf8' }).stdout.trim();
  symlinkSync(flock, join(tree.root, 'bin/flock'));
  const { answer } = asked(tree.root, { env: { PATH: join(tree.root, 'bin') } });
  expect(answer).toEqual({ kind: 'missing', reason: 'this system has no apt-get' });
});

test('EMP_TEST_SERVERS=installed unpacks nothing, and what it does not know is refused', () => {
  using tree = openTree();
  const only = asked(tree.root, { env: { EMP_TEST_SERVERS: 'installed' } });
  expect(only.answer).toEqual({ kind: 'missing', reason: expect.stringContaining('EMP_TEST_SERVERS') });
  expect(existsSync(join(tree.root, 'servers'))).toBe(false);
  const wrong = asked(tree.root, { env: { EMP_TEST_SERVERS: 'none' } });
  expect(wrong.stderr).toContain('EMP_TEST_SERVERS is none: set it to installed or unpacked');
});
