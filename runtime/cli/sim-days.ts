import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { EmpError } from '#protocol/errors.ts';
import { hubVersion } from '#runtime/hub-version.ts';
import type { CommandContext } from './context.ts';
import { CliError } from './errors.ts';
import { withoutSimulations } from './sim-chaos.ts';

export interface DaySimOptions {
  seeds?: { from: number; to: number };
  seed?: number;
  policy: string[];
  load: number;
  workload: string[];
  broker: 'memory' | 'redis';
  records: 'sqlite' | 'postgres';
  report?: string;
  workers?: number;
}

const seedsLimit = 1_000;
const scenarioLimitBytes = 1_048_576;

interface Parts {
  replay: typeof import('#simulations/day/replay.ts');
  scenarios: typeof import('#simulations/workloads/builtin-scenarios.ts');
  files: typeof import('#simulations/workloads/scenario-file.ts');
  catalogue: typeof import('#simulations/policies/catalogue.ts');
  plan: typeof import('#simulations/workloads/plan-day.ts');
  describe: typeof import('#simulations/workloads/describe-plan.ts');
  summary: typeof import('#simulations/report/terminal-summary.ts');
  html: typeof import('#simulations/report/html-report.ts');
  results: typeof import('#simulations/report/read-result.ts');
  diff: typeof import('#simulations/report/diff-results.ts');
  table: typeof import('#simulations/report/diff-table.ts');
}

/** `emp sim list`: scenarios and policies that a replay can be asked for. */
export async function simList({ out }: CommandContext): Promise<void> {
  const { scenarios, catalogue } = await load();
  const found = {
    scenarios: scenarios.scenarios.map(({ name, summary }) => ({ name, summary })),
    policies: catalogue.policies.map(({ name, summary }) => ({ name, summary })),
  };
  out.result(found, () => {
    out.table(
      ['SCENARIO', 'WHAT HAPPENS'],
      found.scenarios.map(({ name, summary }) => [name, summary]),
    );
    out.line();
    out.table(
      ['POLICY', 'WHO RUNS WHAT'],
      found.policies.map(({ name, summary }) => [name, summary]),
    );
  });
}

/** `emp sim plan SCENARIO`: what a day holds before anybody decides anything. */
export async function simPlan(
  { out }: CommandContext,
  name: string,
  options: { seed: number; load: number },
): Promise<void> {
  const parts = await load();
  const scenario = await scenarioOf(parts, name);
  const plan = asked(() => parts.plan.planDay({ scenario, ...options }));
  out.result(plan, () => {
    for (const line of parts.describe.describePlan(plan)) out.line(line);
  });
}

/**
 * `emp sim run SCENARIO`: exit code 0 where what must hold after a day held in every run, 1 otherwise.
 * Without a name (null) nothing is played: the usual day would take minutes that nobody asked for.
 */
export async function simDays(
  context: CommandContext,
  name: string | null,
  options: DaySimOptions,
): Promise<void> {
  const { out, signal } = context;
  if (name === null)
    throw new CliError('EMP-USAGE', 'emp sim run needs the name of a scenario', {
      likely: 'it was left out',
      try: 'emp sim list, then e.g. emp sim run hour',
    });
  const parts = await load();
  const scenario = await scenarioOf(parts, name);
  const policies = policiesOf(parts, options.policy);
  const seeds = seedsOf(options);
  refuseUnwritable(options.report);
  const { result, breaches } = await askedLater(() =>
    parts.replay.replay({
      scenario,
      seeds,
      load: options.load,
      traces: options.workload,
      policies,
      stores: { broker: options.broker, records: options.records },
      workers: options.workers ?? null,
      signal,
      command: commandOf(name, options, policies),
      versions: { emp: hubVersion, node: process.version },
      onRun: ({ policy, seed, wallMs, events, jobs }) =>
        out.note(
          `${policy}, seed ${seed}: ${jobs} jobs, ${events} events in ${(wallMs / 1_000).toFixed(1)} s`,
        ),
    }),
  );
  if (options.report !== undefined) writeReport(options.report, parts.html.htmlReport(result));
  out.result(result, () => {
    const color = out.showsColour('stdout');
    for (const line of parts.summary.terminalSummary(result, { width: out.width, color })) out.line(line);
    if (options.report !== undefined) out.line(`report: ${options.report}`);
  });
  if (breaches.length > 0) {
    const told = breaches.slice(0, 10).map(({ policy, seed, what }) => `${policy}, seed ${seed}: ${what}`);
    throw new CliError('EMP-SIM-FOUND', `not clean: ${told.join('; ')}`);
  }
}

/** `emp sim diff A B`: what moved between two results. */
export async function simDiff(
  { out }: CommandContext,
  paths: readonly [string, string],
  options: { force: boolean; all: boolean },
): Promise<void> {
  const { results, diff, table } = await load();
  const read = await Promise.all(paths.map((path) => results.readResult(path)));
  const [a, b] = read.map((one) => {
    if (one.kind === 'read') return one.result;
    const problems = one.problems.map(({ field, problem }) =>
      field === '' ? problem : `${field} ${problem}`,
    );
    throw new CliError('EMP-USAGE', `${one.file}: ${problems.join('; ')}`, {
      likely: 'it is not what emp sim run --json printed',
      try: 'emp sim run day --seed 1 --json > a.json',
    });
  });
  if (a === undefined || b === undefined) throw new RangeError('two results are compared');
  const compared = diff.diffResults(a, b, { force: options.force });
  if (compared.kind === 'refused')
    throw new CliError(
      'EMP-USAGE',
      `the two are not of the same days: ${table.refusalLines(compared).join('; ')}`,
      {
        try: 'replay both with the same scenario, seeds and load, or compare all the same with --force',
      },
    );
  out.result(compared, () => {
    const { headings, rows } = table.diffTable(compared, { all: options.all });
    if (rows.length === 0) out.line('nothing moved');
    else out.table([...headings], rows);
    for (const note of table.diffNotes(compared)) out.line(note);
  });
}

function seedsOf({ seed, seeds }: DaySimOptions): number[] {
  if (seed !== undefined) return [seed];
  const { from, to } = seeds ?? { from: 1, to: 1 };
  if (to - from >= seedsLimit)
    throw new CliError('EMP-USAGE', `--seeds: at most ${seedsLimit} at once`, { try: '--seeds 1..20' });
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

function policiesOf({ catalogue }: Parts, names: readonly string[]): string[] {
  const known = catalogue.policies.map((policy) => policy.name);
  const chosen = names.includes('all') ? known : [...names];
  const unknown = chosen.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new CliError('EMP-USAGE', `--policy: there is no policy ${JSON.stringify(unknown)}`, {
      try: `all, or some of ${known.join(',')}`,
    });
  return chosen;
}

/** A name, several joined by `+`, or the path of a file, which has a dot or a slash in it. */
async function scenarioOf({ scenarios, files }: Parts, name: string) {
  if (!/[./\\]/.test(name)) return asked(() => scenarios.scenarioNamed(name));
  let text: string;
  try {
    const { size } = await stat(name);
    if (size > scenarioLimitBytes)
      throw new CliError('EMP-USAGE', `${name} is larger than ${scenarioLimitBytes} bytes`);
    text = await readFile(name, 'utf8');
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError('EMP-USAGE', `${name} cannot be read`, {
      likely: (error as Error).message,
      try: 'emp sim list, or the path of a scenario: docs/workloads.md',
      cause: error,
    });
  }
  return asked(() => files.parseScenario(text, name));
}

/** What was asked for is at fault, not the program. */
function refusedAsUsage(error: unknown): never {
  if (!(error instanceof EmpError) || error.code !== 'VALIDATION_FAILED') throw error;
  throw new CliError('EMP-USAGE', error.message, {
    likely: 'a field of the scenario or a row of the trace is not as docs/workloads.md has it',
    try: 'mend what is named above',
    cause: error,
  });
}

function asked<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    return refusedAsUsage(error);
  }
}

async function askedLater<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    return refusedAsUsage(error);
  }
}

/** Before hours of work: the folder of the report must be there, or be made. */
function refuseUnwritable(path: string | undefined): void {
  if (path === undefined) return;
  const folder = dirname(path);
  try {
    if (!existsSync(folder)) mkdirSync(folder, { recursive: true });
    writeFileSync(path, '', { flag: 'a' });
  } catch (error) {
    throw new CliError('EMP-OUTPUT-FAILED', `--report: ${path} cannot be written`, { cause: error });
  }
}

function writeReport(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new CliError('EMP-OUTPUT-FAILED', `--report: ${path} could not be written`, { cause: error });
  }
}

function commandOf(name: string, options: DaySimOptions, policies: readonly string[]): string {
  const { seed, seeds, load, workload, broker, records } = options;
  const which = seed === undefined ? `--seeds ${seeds?.from ?? 1}..${seeds?.to ?? 1}` : `--seed ${seed}`;
  const rest = [
    ...(load === 1 ? [] : [`--load ${load}`]),
    ...workload.map((path) => `--workload ${path}`),
    ...(broker === 'memory' ? [] : [`--broker ${broker}`]),
    ...(records === 'sqlite' ? [] : [`--records ${records}`]),
    `--policy ${policies.join(',')}`,
  ];
  return `npm run -s emp -- sim run ${name} ${which} ${rest.join(' ')}`;
}

/** The image ships without simulations/: reached when asked to, as benches are. */
async function load(): Promise<Parts> {
  try {
    const [replay, scenarios, files, catalogue, plan, describe, summary, html, results, diff, table] =
      await Promise.all([
        import('#simulations/day/replay.ts'),
        import('#simulations/workloads/builtin-scenarios.ts'),
        import('#simulations/workloads/scenario-file.ts'),
        import('#simulations/policies/catalogue.ts'),
        import('#simulations/workloads/plan-day.ts'),
        import('#simulations/workloads/describe-plan.ts'),
        import('#simulations/report/terminal-summary.ts'),
        import('#simulations/report/html-report.ts'),
        import('#simulations/report/read-result.ts'),
        import('#simulations/report/diff-results.ts'),
        import('#simulations/report/diff-table.ts'),
      ]);
    return { replay, scenarios, files, catalogue, plan, describe, summary, html, results, diff, table };
  } catch (error) {
    throw withoutSimulations(error);
  }
}
