import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runChild } from './child.ts';
import { repositoryRoot } from './repository.ts';
import type { Tally } from './vitest-tally.ts';

export interface VitestOrder {
  /** Name of the tier. */
  project: string;
  /** Paths of test files; all of the tier where there are none. */
  files?: readonly string[];
  env: NodeJS.ProcessEnv;
  reporter: 'default' | 'verbose';
  /** Limit of the whole, ms: past it it is killed and has failed. */
  budgetMs: number;
  /** Stands before the names of its failures and skips. */
  label?: string;
}

/** A run of steps and what they come to. The last line that it prints is the total. */
export class TestRun {
  /** Every step is a test of its own, so that one which never ran cannot hide among many that did. */
  readonly #total: Tally = { passed: 0, failures: [], skips: [] };
  readonly #notes: string[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), 'emp-tests-'));
  #vitests = 0;

  constructor() {
    // Also when we are told to stop half-way.
    process.once('exit', () => rmSync(this.#folder, { recursive: true, force: true }));
  }

  /** One step; it has failed where it tells problems or throws. */
  async step(name: string, problemsOf: () => Promise<string[]>): Promise<void> {
    console.log(`\n== ${name}`);
    const startedMs = performance.now();
    const problems = await problemsOf().catch((error: unknown) => [`the step itself failed: ${error}`]);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    for (const problem of problems) console.log(`   ${problem}`);
    console.log(`   ${problems.length === 0 ? 'ok' : 'FAILED'} (${seconds} s)`);
    if (problems.length === 0) this.#total.passed += 1;
    else this.#total.failures.push(name);
  }

  skip(name: string, reason: string): void {
    this.#total.skips.push({ name, reason });
  }

  /** A line to be read beside the total. */
  note(line: string): void {
    this.#notes.push(line);
  }

  /** Runs vitest and counts its tests; answers what is wrong with the run as a whole. */
  async vitest(order: VitestOrder): Promise<string[]> {
    const tallyFile = join(this.#folder, `${++this.#vitests}.json`);
    const toolchain = join(repositoryRoot, 'runtime/toolchain');
    const end = await runChild({
      command: join(repositoryRoot, 'node_modules/.bin/vitest'),
      args: [
        ...['run', '--config', join(toolchain, 'vitest.config.ts'), '--project', order.project],
        ...['--reporter', order.reporter, '--reporter', join(toolchain, 'vitest-tally.ts')],
        ...(order.files ?? []),
      ],
      cwd: repositoryRoot,
      env: { ...order.env, EMP_TALLY: tallyFile },
      budgetMs: order.budgetMs,
    });
    const tally = readTally(tallyFile);
    const named = (name: string) => (order.label === undefined ? name : `${order.label}: ${name}`);
    this.#total.passed += tally?.passed ?? 0;
    this.#total.failures.push(...(tally?.failures ?? []).map(named));
    for (const { name, reason } of tally?.skips ?? []) this.skip(named(name), reason);
    const problems: string[] = [];
    if (end.overran) problems.push(`killed after its budget of ${Math.round(end.elapsedMs / 1000)} s`);
    else if (end.code !== 0) problems.push(`vitest ended with ${end.code ?? 'a signal'}`);
    if (tally === undefined) problems.push('vitest wrote no result');
    else if (tally.passed + tally.failures.length === 0) problems.push('not one test ran');
    for (const skip of tally?.skips ?? []) {
      if (skip.reason === '') problems.push(`${skip.name} is skipped without a reason: ctx.skip(reason)`);
    }
    return problems.map(named);
  }

  /** Prints what has failed, what was skipped and the total, and sets the exit status. */
  end(): void {
    const { passed, failures, skips } = this.#total;
    if (failures.length > 0) console.log('\nFailed:');
    for (const failure of failures) console.log(`   ${failure}`);
    if (skips.length > 0) console.log('\nSkipped:');
    for (const skip of skips) console.log(`   ${skip.name}: ${skip.reason || 'no reason given'}`);
    if (this.#notes.length > 0) console.log(`\n${this.#notes.join('\n')}`);
    process.exitCode = failures.length === 0 && passed > 0 ? 0 : 1;
    console.log(`\n${passed} passed, ${failures.length} failed, ${skips.length} skipped`);
  }
}

function readTally(path: string): Tally | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Tally;
  } catch (error) {
    console.log(`   no result was written: ${error}`);
    return undefined;
  }
}
