import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where a browser is looked for on PATH, in this order. */
const programs = ['chromium', 'chromium-browser', 'google-chrome'];

export type FoundBrowser = { kind: 'found'; path: string } | { kind: 'missing'; reason: string };

/**
 * Chromium for the browser tests: `EMP_CHROMIUM` and nothing else where it is set, otherwise the first
 * program on PATH that serves. Nothing is downloaded.
 */
export function findBrowser(env: NodeJS.ProcessEnv = process.env): FoundBrowser {
  const wanted = env.EMP_CHROMIUM;
  const tried = wanted ? [wanted] : onPath(env.PATH ?? '');
  const refused: string[] = [];
  for (const path of tried) {
    const problem = problemOf(path);
    if (problem === null) return { kind: 'found', path };
    refused.push(`${path} ${problem}`);
  }
  const why = refused.length === 0 ? '' : ` (${refused.join('; ')})`;
  const install = wanted ? '' : 'install chromium, or ';
  return {
    kind: 'missing',
    reason: `no Chromium here${why}: ${install}set EMP_CHROMIUM to the path of the program`,
  };
}

/** Why tests in a browser cannot run here; null where they can. */
export function missingBrowser(): string | null {
  const browser = findBrowser();
  return browser.kind === 'found' ? null : browser.reason;
}

/** Paths of the known programs, as a shell would find them. */
function onPath(path: string): string[] {
  const folders = path.split(delimiter).filter((folder) => folder !== '');
  return programs.flatMap((program) => {
    const found = folders.map((folder) => join(folder, program)).find(isExecutable);
    return found === undefined ? [] : [found];
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
}

/** Why a program is of no use; null where it is a Chromium that sees our files. */
function problemOf(path: string): string | null {
  const run = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 20_000 });
  if (run.error) return `cannot be started: ${run.error.message}`;
  const said = run.stdout.trim();
  // Ubuntu's package is a script that asks for the snap.
  if (run.status !== 0 || !/^(Chromium|Google Chrome)\b.* \d+\./.test(said))
    return `is no Chromium: --version says ${JSON.stringify(said || run.stderr.trim().slice(0, 200))}`;
  return / snap$/.test(said) ? 'is a snap, which cannot read temporary folders' : null;
}
