import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * The Lua of the claim protocol as text: one file an atomic step, five files of shared functions in
 * front of each. The same body runs as a function of the library and as a script of its own.
 */

/** Names carry the major version, so that two majors can be loaded while hubs are replaced. */
export const libraryName = 'emp1';
/** Rises with every change of the Lua within a major; a library of a higher revision is never replaced. */
export const libraryRevision = 23;

const sharedFiles = ['lib-step', 'lib-lanes', 'lib-machines', 'lib-entries', 'lib-batch'] as const;
/** Shared functions that one step alone needs: as a script the others would define them in each call. */
const ownFiles: Partial<Record<StepName, readonly string[]>> = { turns: ['lib-ends', 'lib-heads'] };

export const stepNames = [
  'beat',
  'cancel',
  'claim',
  'complete',
  'enrol',
  'events',
  'exit',
  'identity',
  'inspect',
  'lapsed',
  'leave',
  'list',
  'pass-wake',
  'progress',
  'promote',
  'reconcile-finish',
  'reconcile-start',
  'repair',
  'shorten',
  'stats',
  'submit',
  'trim-events',
  'turns',
] as const;
export type StepName = (typeof stepNames)[number];

/** A full server refuses new jobs, and only those: everything else must be able to drain it. */
const refusedWhenFull: ReadonlySet<StepName> = new Set(['submit']);

export function luaFile(name: string): string {
  return readFileSync(new URL(`./${name}.lua`, import.meta.url), 'utf8');
}

export function functionName(step: StepName): string {
  return `${libraryName}_${step.replaceAll('-', '_')}`;
}

/** Library text for FUNCTION LOAD. Its revision is a function, so that a caller can ask for it. */
export function libraryText(): string {
  const functions = stepNames.map((step) => {
    const flags = refusedWhenFull.has(step) ? '' : "'allow-oom'";
    const body = `local function step(KEYS, ARGV)\n${luaFile(step)}end`;
    const register = `redis.register_function{function_name='${functionName(step)}', callback=step, flags={${flags}}}`;
    return `do\n${ownText(step)}${body}\n${register}\nend`;
  });
  const revision = `redis.register_function{function_name='${libraryName}_revision', callback=function() return ${libraryRevision} end, flags={'allow-oom', 'no-writes'}}`;
  return [`#!lua name=${libraryName}`, sharedText(), ...functions, revision, ''].join('\n');
}

/** Script text of one step for EVALSHA, and the hash under which the server knows it. */
export function scriptText(step: StepName): { text: string; sha: string } {
  const flags = refusedWhenFull.has(step) ? '' : 'allow-oom';
  const text = `#!lua flags=${flags}\n${sharedText()}\n${ownText(step)}${luaFile(step)}`;
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

function sharedText(): string {
  return sharedFiles.map(luaFile).join('\n');
}

function ownText(step: StepName): string {
  return (ownFiles[step] ?? []).map((name) => `${luaFile(name)}\n`).join('');
}

export function sharedNames(): readonly string[] {
  return [...sharedFiles, ...Object.values(ownFiles).flat()];
}
