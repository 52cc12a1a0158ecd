import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { buildOf } from './build.ts';

/** A tree with one source of a hub. */
function setup() {
  const root = mkdtempSync(join(tmpdir(), 'emp-build-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const write = (path: string, text: string) => {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  write('runtime/hub/beat.ts', 'one');
  write('package.json', '{}');
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', root, '-c', 'user.name=t', '-c', 'user.email=t@localhost', ...args]);
  return { root, write, git };
}

test('equal sources are one build, wherever they lie', () => {
  const [a, b] = [setup(), setup()];
  expect(buildOf(a.root)).toEqual(buildOf(b.root));
  expect(buildOf(a.root)).toEqual({ sources: expect.stringMatching(/^[0-9a-f]{12}$/) });
});

test.each([
  ['a changed source', 'runtime/hub/beat.ts', 'two'],
  ['a new source', 'protocol/redis/beat.lua', 'one'],
  ['another dependency', 'pnpm-lock.yaml', 'one'],
])('%s is another build', (_name, path, text) => {
  const { root, write } = setup();
  const before = buildOf(root).sources;
  write(path, text);
  expect(buildOf(root).sources).not.toBe(before);
});

test.each(['runtime/hub/beat.test.ts', 'docs/hub.md', 'simulations/world.ts', 'runtime/notes.md'])(
  '%s is no part of it',
  (path) => {
    const { root, write } = setup();
    const before = buildOf(root);
    write(path, 'x');
    expect(buildOf(root)).toEqual(before);
  },
);

test('a moved source is another build', () => {
  const [a, b] = [setup(), setup()];
  a.write('machines/x.ts', 'same');
  b.write('machines/y.ts', 'same');
  expect(buildOf(a.root).sources).not.toBe(buildOf(b.root).sources);
});

test('in a repository the commit is named, and that sources differ from it', () => {
  const { root, write, git } = setup();
  git('init', '-q');
  expect(buildOf(root).commit).toBeUndefined();
  git('add', '.');
  git('commit', '-q', '-m', 'x');
  expect(buildOf(root).commit).toMatch(/^[0-9a-f]{12}$/);
  write('docs/hub.md', 'no source');
  expect(buildOf(root).commit).toMatch(/^[0-9a-f]{12}$/);
  write('runtime/hub/beat.ts', 'two');
  expect(buildOf(root).commit).toMatch(/^[0-9a-f]{12}-dirty$/);
});
