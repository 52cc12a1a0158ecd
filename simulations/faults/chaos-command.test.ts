import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { runMain } from '#runtime/cli/run-main.fixture.ts';
import { type Planted, planted } from './planted-history.fixture.ts';

/** `emp chaos table` over histories that lie in a folder; runs themselves belong to the tier `faults`. */

async function folderOf(...histories: Planted[]): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'emp-chaos-table-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  for (const [index, history] of histories.entries()) {
    const folder = join(dir, 'kill-hub', `run-00${index + 1}`);
    await mkdir(folder, { recursive: true });
    const text = history.begin({ fault: 'kill-hub', run: index + 1 }).text();
    await writeFile(join(folder, 'history.jsonl'), text);
  }
  return dir;
}

test('prints one line for each fault, in the form of docs/faults.md', async () => {
  const dir = await folderOf(planted().good('a'), planted().good('b').good('c'));
  const { code, stdout } = await runMain(['chaos', 'table', dir]);
  expect(code).toBe(0);
  expect(stdout.split('\n')[2]).toBe(
    '| `kill-hub` | 2 | 3 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | – | – | 0 | unknown |',
  );
});

test('--json prints the same counts as one object', async () => {
  const { code, stdout } = await runMain(['chaos', 'table', await folderOf(planted().good('a')), '--json']);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    faults: [{ fault: 'kill-hub', runs: 1, acknowledged: 1, ok: 1 }],
    notClean: [],
    refused: [],
  });
});

test('a history that is not clean ends it with exit code 1, and is named', async () => {
  const dir = await folderOf(planted().good('a'), planted().op('submit', 'b', 'ok'));
  const { code, stdout, stderr } = await runMain(['chaos', 'table', dir]);
  expect({ code, rows: stdout.trimEnd().split('\n').length }).toEqual({ code: 1, rows: 3 });
  expect(stderr).toContain('EMP-CHAOS-FOUND');
  expect(stderr).toContain(join(dir, 'kill-hub', 'run-002', 'history.jsonl'));
});

test('check says of a history of a former version that it carries no digest, and of a file that is not there so', async () => {
  const dir = await folderOf(planted().good('a'), planted().begin({ format: 3 }).good('b'));
  const path = (run: number) => join(dir, 'kill-hub', `run-00${run}`, 'history.jsonl');
  const [sealed, former] = [
    await runMain(['chaos', 'check', path(1)]),
    await runMain(['chaos', 'check', path(2)]),
  ];
  expect({ code: sealed.code, said: sealed.stdout.includes('no digest') }).toEqual({ code: 0, said: false });
  expect({ code: former.code, said: former.stdout.includes('no digest') }).toEqual({ code: 0, said: true });
  const none = await runMain(['chaos', 'check', join(dir, 'nope')]);
  expect(none).toMatchObject({ code: 2, stdout: '' });
  expect(none.stderr).toMatch(/nope does not exist\n {2}likely: the path is misspelt/);
  expect((await runMain(['chaos', 'check', dir])).stderr).toContain(
    'is a folder: name the history.jsonl in it',
  );
});

test.each([
  ['a folder that is not there', ['chaos', 'table', 'no/such'], 'no/such has no history of emp chaos'],
  ['no folder', ['chaos', 'table'], "missing required argument 'dir'"],
  ['two folders', ['chaos', 'table', 'a', 'b'], 'too many arguments'],
  ['a flag that is none', ['chaos', 'run', 'all', '--stand'], "unknown option '--stand'"],
  ['more runs than a series has', ['chaos', 'run', 'all', '--runs', '1001'], '--runs'],
])('%s is refused with exit code 2', async (_name, args, message) => {
  const { code, stderr, stdout } = await runMain(args);
  expect(stderr).toContain(message);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
});
