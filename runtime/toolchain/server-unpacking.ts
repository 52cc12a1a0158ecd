import { type SpawnSyncOptionsWithStringEncoding, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import {
  type PackageSet,
  serversFolder,
  setFolder,
  type UnpackedRecord,
  unpackRevision,
} from './server-packages.ts';

/** Limits of one call of apt, ms: an update fetches about 10 MB, PostgreSQL has about 30. */
const limits = { update: 90_000, solve: 60_000, download: 180_000 };

/** A choice of sources and lists for apt. Its own cache and an empty list of what is installed. */
interface Apt {
  what: string;
  options: string[];
  /** Folder of lists that must be fetched first; null = they are the system's. */
  lists: string | null;
}

/**
 * Fetches, checks and unpacks a set under the caller's lock; the folder appears at once, complete.
 * Throws where apt cannot give it, with its first complaint.
 */
export function unpackSet(set: PackageSet): UnpackedRecord {
  for (const program of ['apt-get', 'dpkg-deb'])
    if (spawnSync(program, ['--version']).error) throw new Error(`this system has no ${program}`);
  const work = `${setFolder(set)}.new`;
  rmSync(work, { recursive: true, force: true });
  const debs = join(work, 'debs');
  mkdirSync(debs, { recursive: true });
  try {
    fetchPackages(set, debs);
    const tree = join(work, 'tree');
    const packages = globSync('*.deb', { cwd: debs })
      .toSorted()
      .map((file) => {
        run('dpkg-deb', ['-x', join(debs, file), tree], { limitMs: limits.solve });
        const sha256 = createHash('sha256')
          .update(readFileSync(join(debs, file)))
          .digest('hex');
        return { ...packageOf(file), sha256 };
      });
    rmSync(debs, { recursive: true });
    for (const file of globSync(set.without.slice(), { cwd: tree }))
      rmSync(join(tree, file), { recursive: true });
    writeStarters(set, work);
    const record: UnpackedRecord = { revision: unpackRevision, set, packages };
    writeFileSync(join(work, 'unpacked.json'), `${JSON.stringify(record, null, 2)}\n`);
    chmodSync(work, 0o755);
    rmSync(setFolder(set), { recursive: true, force: true });
    renameSync(work, setFolder(set));
    return record;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** By the system's lists where they are there and true, else by lists of our own. */
function fetchPackages(set: PackageSet, debs: string): void {
  let complaint = '';
  for (const aptOf of set.release === null ? [systemLists, ownLists] : [releaseLists]) {
    const apt = aptOf(set.release ?? '');
    const found = tryFetch(set, apt, debs);
    if (found === null) return;
    complaint = `${apt.what}: ${found}`;
    if (unreachable.test(found)) break;
  }
  throw new Error(`apt cannot give ${set.packages.join(' ')} by ${complaint}`);
}

/** Other lists would not help. */
const unreachable = /resolv|connect|network|timed out/i;

/** Null where the packages lie in `debs`, else what apt said. */
function tryFetch(set: PackageSet, apt: Apt, debs: string): string | null {
  if (apt.lists !== null) {
    const complaint = complaintOf(aptGet(apt, ['update'], { limitMs: limits.update }));
    // Sources that are not needed may fail: what is missing in the lists is seen in the next step.
    if (globSync('*_Packages*', { cwd: apt.lists }).length === 0) return complaint ?? 'no lists were fetched';
  }
  const solved = aptGet(apt, ['--print-uris', '--yes', 'install', ...set.packages], {
    limitMs: limits.solve,
  });
  if (solved.status !== 0) return complaintOf(solved) ?? 'no reason given';
  const wanted = [...solved.stdout.matchAll(/^'[^']*' (\S+\.deb) /gm)]
    .map(([, file = '']) => packageOf(file))
    .filter(({ name }) => isNeeded(set, name))
    .map(({ name, version }) => `${name}=${version}`);
  const got = aptGet(apt, ['download', ...wanted], { limitMs: limits.download, cwd: debs });
  return got.status === 0 ? null : (complaintOf(got) ?? 'no reason given');
}

/** The servers and shared libraries; of what else a package depends on, running it in place needs nothing. */
function isNeeded(set: PackageSet, name: string): boolean {
  if (/^(redis|valkey)-(server|tools)$|^postgresql-\d+$/.test(name)) return true;
  if (/^lib(c6$|c-)/.test(name)) return set.release !== null;
  return /^(lib|zlib1g$)/.test(name) && !/perl|modules|^lib(db5|gdbm|sem|sep|llvm|z3)/.test(name);
}

/** `redis-server_5%3a7.0.15-1_amd64.deb` → its name and version. */
function packageOf(file: string): { name: string; version: string } {
  const [name = '', version = ''] = basename(file).split('_');
  return { name, version: decodeURIComponent(version) };
}

function systemLists(): Apt {
  return { what: "the system's lists", options: [], lists: null };
}

function ownLists(): Apt {
  return aptWith({ what: 'lists of our own', name: 'own', options: [] });
}

/** With lists in a folder of that name. */
function aptWith({ what, name, options }: { what: string; name: string; options: string[] }): Apt {
  const lists = join(serversFolder(), `apt-${name}`);
  mkdirSync(join(lists, 'partial'), { recursive: true });
  return { what, lists, options: [...option('Dir::State::lists', lists), ...options] };
}

/** The mirror from which this machine has its own Debian, asked for another release. */
function releaseLists(release: string): Apt {
  const system = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const own = /^ID=debian$/m.test(system) ? /^VERSION_CODENAME=(\w+)$/m.exec(system)?.[1] : undefined;
  const sources = aptGet(systemLists(), ['--print-uris', 'update'], { limitMs: limits.solve });
  const mirror = new RegExp(`^'([^']+)/dists/${own}/InRelease' `, 'm').exec(sources.stdout)?.[1];
  if (mirror === undefined) throw new Error('apt here has no mirror of Debian to ask for another release');
  const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
  const signed = existsSync(keyring) ? `[signed-by=${keyring}] ` : '';
  const list = join(serversFolder(), `apt-${release}.list`);
  writeFileSync(list, `deb ${signed}${mirror} ${release} main\n`);
  const options = [...option('Dir::Etc::sourcelist', list), ...option('Dir::Etc::sourceparts', '-')];
  return aptWith({ what: `Debian ${release}`, name: release, options });
}

const option = (name: string, value: string) => ['-o', `${name}=${value}`];

/** apt checks signatures and hashes as it always does; only where it keeps things is ours. */
function aptGet(apt: Apt, args: string[], how: Limits) {
  const cache = join(serversFolder(), 'apt-cache');
  mkdirSync(join(cache, 'archives/partial'), { recursive: true });
  const status = join(cache, 'status');
  writeFileSync(status, '');
  const ours = [
    ...option('Dir::State::status', status),
    ...option('Dir::Cache', cache),
    ...option('Debug::NoLocking', '1'),
    ...option('APT::Install-Recommends', '0'),
    ...option('Acquire::Languages', 'none'),
    ...option('Acquire::Retries', '0'),
    ...option('Acquire::http::Timeout', '10'),
    ...option('Acquire::https::Timeout', '10'),
  ];
  return spawned('apt-get', ['-q', ...ours, ...apt.options, ...args], how);
}

/** The first error of apt, else its first warning; null where it said nothing. */
function complaintOf(end: { stderr: string; error?: Error | undefined } | null): string | null {
  if (end === null) return null;
  if (end.error) return end.error.message;
  const lines = end.stderr.split('\n');
  return lines.find((line) => line.startsWith('E: ')) ?? lines.find((line) => line.startsWith('W: ')) ?? null;
}

interface Limits {
  limitMs: number;
  cwd?: string;
}

function spawned(command: string, args: string[], { limitMs, cwd }: Limits) {
  const options: SpawnSyncOptionsWithStringEncoding = {
    encoding: 'utf8',
    timeout: limitMs,
    maxBuffer: 16 * 1_048_576,
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
  };
  return spawnSync(command, args, cwd === undefined ? options : { ...options, cwd });
}

function run(command: string, args: string[], how: Limits) {
  const end = spawned(command, args, how);
  if (end.status !== 0)
    throw new Error(`${command} ${args[0]} failed: ${end.error?.message ?? end.stderr.trim()}`);
  return end;
}

/**
 * One starter a program: it sets where the libraries are and becomes the program. Those of another
 * release run on their own loader and C library, the rest on the system's.
 */
function writeStarters(set: PackageSet, work: string): void {
  const tree = join(work, 'tree');
  const final = join(setFolder(set), 'tree');
  const quoted = (path: string) => `'${path.replaceAll("'", `'\\''`)}'`;
  const place = (path: string) => join(final, path);
  const libraries = [...new Set(globSync('{usr/,}lib/*-linux-gnu/*.so*', { cwd: tree }).map(dirname))];
  const path = quoted(libraries.map(place).join(':'));
  const [loader] = globSync('{usr/,}lib/*-linux-gnu/ld-linux-*.so.*', { cwd: tree });
  if (set.release !== null && loader === undefined)
    throw new Error(`the C library of ${set.name} has no loader`);
  mkdirSync(join(work, 'bin'));
  for (const pattern of set.programs) {
    const [program] = globSync(pattern, { cwd: tree });
    if (program === undefined) throw new Error(`the packages of ${set.name} hold no ${pattern}`);
    const target = quoted(place(program));
    const command =
      set.release === null || loader === undefined
        ? `LD_LIBRARY_PATH=${path} exec ${target} "$@"`
        : `exec ${quoted(place(loader))} --library-path ${path} ${target} "$@"`;
    const starter = join(work, 'bin', basename(program));
    writeFileSync(starter, `#!/bin/sh\n${command}\n`);
    chmodSync(starter, 0o755);
  }
}
