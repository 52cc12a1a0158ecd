import type { Log } from '#protocol/env.ts';
import { hubVariables } from './hub-config.ts';
import { machineVariables } from './machine-config.ts';

/** Read by commands, tests and tools; hubs and machines meet them in a shell that has them set. */
const otherVariables: readonly string[] = [
  'EMP_CHAOS_FROM',
  'EMP_CHAOS_MACHINES',
  'EMP_CHAOS_SEED',
  'EMP_CHAOS_SEEDS',
  'EMP_CHAOS_SERVER_SEEDS',
  'EMP_CHROMIUM',
  'EMP_HISTORIES',
  'EMP_HISTORY_PATH',
  'EMP_HISTORY_REPLAY',
  'EMP_HISTORY_SEED',
  'EMP_HUB',
  'EMP_JOIN_TOKEN_FILE',
  'EMP_LOG_LEVEL',
  'EMP_OPERATIONS',
  'EMP_POSTGRES_BIN',
  'EMP_REDIS_SERVER',
  'EMP_REPEAT',
  'EMP_SEED',
  'EMP_SEEDS',
  'EMP_STATE_DIR',
  'EMP_TALLY',
  'EMP_TEST_SERVERS',
  'EMP_TOOLCHAIN',
  'EMP_TRACE_DIR',
];

/** A variable that begins like ours and that nothing reads. */
export interface UnknownVariable {
  name: string;
  /** The known name that was probably meant. */
  near: string | null;
}

/** Every variable that begins with `EMP_` and is read by hubs, machines, commands or tools. */
export const knownVariables: ReadonlySet<string> = new Set(
  [...hubVariables, ...machineVariables, ...otherVariables].filter((name) => name.startsWith('EMP_')),
);

/** Variables that are set in vain, by name: a misspelt one would be a default that nobody notices. */
export function unknownVariables(variables: Record<string, string | undefined>): UnknownVariable[] {
  return Object.keys(variables)
    .filter((name) => name.startsWith('EMP_') && variables[name] !== '' && !knownVariables.has(name))
    .sort()
    .map((name) => ({ name, near: nearest(name) }));
}

/** Says each of them in the log of a process that starts. Refuses nothing: another version may read it. */
export function warnOfUnknown(variables: Record<string, string | undefined>, log: Pick<Log, 'warn'>): void {
  for (const { name, near } of unknownVariables(variables)) {
    const meant = near === null ? '' : `; ${near} was probably meant`;
    const detail = `${name} is set and nothing reads it${meant}: docs/hub.md and docs/machine.md list every setting`;
    log.warn('variable.unknown', { name, near, detail });
  }
}

/** Underscores and the unit at the end are what people leave out. */
const plain = (name: string) => name.replace(/^EMP_/, '').replaceAll('_', '');

function nearest(name: string): string | null {
  const wanted = plain(name);
  let best: { name: string; distance: number } | null = null;
  for (const known of new Set([...hubVariables, ...machineVariables, ...otherVariables])) {
    const distance = distanceOf(wanted, plain(known));
    if (distance < (best?.distance ?? 1 + Math.max(2, Math.floor(wanted.length / 4))))
      best = { name: known, distance };
  }
  return best?.name ?? null;
}

/** Letters to insert, remove or change (Levenshtein). */
function distanceOf(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [at, letter] of [...one].entries()) {
    const next = [at + 1];
    for (const [index, against] of [...other].entries()) {
      const changed = (row[index] ?? 0) + (letter === against ? 0 : 1);
      next.push(Math.min(changed, (row[index + 1] ?? 0) + 1, (next[index] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
