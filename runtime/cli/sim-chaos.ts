import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { InvalidArgumentError } from 'commander';
import { EmpError } from '#protocol/errors.ts';
import type { CommandContext } from './context.ts';
import { CliError } from './errors.ts';

export interface ChaosSimOptions {
  seeds?: { from: number; to: number };
  seed?: number;
  machineKind?: 'production' | 'model';
  machines?: number;
  hubs?: number;
  jobs?: number;
  broker: 'memory' | 'redis';
  records: 'sqlite' | 'postgres';
  workers?: number;
  script?: string;
  shrink: boolean;
  out: string;
}

const usualSeeds = { from: 1, to: 8 };
const seedsLimit = 100_000;

/** `A..B`, both included; one number is itself. */
export function seedRange(text: string): { from: number; to: number } {
  const match = /^(\d{1,15})(?:\.\.(\d{1,15}))?$/.exec(text.trim());
  const from = Number(match?.[1] ?? Number.NaN);
  const to = Number(match?.[2] ?? from);
  if (!(from <= to)) throw new InvalidArgumentError('Write seeds as A..B with A not above B, e.g. 1..200.');
  if (to - from >= seedsLimit) throw new InvalidArgumentError(`At most ${seedsLimit} seeds at once.`);
  return { from, to };
}

type Farm = typeof import('#simulations/chaos-farm.ts');
type Scripts = typeof import('#simulations/chaos-script.ts');
type Chaos = typeof import('#simulations/chaos.ts');
type Script = ReturnType<Scripts['readScript']>;
type Result = Awaited<ReturnType<Farm['runFarm']>>;
type Failure = Result['failures'][number];

/** `emp sim run chaos`: exit code 0 where every invariant held and every mark was reached, 1 otherwise. */
export async function simChaos(context: CommandContext, options: ChaosSimOptions): Promise<void> {
  const { out, signal } = context;
  const parts = await load();
  const scripts = scriptsOf(parts, options);
  const startedMs = performance.now();
  let done = 0;
  const result = await parts.farm.runFarm({
    scripts,
    stores: { broker: options.broker, records: options.records },
    workers: options.workers ?? null,
    shrink: options.shrink,
    signal,
    note: (text) => out.note(text),
    onReport: ({ seed, machineKind, steps, virtualMs, problem }) => {
      const verdict = problem === null ? 'held' : `broke: ${problem.message.slice(0, 160)}`;
      const line = `seed ${seed}, ${machineKind} machines: ${steps} steps, ${Math.round(virtualMs / 1_000)} s: ${verdict}`;
      if (problem === null) out.detail(line);
      else out.note(line);
      if (++done % 10 === 0) out.note(`${done} of ${scripts.length} runs`);
    },
  });
  const failures = result.failures.map((failure) => ({ failure, file: keep(parts, failure, options) }));
  const wallMs = Math.round(performance.now() - startedMs);
  const summary = summaryOf(result, { wallMs, failures });
  out.result(summary, () => printed(out, { parts, result, failures, wallMs }));
  const broken = [
    ...failures.map(({ failure }) => `seed ${failure.seed} (${failure.checker})`),
    ...result.unrepeatable.map(({ seed }) => `seed ${seed} (its second play gave another history)`),
    ...result.missing.map((mark) => `never reached: ${mark}`),
  ];
  if (broken.length > 0)
    throw new CliError('EMP-SIM-FOUND', `not clean: ${broken.slice(0, 10).join(', ')}`, {
      ...(failures[0] ? { try: failures[0].file.repeat } : {}),
    });
}

interface Parts {
  farm: Farm;
  scripts: Scripts;
  chaos: Chaos;
}

function scriptsOf({ scripts }: Parts, options: ChaosSimOptions): Script[] {
  if (options.script !== undefined) return [readScriptFile(scripts, options.script)];
  const { from, to } =
    options.seed === undefined ? (options.seeds ?? usualSeeds) : { from: options.seed, to: options.seed };
  const { machineKind, machines, hubs, jobs } = options;
  return Array.from({ length: to - from + 1 }, (_, index) =>
    scripts.drawScript({ seed: from + index, machineKind, machines, hubs, jobs }),
  );
}

function readScriptFile(scripts: Scripts, path: string): Script {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError('EMP-USAGE', `--script: ${path} cannot be read`, {
      likely: (error as Error).message,
      try: 'the path that a failing run printed',
      cause: error,
    });
  }
  try {
    return scripts.readScript(text, path);
  } catch (error) {
    if (!(error instanceof EmpError)) throw error;
    throw new CliError('EMP-USAGE', error.message, {
      likely: 'it was changed by hand, or written by another version',
      try: 'mend the field named above: docs/simulation.md, Scripts',
      cause: error,
    });
  }
}

interface Kept {
  /** Null: nothing was written, the seed alone repeats it. */
  path: string | null;
  repeat: string;
}

/** Writes what a failure takes, as it may be put into simulations/regressions, and says how to repeat it. */
function keep({ scripts }: Parts, failure: Failure, options: ChaosSimOptions): Kept {
  const stores = [
    options.broker === 'memory' ? '' : ` --broker ${options.broker}`,
    options.records === 'sqlite' ? '' : ` --records ${options.records}`,
  ].join('');
  const name = `${failure.checker.replaceAll(/[^A-Za-z0-9]+/g, '-').slice(0, 60)}-seed-${failure.seed}.json`;
  const path = join(options.out, name);
  try {
    mkdirSync(options.out, { recursive: true });
    writeFileSync(path, scripts.writeScript(failure.script));
  } catch (error) {
    throw new CliError('EMP-OUTPUT-FAILED', `${path} could not be written`, { cause: error });
  }
  return { path, repeat: `npm run -s emp -- sim run chaos --script ${path}${stores}` };
}

function summaryOf(
  result: Result,
  { wallMs, failures }: { wallMs: number; failures: { failure: Failure; file: Kept }[] },
) {
  const { reports, sometimes, missing, unrepeatable, traceHash } = result;
  return {
    scenario: 'chaos',
    seeds: reports.length,
    wallMs,
    traceHash,
    invariants: {
      checked: reports.reduce((sum, { observations, audits }) => sum + observations + audits, 0),
      violated: failures.length,
    },
    sometimes,
    missing,
    failures: [
      ...failures.map(({ failure, file }) => ({
        seed: failure.seed,
        invariant: failure.checker,
        message: failure.message,
        faults: failure.script.faults.length,
        machines: failure.script.machines.length,
        jobs: failure.script.jobs.length,
        script: file.path,
        repeat: file.repeat,
      })),
      ...unrepeatable.map(({ seed, hashes }) => ({
        seed,
        invariant: 'one seed gives one history',
        message: `two plays gave ${hashes.join(' and ')}`,
      })),
    ],
  };
}

function printed(
  out: CommandContext['out'],
  {
    parts,
    result,
    failures,
    wallMs,
  }: { parts: Parts; result: Result; failures: { failure: Failure; file: Kept }[]; wallMs: number },
): void {
  const { reports, missing, unrepeatable, traceHash } = result;
  for (const { failure, file } of failures) {
    for (const line of parts.chaos.describeProblem(failure.report, file.repeat).split('\n')) out.line(line);
    out.line();
  }
  for (const { seed, hashes } of unrepeatable) out.line(`seed ${seed} gave ${hashes.join(' and then ')}`);
  for (const mark of missing) out.line(`never reached: ${mark}`);
  const steps = reports.reduce((sum, report) => sum + report.steps, 0);
  const virtualMs = reports.reduce((sum, report) => sum + report.virtualMs, 0);
  out.line(
    `${reports.length} runs, ${steps} steps, ${Math.round(virtualMs / 60_000)} virtual minutes in ${(wallMs / 1_000).toFixed(1)} s: ${failures.length} broken`,
  );
  out.line(`hash ${traceHash}`);
}

/** The image ships without simulations/: reached when asked to, as benches are. */
async function load(): Promise<Parts> {
  try {
    const [farm, scripts, chaos] = await Promise.all([
      import('#simulations/chaos-farm.ts'),
      import('#simulations/chaos-script.ts'),
      import('#simulations/chaos.ts'),
    ]);
    return { farm, scripts, chaos };
  } catch (error) {
    throw withoutSimulations(error);
  }
}

/** The error to show where simulations cannot be loaded: they are no part of an image. */
export function withoutSimulations(error: unknown): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') return error;
  return new CliError('EMP-USAGE', 'simulations are not part of this installation', {
    likely: 'it is the container image, which ships without simulations/',
    try: 'emp sim in a clone of the repository',
    cause: error,
  });
}
