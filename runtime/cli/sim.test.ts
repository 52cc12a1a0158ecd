import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runMain } from './run-main.fixture.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'emp-sim-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('a simulated day', () => {
  const tiny = {
    name: 'tiny',
    spanHours: 0.1,
    fleet: { wanted: [{ atHour: 0, machines: 2 }], stepMinutes: 1 },
    catalogue: { checkpoints: 3, loras: 3, controlnets: 3, llms: 1 },
    jobs: { count: 8, kinds: { llm: 1, image: 0, video: 0, cpu: 0 } },
  };

  test('prints its figures, writes a report, and two results of a day are the same', {
    timeout: 120_000,
  }, async () => {
    const scenario = join(dir, 'tiny.json');
    await writeFile(scenario, JSON.stringify(tiny));
    const report = join(dir, 'out', 'tiny.html');
    const args = ['sim', 'run', scenario, '--policy', 'emp,fifo', '--workers', '1', '--json'];
    const first = await runMain([...args, '--report', report]);
    expect({ code: first.code, stderr: first.stderr }).toEqual({ code: 0, stderr: '' });
    const result = JSON.parse(first.stdout);
    expect(result).toMatchObject({
      scenario: 'tiny',
      seeds: [1],
      invariants: { violated: 0 },
      policies: { emp: { jobs: 8, finished: 8 }, fifo: { jobs: 8, finished: 8 } },
    });
    expect(await readFile(report, 'utf8')).toContain(result.traceHash);
    const [a, b] = [join(dir, 'a.json'), join(dir, 'b.json')];
    await writeFile(a, first.stdout);
    await writeFile(b, (await runMain(args)).stdout);
    const diff = await runMain(['sim', 'diff', a, b, '--json']);
    expect(JSON.parse(diff.stdout)).toMatchObject({ kind: 'compared', sameTrace: true });
  });

  test('a scenario is refused by file, line and field before anything is played', async () => {
    const scenario = join(dir, 'wrong.json');
    await writeFile(scenario, `{\n "name": "wrong",\n "fleet": { "lostPerHour": -1 }\n}`);
    const { code, stderr } = await runMain(['sim', 'run', scenario]);
    expect(code).toBe(2);
    expect(stderr).toContain('wrong.json:3: fleet.lostPerHour');
  });

  test('lists what can be asked for, and tells what a day holds', async () => {
    const listed = JSON.parse((await runMain(['sim', 'list', '--json'])).stdout);
    expect(listed.policies.map(({ name }: { name: string }) => name)).toContain('clairvoyant');
    const { stdout } = await runMain(['sim', 'plan', 'hour']);
    expect(stdout).toContain('500 jobs over 1 h');
  });
});
