import { tmpdir } from 'node:os';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { main } from '#runtime/cli/main.ts';

/**
 * Whole runs as a person plays them: every invariant must hold, each mark that so many seeds are asked
 * for must be reached, and the first seed must give one history twice. Nothing is made smaller here,
 * which takes longer than the tier has; the command that is printed does it.
 */
const seeds = '1..50';
const timeout = 14 * 60_000;

test(`chaos, seeds ${seeds}: nothing is broken, and the runs met what they are for`, {
  timeout,
}, async () => {
  let printed = '';
  const stream = {
    isTTY: false,
    columns: 120,
    write: (text: string) => {
      printed += text;
    },
  };
  const code = await main(['sim', 'run', 'chaos', '--seeds', seeds, '--no-shrink'], {
    stdin: Readable.from([]),
    stdout: stream,
    stderr: stream,
    env: { EMP_STATE_DIR: tmpdir() },
    signal: new AbortController().signal,
  });
  expect(code, printed).toBe(0);
  expect(printed).toMatch(/^50 runs, .* 0 broken$/m);
});
