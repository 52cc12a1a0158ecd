import { readText, sourceFiles } from './source-tree.ts';

interface ForbiddenWord {
  what: string;
  pattern: RegExp;
  /** Files in which it is refused. */
  where: (path: string) => boolean;
}

const everywhere = () => true;
const isLock = (path: string) => /(^|\/)(pnpm-lock\.yaml|package-lock\.json)$/.test(path);

/**
 * What ties the repository to one machine or one person. Images have folders of their own below
 * /home and /root, and tests of path guards name such paths, so these are refused in prose only.
 */
const forbiddenWords: ForbiddenWord[] = [
  {
    what: 'a path of one machine',
    pattern: /(?:\/work\/(?:main|shared)|\/tmp\/brief)\b|\bfile:\/\/\/(?:home|root|Users)\//g,
    where: everywhere,
  },
  {
    what: 'a path of one machine',
    pattern: /(?<![\w.~-])\/(?:root|home\/[\w-]+|Users\/[\w-]+)\/[\w.-]+/g,
    where: (path) => path.endsWith('.md'),
  },
  {
    what: 'an e-mail address',
    pattern:
      /(?<![\w:/.+-])[a-z0-9][\w.+-]*@(?:[a-z0-9-]+\.)+[a-z]{2,}\b(?<!@(?:[\w-]+\.)*(?:example(?:\.[a-z]+)?|invalid|test|local|internal))/gi,
    where: (path) => !isLock(path),
  },
  {
    what: 'the host of a package registry',
    pattern:
      /\b(?:registry|npm|pypi|crates|proxy)\.(?:npmjs|yarnpkg|jsr|golang|python)\.[a-z]{2,}\b|\bdeb\.debian\.org\b/g,
    where: everywhere,
  },
];

/** One line for each place that names a machine's path, a person's address or a registry's host. */
export function forbiddenWordProblems(root: string): string[] {
  return sourceFiles(root).flatMap((path) => {
    const text = readText(root, path);
    if (text === undefined) return [];
    return forbiddenWords
      .filter((word) => word.where(path))
      .flatMap(({ what, pattern }) =>
        [...text.matchAll(pattern)].map((match) => {
          const line = text.slice(0, match.index).split('\n').length;
          return `${path}:${line}: ${match[0]} is ${what}`;
        }),
      );
  });
}
