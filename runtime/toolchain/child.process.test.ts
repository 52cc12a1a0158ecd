import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runChild } from './child.ts';
import { plantTree } from './planted-tree.ts';

/** True while a process with this id exists and is not a zombie that nobody has reaped. */
function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    // No such entry: the process has ended.
    return false;
  }
}

/** A shell that leaves a process in the background, writes its id, and then does `then`. */
const leak = (then: string) => `sleep 600 & echo $! > leaked.pid; ${then}`;

test('the exit status comes back', async () => {
  using tree = plantTree({});
  const end = await runChild({ command: 'sh', args: ['-c', 'exit 7'], cwd: tree.root, budgetMs: 30_000 });
  expect(end).toMatchObject({ code: 7, overran: false });
});

test('a command that cannot be started has no status', async () => {
  using tree = plantTree({});
  const end = await runChild({ command: 'no-such-command', args: [], cwd: tree.root, budgetMs: 30_000 });
  expect(end).toMatchObject({ code: null, overran: false });
});

test('a command past its budget is killed with its children', async () => {
  using tree = plantTree({});
  const end = await runChild({ command: 'sh', args: ['-c', leak('wait')], cwd: tree.root, budgetMs: 3_000 });
  expect(end).toMatchObject({ code: null, overran: true });
  const pid = Number(readFileSync(join(tree.root, 'leaked.pid'), 'utf8'));
  await expect.poll(() => isAlive(pid)).toBe(false);
});

test('a command that ignores SIGTERM is killed all the same', async () => {
  using tree = plantTree({});
  const stubborn = "trap '' TERM; while :; do sleep 1; done";
  const end = await runChild({ command: 'sh', args: ['-c', stubborn], cwd: tree.root, budgetMs: 3_000 });
  expect(end).toMatchObject({ code: null, overran: true });
});

test('what a finished command leaves running is killed', async () => {
  using tree = plantTree({});
  const end = await runChild({
    command: 'sh',
    args: ['-c', leak('exit 0')],
    cwd: tree.root,
    budgetMs: 30_000,
  });
  expect(end).toMatchObject({ code: 0, overran: false });
  const pid = Number(readFileSync(join(tree.root, 'leaked.pid'), 'utf8'));
  await expect.poll(() => isAlive(pid)).toBe(false);
});
