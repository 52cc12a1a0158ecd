import { CliError } from './cli/errors.ts';
import { main } from './cli/main.ts';
import { systemClock } from './env.ts';
import { onStopSignals, stopSignals } from './stop-signals.ts';

/** The process of the command `emp`: signals, broken pipes and the exit code; everything else is in cli/. */

const end = new AbortController();

onStopSignals(
  stopSignals({
    clock: systemClock,
    first: (signal) =>
      end.abort(new CliError('EMP-INTERRUPTED', signal === 'SIGINT' ? 'interrupted' : `ended by ${signal}`)),
    // Asked twice: the user does not want to wait for an orderly end.
    again: () => process.exit(130),
  }),
);

// `emp jobs | head` closes the pipe early: that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

const code = await main(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: end.signal,
});
// A pipe takes 64 KiB at a time, and what it has not taken when the process exits is lost.
await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
// An aborted connect to a silent address would hold the process for ten seconds more.
process.exit(code);
