import { expect, test } from 'vitest';
import { errorCodeProblems, linkProblems } from './docs-check.ts';
import { plantTree } from './planted-tree.ts';

test('links to files, folders, headings and the web pass', () => {
  using tree = plantTree({
    'README.md': [
      '[a](docs/a.md) ![b](docs/b.png) [c](docs) [d](docs/a.md#the-second-part) [e](#here-it-is)',
      '[f](https://example.org/x) [g](docs/a.md#the-second-part-1) [h][ref]',
      '[ref]: docs/a.md',
      '## Here it is',
    ].join('\n'),
    'docs/a.md': '# A\n\n## The `second` part\n\n## The second part\n\n[up](../README.md)',
    'docs/b.png': '',
  });
  expect(linkProblems(tree.root)).toEqual([]);
});

test('a missing file, a missing heading, a missing reference and a way out of the repository are named', () => {
  using tree = plantTree({
    'README.md': '[a](docs/gone.md)\n[b](docs/a.md#gone)\n[c](../outside.md)\n\n[ref]: docs/also-gone.md\n',
    'docs/a.md': '# A',
  });
  expect(linkProblems(tree.root)).toEqual([
    'README.md: docs/gone.md does not exist',
    'README.md: docs/a.md#gone names no heading of docs/a.md',
    'README.md: ../outside.md does not exist',
    'README.md: docs/also-gone.md does not exist',
  ]);
});

test('a link inside code is an example, not a link', () => {
  using tree = plantTree({
    'README.md': 'Write `[a](gone.md)`.\n\n```md\n[a](gone.md)\n# no heading\n```\n',
  });
  expect(linkProblems(tree.root)).toEqual([]);
});

const notFound = { status: 404, retryable: false };
const timeout = { status: 504, retryable: true };

test('a page that lists exactly the codes passes, whatever else it speaks of', () => {
  using tree = plantTree({
    'docs/errors.md':
      '| code | HTTP | retry | meaning |\n|---|---|---|---|\n| `NOT_FOUND` | 404 | no | gone |\n\nSet `REDIS_URL`.\n',
  });
  expect(errorCodeProblems(tree.root, { NOT_FOUND: notFound })).toEqual([]);
});

test('a code that the page forgets, one that does not exist and one with other facts are named', () => {
  using tree = plantTree({
    'docs/errors.md': '| `NOT_FOUND` | 410 | no | gone |\n| `OLD_CODE` | 400 | no | old |\n',
  });
  expect(errorCodeProblems(tree.root, { NOT_FOUND: notFound, TIMEOUT: timeout })).toEqual([
    'docs/errors.md says "410, no" of NOT_FOUND, which has "404, no"',
    'docs/errors.md does not list TIMEOUT (504, yes)',
    'docs/errors.md lists OLD_CODE, which does not exist',
  ]);
});

test('a repository without the page of error codes is told so', () => {
  using tree = plantTree({});
  expect(errorCodeProblems(tree.root, {})).toEqual(['docs/errors.md is missing: it lists every error code']);
});
