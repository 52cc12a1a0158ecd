import { Readable } from 'node:stream';
import { main } from './main.ts';

export interface MainSetup {
  env?: NodeJS.ProcessEnv;
  stdin?: string;
  tty?: boolean;
  signal?: AbortSignal;
}

/** Runs a command line in this process and answers what it printed. */
export async function runMain(args: string[], setup: MainSetup = {}) {
  const printed = { stdout: '', stderr: '' };
  const stream = (name: keyof typeof printed) => ({
    isTTY: setup.tty ?? false,
    columns: 120,
    write: (text: string) => {
      printed[name] += text;
    },
  });
  const code = await main(args, {
    stdin: Readable.from(setup.stdin === undefined ? [] : [Buffer.from(setup.stdin)]),
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    env: setup.env ?? {},
    signal: setup.signal ?? new AbortController().signal,
  });
  return { code, ...printed };
}
