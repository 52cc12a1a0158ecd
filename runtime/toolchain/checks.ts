import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runChild } from './child.ts';
import { errorCodeProblems, linkProblems } from './docs-check.ts';
import { forbiddenWordProblems } from './forbidden-words.ts';
import { repositoryRoot } from './repository.ts';
import { rootLayoutProblems } from './root-layout.ts';

/** A check of the files as they stand, without running any of them. */
export interface Check {
  name: string;
  /** Lines that say what is wrong; empty where it passes. A command prints its own findings. */
  problems: () => Promise<string[]>;
}

/** Limit of one command, ms: tsc, the longest, takes ten seconds, and several times that beside other work. */
const budgetMs = 120_000;

async function command(name: string, ...args: string[]): Promise<string[]> {
  const bin = join(repositoryRoot, 'node_modules/.bin', name);
  const end = await runChild({ command: bin, args, cwd: repositoryRoot, budgetMs });
  if (end.overran) return [`${name} was killed after ${budgetMs / 1000} s`];
  return end.code === 0 ? [] : [`${name} ended with ${end.code ?? 'a signal'}, see above`];
}

async function typeProblems(): Promise<string[]> {
  // The console is for browsers and has its own configuration.
  const projects = ['.', 'runtime/console'].filter((path) =>
    existsSync(join(repositoryRoot, path, 'tsconfig.json')),
  );
  const problems: string[] = [];
  for (const project of projects) problems.push(...(await command('tsc', '-p', project)));
  return problems;
}

// Biome colours its output even where nobody sees it.
const biomeOptions = [
  '--error-on-warnings',
  '--max-diagnostics=50',
  `--colors=${process.stdout.isTTY ? 'force' : 'off'}`,
];

export const checks: Check[] = [
  { name: 'lint and format', problems: () => command('biome', 'ci', ...biomeOptions, '.') },
  { name: 'types', problems: typeProblems },
  { name: 'root layout', problems: async () => rootLayoutProblems(repositoryRoot) },
  { name: 'links in documents', problems: async () => linkProblems(repositoryRoot) },
  { name: 'error codes in docs/errors.md', problems: async () => errorCodeProblems(repositoryRoot) },
  {
    name: 'no machine, person or registry named',
    problems: async () => forbiddenWordProblems(repositoryRoot),
  },
];
