import type { Readable } from 'node:stream';
import { type Command, CommanderError, InvalidArgumentError } from 'commander';
import type { CommandContext, GlobalOptions } from './context.ts';
import { CliError, reportError } from './errors.ts';
import { Output, type Streams } from './output.ts';
import { createProgram } from './program.ts';

/** The process around a command line: the real one, or a test's. */
export interface Host extends Streams {
  stdin: Readable & { isTTY?: boolean };
  env: NodeJS.ProcessEnv;
  /** Aborts when the user or the system asks the command to end. */
  signal: AbortSignal;
}

/**
 * Runs one command line (without `node` and the script) and answers its exit code. Never rejects:
 * every error is printed in the error form and becomes a code of `EXIT`.
 */
export async function main(argv: string[], host: Host): Promise<number> {
  // Usage errors come before the options are read; what matters for printing them is looked up by hand.
  const end = argv.indexOf('--');
  const flags = end < 0 ? argv : argv.slice(0, end);
  const early = {
    json: flags.includes('--json'),
    quiet: false,
    verbose: flags.includes('-v'),
    color: !flags.includes('--no-color'),
  };
  let out = new Output(host, early, host.env);
  const running: { deadline?: NodeJS.Timeout } = {};
  const program = createProgram(host, async (options, work) => {
    out = new Output(
      host,
      {
        json: options.json ?? false,
        quiet: options.quiet ?? false,
        verbose: options.verbose ?? false,
        color: options.color,
      },
      host.env,
    );
    const { signal, timer } = withDeadline(options, host.signal);
    if (timer !== undefined) running.deadline = timer;
    const context: CommandContext = { out, options, env: host.env, stdin: host.stdin, signal };
    await work(context);
  });
  try {
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help and version are no errors; commander has printed them.
      if (error.exitCode === 0) return 0;
      // `emp` alone: commander has shown the help.
      if (error.code === 'commander.help') return 2;
      const text = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
      out.error(reportError(new CliError('EMP-USAGE', text), commandOf(program, flags)));
      return 2;
    }
    const known = error instanceof InvalidArgumentError ? new CliError('EMP-USAGE', error.message) : error;
    const report = reportError(known, commandOf(program, flags));
    if (known instanceof CliError && known.data !== undefined && out.json) out.object(known.data);
    out.error(report);
    if (report.code === 'EMP-BUG' && error instanceof Error) out.detail(error.stack ?? '');
    return report.exit;
  } finally {
    out.clearLive();
    clearTimeout(running.deadline);
  }
}

/** The innermost command that the words name, as it is typed: `emp limits set`; `emp` where they name none. */
function commandOf(program: Command, words: readonly string[]): string {
  let command = program;
  const path = [program.name()];
  for (const word of words) {
    const next = command.commands.find((each) => each.name() === word);
    if (next === undefined) continue;
    command = next;
    path.push(word);
  }
  return path.join(' ');
}

/** The host's signal together with the deadline that `--timeout` sets. */
function withDeadline(
  options: GlobalOptions,
  signal: AbortSignal,
): { signal: AbortSignal; timer?: NodeJS.Timeout } {
  if (options.timeout === undefined) return { signal };
  const deadline = new AbortController();
  const timer = setTimeout(
    () => deadline.abort(new CliError('EMP-WAIT-TIMEOUT', `not done after ${options.timeout} ms`)),
    options.timeout,
  );
  return { signal: AbortSignal.any([signal, deadline.signal]), timer };
}
