import { describe, expect, test } from 'vitest';
import { forbiddenWordProblems } from './forbidden-words.ts';
import { plantTree } from './planted-tree.ts';

// Put together here, because this file is searched as well.
const joined = (...parts: string[]): string => parts.join('');
const person = joined('jane.doe', '@', 'mail.de');
const registry = joined('https://registry', '.npmjs.org/xstate');

describe('refused', () => {
  test.each([
    ['README.md', joined('see /ro', 'ot/notes.txt'), 'a path of one machine'],
    ['docs/a.md', joined('cd /ho', 'me/jane/emp'), 'a path of one machine'],
    ['actors/a.ts', joined("const a = '/wo", "rk/main/a';"), 'a path of one machine'],
    ['runtime/a.ts', `// Ask ${person}.`, 'an e-mail address'],
    ['pnpm-lock.yaml', `tarball: ${registry}`, 'the host of a package registry'],
  ])('%s: %s', (path, text, what) => {
    using tree = plantTree({ [path]: `first line\n${text}\n` });
    expect(forbiddenWordProblems(tree.root)).toEqual([expect.stringMatching(`^${path}:2: .* is ${what}$`)]);
  });
});

describe('allowed', () => {
  test.each([
    ['docs/a.md', 'pnpm@12.21.0 installs commander@15.1.0 and @types/node@24.19.2'],
    ['docs/a.md', 'write to ops@example.com or ops@hub.example'],
    ['runtime/a.ts', "const url = 'redis://user:secret@redis.eu-west.cloud:6379';"],
    ['docker/Dockerfile', joined('WORKDIR /ro', 'ot/ComfyUI')],
    ['actors/paths.test.ts', joined("expect(guard('/ho", "me/x/y')).toThrow();")],
    ['docs/a.md', 'files under out/work/ and docs/root/'],
  ])('%s: %s', (path, text) => {
    using tree = plantTree({ [path]: `${text}\n` });
    expect(forbiddenWordProblems(tree.root)).toEqual([]);
  });

  test('anything in a binary file, and in what was installed', () => {
    using tree = plantTree({ 'runtime/a.bin': `\0${person}`, 'node_modules/a/package.json': person });
    expect(forbiddenWordProblems(tree.root)).toEqual([]);
  });
});
