import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { findRedisServer, redisVersion } from './redis-server.ts';
import { repositoryRoot } from './repository.ts';
import { furtherRedisPackages, type PackageSet, unpackedServers } from './server-packages.ts';
import type { TestRun } from './test-run.ts';

/** What must hold on every kind of server: both loaders, equality with memory, faults, narrow rights, TLS. */
const files = ['redis-broker', 'narrow-servers', 'differential', 'server', 'full-server', 'tls'].map(
  (name) => `protocol/redis/${name}.redis.test.ts`,
);
/** Limit of one server, ms. It takes about two minutes beside another one. */
const budgetMs = 10 * 60_000;

/** A server to run on: its program, and `redis 8.0.2` as it calls itself. */
interface RedisKind {
  program: string;
  name: string;
}

/**
 * Runs a shorter Redis suite on the servers that this machine's packages have beside its own, at once. One
 * that cannot be had is skipped with the reason. `ran` = on what the whole suite ran before.
 */
export async function redisMatrix(run: TestRun, ran: readonly string[]): Promise<void> {
  const own = findRedisServer();
  const ownName = own === null ? null : (redisVersion(own)?.name ?? null);
  const found: RedisKind[] = [];
  for (const set of furtherRedisPackages.filter((each) => !isServed(each, ownName))) {
    const unpacked = unpackedServers(set);
    if (unpacked.kind === 'missing') run.skip(`redis suite on ${set.name}`, unpacked.reason);
    else found.push(kindOf(set, unpacked.bin));
  }
  if (found.length > 0) {
    const names = found.map(({ name }) => name);
    await run.step(`redis suite on ${names.join(', ')}`, () => runOn(run, found));
  }
  const all = [...ran, ...found.map(({ name }) => name)];
  if (all.length > 0) run.note(`redis suite ran on: ${all.join(', ')}`);
}

/** `redis-7` is served by `redis 7.0.15`. */
function isServed(set: PackageSet, name: string | null): boolean {
  return name?.replace(' ', '-').startsWith(`${set.name}.`) ?? false;
}

function kindOf(set: PackageSet, bin: string): RedisKind {
  const program = join(bin, basename(set.programs[0] ?? ''));
  return { program, name: redisVersion(program)?.name ?? set.name };
}

async function runOn(run: TestRun, kinds: readonly RedisKind[]): Promise<string[]> {
  const gone = files.filter((file) => !existsSync(join(repositoryRoot, file)));
  const problems = await Promise.all(
    kinds.map(({ program, name }) =>
      run.vitest({
        project: 'redis',
        files,
        env: { EMP_REDIS_SERVER: program, EMP_SEEDS: '2', EMP_REPEAT: process.env.EMP_REPEAT ?? '1' },
        reporter: 'default',
        budgetMs,
        label: name,
      }),
    ),
  );
  return [...gone.map((file) => `${file} is not there`), ...problems.flat()];
}
