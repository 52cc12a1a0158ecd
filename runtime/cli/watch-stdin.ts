import type { Readable } from 'node:stream';
import { CliError } from './errors.ts';

/**
 * A signal that aborts with `signal`, and also when stdin ends: `--watch-stdin` is given by a parent
 * that holds the other end of the pipe, and whose death closes it even where no handler could run.
 */
export function stopSignal(signal: AbortSignal, stdin: Readable, watch: boolean): AbortSignal {
  if (!watch) return signal;
  const parent = new AbortController();
  const gone = () =>
    parent.abort(new CliError('EMP-INTERRUPTED', 'the process that started this one has ended'));
  stdin.once('end', gone);
  stdin.once('close', gone);
  stdin.once('error', gone);
  stdin.resume();
  return AbortSignal.any([signal, parent.signal]);
}
