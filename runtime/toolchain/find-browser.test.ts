import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findBrowser } from './find-browser.ts';
import { plantTree } from './planted-tree.ts';

const saying = (version: string, status = 0) => `#!/bin/sh\necho "${version}"\nexit ${status}\n`;
const real = saying('Chromium 156.0.8078.79 built on Debian GNU/Linux 12 (bookworm)');

/** Programs in a folder of their own, as a PATH has them. */
function plantPrograms(programs: Record<string, string>) {
  const tree = plantTree(programs);
  for (const name of Object.keys(programs)) chmodSync(join(tree.root, name), 0o755);
  return tree;
}

describe('a browser for tests', () => {
  test('is the first of the known programs on PATH, in any of its folders', () => {
    using first = plantPrograms({ 'google-chrome': saying('Google Chrome 150.0.1.2') });
    using second = plantPrograms({ chromium: real });
    const PATH = `${first.root}:/nowhere:${second.root}`;
    expect(findBrowser({ PATH })).toEqual({ kind: 'found', path: join(second.root, 'chromium') });
    expect(findBrowser({ PATH: first.root })).toEqual({
      kind: 'found',
      path: join(first.root, 'google-chrome'),
    });
  });

  test('is the program that EMP_CHROMIUM names, and no other then', () => {
    using tree = plantPrograms({ chromium: real, other: saying('Chromium 140.0.1.2') });
    const PATH = tree.root;
    const named = join(tree.root, 'other');
    expect(findBrowser({ PATH, EMP_CHROMIUM: named })).toEqual({ kind: 'found', path: named });
    const missing = findBrowser({ PATH, EMP_CHROMIUM: join(tree.root, 'none') });
    expect(missing).toMatchObject({
      kind: 'missing',
      reason: expect.stringMatching(
        /^no Chromium here \(.*none cannot be started: .*\): set EMP_CHROMIUM to /,
      ),
    });
  });

  test('is not a script that asks for a snap, nor a snap, which sees no temporary folder', () => {
    using tree = plantPrograms({
      chromium: saying('Chromium 120.0.6099.71 snap'),
      'chromium-browser': saying('Command requires the chromium snap to be installed', 1),
    });
    const found = findBrowser({ PATH: tree.root });
    expect(found).toMatchObject({
      kind: 'missing',
      reason: expect.stringMatching(
        /chromium is a snap, .*chromium-browser is no Chromium: --version says "Command/,
      ),
    });
    using better = plantPrograms({ 'google-chrome': saying('Google Chrome 150.0.1.2') });
    expect(findBrowser({ PATH: `${tree.root}:${better.root}` }).kind).toBe('found');
  });

  test('that is not there is told with what helps', () => {
    expect(findBrowser({ PATH: '/nowhere' })).toEqual({
      kind: 'missing',
      reason: 'no Chromium here: install chromium, or set EMP_CHROMIUM to the path of the program',
    });
  });
});
