import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { demoJobs } from '#runtime/demo/plan.ts';
import { allGone, CliRun, descendants } from './cli-run.ts';

let dir: string;
let run: CliRun;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'emp-demo-test-'));
});
afterEach(async () => {
  if (run.child.exitCode === null && run.child.signalCode === null) run.child.kill('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

function demo(args: string[]): CliRun {
  run = new CliRun(['demo', '--out', join(dir, 'out'), ...args], { TMPDIR: dir });
  return run;
}

async function sizeOf(name: string): Promise<string> {
  const { width, height, format } = await sharp(join(dir, 'out', name)).metadata();
  return `${format} ${width}x${height}`;
}

test('the demo runs every job, leaves the promised pictures and no process', {
  timeout: 180_000,
}, async () => {
  const { code, stdout, stderr } = await demo(['--json']).ended;
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const report = JSON.parse(stdout);
  const names = demoJobs.flatMap(({ saves }) => saves.map(({ as }) => as)).sort();
  expect(report).toMatchObject({ jobs: demoJobs.length, outDir: join(dir, 'out') });
  expect(report.machines.map(({ machineId }: { machineId: string }) => machineId)).toEqual([
    'demo-fast-lane',
    'demo-heavy',
    'demo-standard',
  ]);
  expect((await readdir(join(dir, 'out'))).sort()).toEqual(names);
  expect(await sizeOf('chelsea-x2.png')).toBe('png 512x384');
  expect(await sizeOf('chelsea-eyes-x4.png')).toBe('png 512x384');
  expect(await sizeOf('before-after.png')).toBe('png 1060x436');
  expect(await sizeOf('chelsea-thumbnail.webp')).toBe('webp 96x96');
  expect((await readdir(dir)).filter((name) => name !== 'out')).toEqual([]);
});

test('Ctrl-C in the middle ends it with 130 and cleans up', { timeout: 120_000 }, async () => {
  const { child, ended } = demo([]);
  await new Promise<void>((resolve) => {
    child.stderr?.on('data', () => {
      // The first finished job: everything runs.
      if (run.stderr.includes('/26]')) resolve();
    });
  });
  const processes = descendants(child.pid ?? -1);
  expect(processes.length).toBeGreaterThanOrEqual(4);
  child.kill('SIGINT');
  const { code, stderr } = await ended;
  expect(code).toBe(130);
  expect(stderr).toContain('EMP-INTERRUPTED');
  await allGone(processes);
  expect((await readdir(dir)).filter((name) => name !== 'out')).toEqual([]);
});

test('a folder that cannot be made is an error before anything is started', async () => {
  const file = join(dir, 'file');
  await writeFile(file, '');
  run = new CliRun(['demo', '--out', join(file, 'out'), '--json'], { TMPDIR: dir });
  const { code, stderr } = await run.ended;
  expect(code).toBe(1);
  expect(JSON.parse(stderr)).toMatchObject({ code: 'EMP-OUTPUT-FAILED' });
  expect(await readdir(dir)).toEqual(['file']);
});
