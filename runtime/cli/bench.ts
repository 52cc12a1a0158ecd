import { BENCH_NAMES, type BenchName } from './bench-list.ts';
import type { CommandContext } from './context.ts';
import { CliError } from './errors.ts';

/** One measured figure with its target; `ok` says whether the target was met in this run. */
export interface BenchFigure {
  value: number;
  unit: string;
  /** Words such as `<= 1000`. */
  target: string;
  ok: boolean;
}

export interface BenchReport {
  bench: string;
  figures: Record<string, BenchFigure>;
  rows: Record<string, string | number | boolean | null>[];
  env: { node: string; redis: string | null; cores: number };
}

/** What a bench may use: it tells what it does and ends early when asked to. */
export interface BenchHost {
  note: (text: string) => void;
  signal: AbortSignal;
  /** Share of the usual number of repetitions, 0 to 1: tests run a bench in a small way. */
  scale: number;
}

/** `emp bench`: exit code 0 when measured, whether or not the targets were met. */
export async function bench(context: CommandContext, name: string): Promise<void> {
  const { out, signal } = context;
  if (!(BENCH_NAMES as readonly string[]).includes(name)) {
    throw new CliError('EMP-USAGE', `there is no bench ${JSON.stringify(name)}`, {
      try: `emp bench ${BENCH_NAMES.join(' | ')}`,
    });
  }
  const { run } = await loadBench(name as BenchName);
  const report = await run({ note: (text) => out.note(text), signal, scale: 1 });
  out.result(report, () => {
    out.table(
      ['FIGURE', 'VALUE', 'TARGET', ''],
      Object.entries(report.figures).map(([figure, { value, unit, target, ok }]) => [
        figure,
        `${number(value)} ${unit}`,
        target,
        ok ? 'ok' : 'missed',
      ]),
    );
    const [first] = report.rows;
    if (first !== undefined) {
      out.line();
      out.table(
        Object.keys(first),
        report.rows.map((row) =>
          Object.values(row).map((cell) => (typeof cell === 'number' ? number(cell) : String(cell))),
        ),
      );
    }
    out.line();
    out.line(`node ${report.env.node}, ${report.env.cores} cores`);
  });
}

/** The image ships without simulations/: the one place where runtime/ reaches it, when asked to. */
async function loadBench(name: BenchName): Promise<{ run: (host: BenchHost) => Promise<BenchReport> }> {
  try {
    switch (name) {
      case 'startup':
        return await import('#simulations/bench-startup.ts');
      case 'recovery':
        return await import('#simulations/bench-recovery.ts');
      case 'busy':
        return await import('#simulations/bench-busy.ts');
      case 'submit':
        return await import('#simulations/bench-submit.ts');
      case 'claim':
        return await import('#simulations/bench-claim.ts');
      case 'memory':
        return await import('#simulations/bench-memory.ts');
      case 'rebuild':
        return await import('#simulations/bench-rebuild.ts');
      case 'idle':
        return await import('#simulations/bench-idle.ts');
      case 'sim':
        return await import('#simulations/bench-sim.ts');
      case 'peers':
        return await import('#simulations/bench-peers.ts');
      case 'wake':
        return await import('#simulations/bench-wake.ts');
      case 'fair':
        return await import('#simulations/bench-fair.ts');
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new CliError('EMP-USAGE', 'benches are not part of this installation', {
      likely: 'it is the container image, which ships without simulations/',
      try: 'emp bench in a clone of the repository',
      cause: error,
    });
  }
}

function number(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(value < 10 ? 3 : 1);
}
