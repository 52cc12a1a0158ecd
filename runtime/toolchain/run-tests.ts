// `npm test`: the checks, then each tier of tests. The last line on stdout is the total.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checks } from './checks.ts';
import { runChild } from './child.ts';
import { redisMatrix } from './redis-matrix.ts';
import { findRedisServer, redisVersion } from './redis-server.ts';
import { repositoryRoot } from './repository.ts';
import { TestRun } from './test-run.ts';
import { type Tier, tierFiles, tiers } from './tiers.ts';

const inCi = process.env.CI === 'true';

/** Installs what tests need from the system, in CI only: elsewhere the machine is somebody's own. */
async function systemPackages(): Promise<string[]> {
  const list = readFileSync(join(repositoryRoot, 'runtime/toolchain/ci-packages.txt'), 'utf8');
  const packages = list.split('\n').filter((line) => line !== '');
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  const apt = async (...args: string[]) => {
    const [command = '', ...rest] = [...sudo, 'apt-get', ...args];
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    const end = await runChild({ command, args: rest, cwd: repositoryRoot, env, budgetMs: 5 * 60_000 });
    return end.code === 0 ? [] : [`apt-get ${args[0]} ended with ${end.code ?? 'a signal'}`];
  };
  const updated = await apt('update', '-q');
  return updated.length > 0
    ? updated
    : await apt('install', '-q', '-y', '--no-install-recommends', ...packages);
}

async function runTier(run: TestRun, tier: Tier): Promise<string[]> {
  const { include, exclude } = tierFiles(tier);
  if (globSync(include, { cwd: repositoryRoot, exclude }).length === 0)
    return [`no file ends in ${tier.suffix}`];
  return await run.vitest({
    project: tier.name,
    env: { EMP_REPEAT: process.env.EMP_REPEAT ?? (inCi ? '8' : '1') },
    // Serial tiers take minutes: print each test as it ends, not each file.
    reporter: tier.serial ? 'verbose' : 'default',
    budgetMs: inCi ? tier.budgetMs.ci : tier.budgetMs.local,
  });
}

/** The servers beside this machine's own, after the tier that ran on that. */
async function furtherRedis(run: TestRun): Promise<void> {
  const name = 'redis suite on further servers';
  if (!inCi)
    return run.skip(
      name,
      'takes minutes; run with CI=true, or by sh runtime/toolchain/emp-dev node runtime/toolchain/run-redis-matrix.ts',
    );
  const own = findRedisServer();
  const ownName = own === null ? undefined : redisVersion(own)?.name;
  await redisMatrix(run, ownName === undefined ? [] : [ownName]);
}

const run = new TestRun();
if (inCi) await run.step('system packages', systemPackages);
else run.skip('system packages', 'installed only with CI=true');
for (const check of checks) await run.step(check.name, check.problems);
for (const tier of tiers) {
  const reason = inCi ? null : (tier.missing?.() ?? null);
  if (reason === null) await run.step(`${tier.name} tests`, () => runTier(run, tier));
  else run.skip(`${tier.name} tests`, reason);
  if (tier.name === 'redis') await furtherRedis(run);
}
run.end();
