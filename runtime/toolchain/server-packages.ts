import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { repositoryRoot } from './repository.ts';

/**
 * Servers for tests where none is installed: their Debian packages, fetched and checked by apt,
 * unpacked beside the toolchain. Nothing is installed and no right is needed. docs/toolchain.md says
 * when this happens.
 */

export interface PackageSet {
  /** Name of its folder, and in messages. */
  name: string;
  /** What apt is asked for. */
  packages: readonly string[];
  /**
   * Codename of the Debian release that the packages come from, unpacked with its own C library; null =
   * the release of this machine, whose C library serves.
   */
  release: string | null;
  /** Programs that are asked for, as patterns in the unpacked tree; each gets a starter in `bin`. */
  programs: readonly string[];
  /** Files that must not be there, as patterns: parts whose libraries are not unpacked. */
  without: readonly string[];
}

export const redisPackages: PackageSet = {
  name: 'redis',
  packages: ['redis-server'],
  release: null,
  programs: ['usr/bin/redis-server'],
  without: [],
};

export const postgresPackages: PackageSet = {
  name: 'postgres',
  packages: ['postgresql'],
  release: null,
  programs: ['usr/lib/postgresql/*/bin/initdb', 'usr/lib/postgresql/*/bin/postgres'],
  // The compiler of long queries needs 100 MB of libraries; PostgreSQL does without where it is not there.
  without: ['usr/lib/postgresql/*/lib/llvmjit*'],
};

/** Other servers that the Redis suite runs on, beside the one of this machine. */
export const furtherRedisPackages: readonly PackageSet[] = [
  { ...redisPackages, name: 'redis-7', release: 'bookworm' },
  { ...redisPackages, name: 'redis-8', release: 'trixie' },
  {
    ...redisPackages,
    name: 'valkey-8',
    release: 'trixie',
    packages: ['valkey-server'],
    programs: ['usr/bin/valkey-server'],
  },
];

export const packageSets: readonly PackageSet[] = [redisPackages, postgresPackages, ...furtherRedisPackages];

/** Rises when server-unpacking.ts does it otherwise: what an older one has left is unpacked again. */
export const unpackRevision = 1;

/** What an unpacked folder says of itself; written last. */
export interface UnpackedRecord {
  revision: number;
  /** The definition it was made by: for another one it is unpacked again. */
  set: PackageSet;
  packages: { name: string; version: string; sha256: string }[];
}

export type Unpacked =
  /** `bin` has a starter for each program. */
  { kind: 'unpacked'; bin: string; record: UnpackedRecord } | { kind: 'missing'; reason: string };

/** For so long a failed try is not repeated, ms: many test files ask one after the other. */
const failureHoldsMs = 5 * 60_000;
/** Limit of the whole: the wait for another run that unpacks, and apt's own work, ms. */
const limitMs = 8 * 60_000;

/** Whether servers may be unpacked, and those of the machine be used: `EMP_TEST_SERVERS`. */
export function serverChoice(): { installed: boolean; unpacked: boolean } {
  const wanted = process.env.EMP_TEST_SERVERS ?? '';
  if (!['', 'installed', 'unpacked'].includes(wanted))
    throw new Error(`EMP_TEST_SERVERS is ${wanted}: set it to installed or unpacked, or unset it for both`);
  return { installed: wanted !== 'unpacked', unpacked: wanted !== 'installed' };
}

/**
 * Folder of all unpacked servers: beside the toolchain. PostgreSQL runs as another user than root, who
 * must be able to get there: where he is not, in the system's cache.
 */
export function serversFolder(): string {
  const named = process.env.EMP_TOOLCHAIN || join(repositoryRoot, '.toolchain');
  const toolchain = isAbsolute(named) ? named : join(process.cwd(), named);
  const isShut = process.getuid?.() === 0 && !isOpenToAll(toolchain);
  return isShut ? '/var/cache/emp-job-queue/servers' : join(toolchain, 'servers');
}

/** Whether every user can reach what lies in this folder, or in the nearest one that is there. */
function isOpenToAll(folder: string): boolean {
  const isOpen = !existsSync(folder) || (statSync(folder).mode & 0o001) !== 0;
  return isOpen && (folder === '/' || isOpenToAll(dirname(folder)));
}

export const setFolder = (set: PackageSet) => join(serversFolder(), set.name);
export const recordFile = (set: PackageSet) => join(setFolder(set), 'unpacked.json');
export const failureFile = (set: PackageSet) => join(serversFolder(), `${set.name}.failed`);

/** What is there already; null where nothing is, or by another definition. */
export function presentTree(set: PackageSet): Extract<Unpacked, { kind: 'unpacked' }> | null {
  if (!existsSync(recordFile(set))) return null;
  const record = JSON.parse(readFileSync(recordFile(set), 'utf8')) as UnpackedRecord;
  if (record.revision !== unpackRevision || !isDeepStrictEqual(record.set, set)) return null;
  return { kind: 'unpacked', bin: join(setFolder(set), 'bin'), record };
}

/**
 * The programs of a set, unpacked first where they are not yet. Never throws for want of them: `reason`
 * says what was missing. Blocks until then, because tests ask while they are collected. A second caller
 * waits for the first: the kernel drops the lock when its holder has ended, however it ended.
 */
export function unpackedServers(set: PackageSet): Unpacked {
  if (!serverChoice().unpacked)
    return { kind: 'missing', reason: 'EMP_TEST_SERVERS=installed forbids to unpack packages' };
  const present = presentTree(set);
  if (present !== null) return present;
  const failed = recentFailure(set);
  if (failed !== null) return { kind: 'missing', reason: failed };
  const folder = serversFolder();
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    return { kind: 'missing', reason: `${folder} cannot be made: ${(error as Error).message}` };
  }
  process.stderr.write(`emp: unpacking ${set.packages.join(' ')} into ${setFolder(set)} (once)\n`);
  const worker = join(repositoryRoot, 'runtime/toolchain/unpack-worker.ts');
  const run = spawnSync('flock', [join(folder, 'lock'), process.execPath, worker, set.name], {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: limitMs,
  });
  const made = presentTree(set);
  if (made !== null) return made;
  const why = recentFailure(set) ?? run.error?.message ?? run.stderr.trim().split('\n').at(-1);
  return { kind: 'missing', reason: why ?? 'nothing was unpacked' };
}

/** Why the last try failed, if that is not long ago. */
function recentFailure(set: PackageSet): string | null {
  const file = failureFile(set);
  if (!existsSync(file)) return null;
  if (Date.now() - statSync(file).mtimeMs < failureHoldsMs) return readFileSync(file, 'utf8');
  rmSync(file, { force: true });
  return null;
}
