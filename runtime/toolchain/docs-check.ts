import { existsSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { ERROR_CODES } from '#protocol/errors.ts';
import { readText, sourceFiles } from './source-tree.ts';

/** One line for each link in a Markdown file that leads nowhere; addresses on the web are not fetched. */
export function linkProblems(root: string): string[] {
  return sourceFiles(root)
    .filter((path) => path.endsWith('.md'))
    .flatMap((path) => {
      const text = readText(root, path) ?? '';
      return linkTargets(text)
        .filter((target) => !/^[a-z][a-z0-9+.-]*:/i.test(target))
        .flatMap((target) => linkProblem(root, path, target));
    });
}

function linkProblem(root: string, from: string, target: string): string[] {
  const [file = '', anchor] = decodeURIComponent(target).split('#', 2);
  const path = file === '' ? from : normalize(join(dirname(from), file));
  if (path.startsWith('..') || !existsSync(join(root, path))) return [`${from}: ${target} does not exist`];
  if (anchor === undefined || anchor === '') return [];
  if (!path.endsWith('.md') || statSync(join(root, path)).isDirectory()) return [];
  if (headingAnchors(readText(root, path) ?? '').has(anchor)) return [];
  return [`${from}: ${target} names no heading of ${path}`];
}

const withoutCode = (text: string): string =>
  text.replace(/^(```|~~~)[\s\S]*?^\1/gm, '').replace(/`[^`\n]*`/g, '');

/** Targets of inline links and images, and of reference definitions, outside of code. */
function linkTargets(text: string): string[] {
  const plain = withoutCode(text);
  const inline = [...plain.matchAll(/\]\(\s*<?([^\s)>]+)>?(?:\s+"[^"]*")?\s*\)/g)];
  const references = [...plain.matchAll(/^\s{0,3}\[[^\]]+\]:\s+<?(\S+?)>?\s*$/gm)];
  return [...inline, ...references].flatMap((match) => match[1] ?? []);
}

/** Anchors as code hosts derive them: lower case, punctuation dropped, blanks to dashes, repeats numbered. */
function headingAnchors(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const match of text.replace(/^(```|~~~)[\s\S]*?^\1/gm, '').matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const base = (match[1] ?? '')
      .toLowerCase()
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-');
    let anchor = base;
    for (let repeat = 1; anchors.has(anchor); repeat += 1) anchor = `${base}-${repeat}`;
    anchors.add(anchor);
  }
  return anchors;
}

const errorsPage = 'docs/errors.md';

interface ErrorFacts {
  status: number;
  retryable: boolean;
}

/**
 * docs/errors.md and `ERROR_CODES` tell the same: a table row `| CODE | status | yes or no | …`, the
 * code in backticks, for each code and for no other. Elsewhere the page may speak of anything.
 */
export function errorCodeProblems(root: string, codes: Record<string, ErrorFacts> = ERROR_CODES): string[] {
  if (!existsSync(join(root, errorsPage))) return [`${errorsPage} is missing: it lists every error code`];
  const text = readText(root, errorsPage) ?? '';
  const rows = text.matchAll(/^\|\s*`([A-Z][A-Z0-9_]*)`\s*\|([^|\n]*)\|([^|\n]*)\|/gm);
  const listed = new Map(
    [...rows].map(([, code = '', status = '', retry = '']) => [code, `${status.trim()}, ${retry.trim()}`]),
  );
  const wrong = Object.entries(codes).flatMap(([code, { status, retryable }]) => {
    const facts = `${status}, ${retryable ? 'yes' : 'no'}`;
    const told = listed.get(code);
    if (told === undefined) return [`${errorsPage} does not list ${code} (${facts})`];
    return told === facts ? [] : [`${errorsPage} says "${told}" of ${code}, which has "${facts}"`];
  });
  const unknown = [...listed.keys()].filter((code) => codes[code] === undefined);
  return [...wrong, ...unknown.map((code) => `${errorsPage} lists ${code}, which does not exist`)];
}
