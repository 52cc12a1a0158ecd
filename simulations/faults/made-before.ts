import { existsSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { EmpError } from '#protocol/errors.ts';
import { checkHistory, type Verdict } from './checker.ts';
import type { Fault } from './fault.ts';
import { readHistory } from './history.ts';
import { historyPath, settingsOf } from './standing.ts';

/**
 * The verdict on a history that lies there already; null where the run is to be made: there is none, it
 * was cut, it is of other jobs, seeds or settings, or it is not clean when it is checked again. Of which
 * build it is does not matter: the table tells the builds of a row.
 */
export function madeBefore(options: {
  fault: Fault;
  fresh: boolean;
  outDir: string;
  run: number;
  seed: number;
  jobs: number;
}): Verdict | null {
  const { fault, run, seed, jobs } = options;
  const path = historyPath(options.outDir, run);
  if (!existsSync(path)) return null;
  try {
    const lines = readHistory(path);
    const [meta] = lines;
    if (meta?.kind !== 'meta') return null;
    const asked = settingsOf(options);
    // Histories of former versions say nothing of the times of hubs.
    const settings = { hub: asked['hub'], ...meta.settings };
    const said = { fault: meta.fault, run: meta.run, seed: meta.seed, jobs: meta.jobs, settings };
    if (!isDeepStrictEqual(said, { fault: fault.name, run, seed, jobs, settings: asked })) return null;
    const verdict = checkHistory(lines);
    return verdict.ok ? verdict : null;
  } catch (error) {
    // Cut, or of another format: it was interrupted, or another version wrote it.
    if (error instanceof EmpError && error.code === 'VALIDATION_FAILED') return null;
    throw error;
  }
}
