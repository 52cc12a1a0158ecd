// `npm test`: the checks, then each tier of tests. The last line on stdout is the total.
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checks } from './checks.ts';
import { runChild } from './child.ts';
import { repositoryRoot } from './repository.ts';
import { type Tier, tierFiles, tiers } from './tiers.ts';
import type { Tally } from './vitest-tally.ts';

const inCi = process.env.CI === 'true';
/** Every step is a test of its own, so that one which never ran cannot hide among many that did. */
const total: Tally = { passed: 0, failures: [], skips: [] };

async function step(name: string, problemsOf: () => Promise<string[]>): Promise<void> {
  console.log(`\n== ${name}`);
  const startedMs = performance.now();
  const problems = await problemsOf().catch((error: unknown) => [`the step itself failed: ${error}`]);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  for (const problem of problems) console.log(`   ${problem}`);
  console.log(`   ${problems.length === 0 ? 'ok' : 'FAILED'} (${seconds} s)`);
  if (problems.length === 0) total.passed += 1;
  else total.failures.push(name);
}

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

function readTally(path: string): Tally | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Tally;
  } catch (error) {
    console.log(`   no result was written: ${error}`);
    return undefined;
  }
}

async function runTier(tier: Tier, folder: string): Promise<string[]> {
  const { include, exclude } = tierFiles(tier);
  const files = globSync(include, { cwd: repositoryRoot, exclude });
  if (files.length === 0) return [`no file ends in ${tier.suffix}`];
  const tallyFile = join(folder, `${tier.name}.json`);
  const toolchain = join(repositoryRoot, 'runtime/toolchain');
  // Serial tiers take minutes: print each test as it ends, not each file.
  const reporter = tier.serial ? 'verbose' : 'default';
  const end = await runChild({
    command: join(repositoryRoot, 'node_modules/.bin/vitest'),
    args: [
      ...['run', '--config', join(toolchain, 'vitest.config.ts'), '--project', tier.name],
      ...['--reporter', reporter, '--reporter', join(toolchain, 'vitest-tally.ts')],
    ],
    cwd: repositoryRoot,
    env: { EMP_TALLY: tallyFile, EMP_REPEAT: process.env.EMP_REPEAT ?? (inCi ? '20' : '1') },
    budgetMs: inCi ? tier.budgetMs.ci : tier.budgetMs.local,
  });
  const tally = readTally(tallyFile);
  total.passed += tally?.passed ?? 0;
  total.failures.push(...(tally?.failures ?? []));
  total.skips.push(...(tally?.skips ?? []));
  const problems: string[] = [];
  if (end.overran) problems.push(`killed after its budget of ${Math.round(end.elapsedMs / 1000)} s`);
  else if (end.code !== 0) problems.push(`vitest ended with ${end.code ?? 'a signal'}`);
  if (tally === undefined) problems.push('vitest wrote no result');
  else if (tally.passed + tally.failures.length === 0) problems.push('not one test ran');
  for (const skip of tally?.skips ?? []) {
    if (skip.reason === '') problems.push(`${skip.name} is skipped without a reason: ctx.skip(reason)`);
  }
  return problems;
}

if (inCi) await step('system packages', systemPackages);
else total.skips.push({ name: 'system packages', reason: 'installed only with CI=true' });
for (const check of checks) await step(check.name, check.problems);
const folder = mkdtempSync(join(tmpdir(), 'emp-tests-'));
// Also when we are told to stop half-way.
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const tier of tiers) {
  const reason = inCi ? null : (tier.missing?.() ?? null);
  if (reason === null) await step(`${tier.name} tests`, () => runTier(tier, folder));
  else total.skips.push({ name: `${tier.name} tests`, reason });
}

if (total.skips.length > 0) console.log('\nSkipped:');
for (const skip of total.skips) console.log(`   ${skip.name}: ${skip.reason || 'no reason given'}`);
if (total.failures.length > 0) console.log('\nFailed:');
for (const failure of total.failures) console.log(`   ${failure}`);
process.exitCode = total.failures.length === 0 && total.passed > 0 ? 0 : 1;
console.log(`\n${total.passed} passed, ${total.failures.length} failed, ${total.skips.length} skipped`);
