import type { Readable } from 'node:stream';
import { CliError } from './errors.ts';

/** Why a process ends, as the reason of its signal: by its parent's death there is nobody to hand work back for. */
export class ParentGone extends CliError {
  constructor() {
    super('EMP-INTERRUPTED', 'the process that started this one has ended');
  }
}

/**
 * A signal that aborts with `signal`, and also when stdin ends (`ParentGone`): `--watch-stdin` is given
 * by a parent that holds the other end of the pipe, and whose death closes it even where no handler
 * could run.
 */
export function stopSignal(signal: AbortSignal, stdin: Readable, watch: boolean): AbortSignal {
  if (!watch) return signal;
  const parent = new AbortController();
  const gone = () => parent.abort(new ParentGone());
  stdin.once('end', gone);
  stdin.once('close', gone);
  stdin.once('error', gone);
  stdin.resume();
  return AbortSignal.any([signal, parent.signal]);
}
