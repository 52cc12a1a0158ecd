import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { startBrowser } from './browser.ts';
import { plantTree } from './planted-tree.ts';
import { repositoryRoot } from './repository.ts';

/** Processes that were started with this folder as their home. */
function processesOf(folder: string): string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => environmentOf(pid).includes(`HOME=${folder}\0`));
}

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch (error) {
    // It has ended since, or is somebody else's.
    if (error instanceof Error && 'code' in error) return '';
    throw error;
  }
}

test('a browser that is closed leaves no process and no file', async () => {
  const { browser, folder, close } = await startBrowser();
  const page = await browser.newPage();
  await page.setContent('<p>there</p>');
  expect(await page.textContent('p')).toBe('there');
  expect(processesOf(folder).length).toBeGreaterThan(1);
  await close();
  expect(existsSync(folder)).toBe(false);
  await expect.poll(() => processesOf(folder), { timeout: 20_000 }).toEqual([]);
});

test('a browser ends with its owner, also where that is killed', async () => {
  // Who is killed leaves its files: they are gone with this folder.
  using tree = plantTree({});
  const owner = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `const { startBrowser } = await import(${JSON.stringify(join(repositoryRoot, 'runtime/toolchain/browser.ts'))});
       console.log((await startBrowser()).folder);`,
    ],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: repositoryRoot,
      env: { ...process.env, TMPDIR: tree.root },
    },
  );
  const [folder] = (await once(createInterface({ input: owner.stdout }), 'line')) as [string];
  expect(processesOf(folder).length).toBeGreaterThan(1);
  owner.kill('SIGKILL');
  await expect.poll(() => processesOf(folder), { timeout: 20_000 }).toEqual([]);
});

test('a browser that is not there is refused with the reason', async () => {
  const before = process.env.EMP_CHROMIUM;
  process.env.EMP_CHROMIUM = '/nowhere/chromium';
  try {
    await expect(startBrowser()).rejects.toThrow(/no Chromium here .*nowhere/);
  } finally {
    if (before === undefined) delete process.env.EMP_CHROMIUM;
    else process.env.EMP_CHROMIUM = before;
  }
});
