import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { main } from '#runtime/cli/main.ts';
import { type ChaosScript, drawScript, writeScript } from './chaos-script.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'emp-sim-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** `emp sim run chaos …` in this process; its runs play in threads. */
async function chaos(...args: string[]) {
  const printed = { stdout: '', stderr: '' };
  const stream = (name: keyof typeof printed) => ({
    isTTY: false,
    columns: 120,
    write: (text: string) => {
      printed[name] += text;
    },
  });
  const code = await main(['sim', 'run', 'chaos', '--out', dir, ...args], {
    stdin: Readable.from([]),
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    env: { EMP_STATE_DIR: dir },
    signal: new AbortController().signal,
  });
  return { code, ...printed };
}

/** Threads of a machine with much else to do. */
const timeout = 300_000;
const small = ['--machines', '2', '--hubs', '1', '--jobs', '4', '--machine-kind', 'model'];

/** A run that cannot end: its one job wants a machine that is not there. */
function hopeless(): ChaosScript {
  const script = drawScript({
    seed: 1,
    machines: 1,
    hubs: 1,
    jobs: 1,
    machineKind: 'model',
    chaosMs: 10_000,
  });
  const [job] = script.jobs;
  if (job === undefined) throw new Error('a script without a job was drawn');
  const submission = { id: 'job-0', service: 'simulation', requirements: { machineId: 'machine-9' } };
  return { ...script, faults: [], buggify: [], jobs: [{ ...job, atMs: 0, cancelAfterMs: null, submission }] };
}

describe('emp sim run chaos', () => {
  test('prints one object with --json, and the same hash whatever the number of threads', {
    timeout,
  }, async () => {
    const [one, two] = [
      await chaos('--seeds', '1..2', ...small, '--workers', '1', '--json'),
      await chaos('--seeds', '1..2', ...small, '--workers', '2', '--json'),
    ];
    const [first, second] = [JSON.parse(one.stdout), JSON.parse(two.stdout)];
    expect([one.code, two.code]).toEqual([0, 0]);
    expect(first).toMatchObject({ scenario: 'chaos', seeds: 2, failures: [], missing: [] });
    expect(first.invariants.violated).toBe(0);
    expect(first.invariants.checked).toBeGreaterThan(1_000);
    expect(first.sometimes['a wake was passed on']).toBeTypeOf('number');
    expect(first.traceHash).toMatch(/^[0-9a-f]{64}$/);
    expect(second.traceHash).toBe(first.traceHash);
  });

  test('a broken run ends with 1, leaves a script, and prints the command that breaks it again', {
    timeout,
  }, async () => {
    const path = join(dir, 'hopeless.json');
    await writeFile(path, writeScript(hopeless()));
    const broken = await chaos('--script', path, '--no-shrink');
    expect(broken.code).toBe(1);
    expect(broken.stdout).toContain('I1: everything ends: after the heal 1 jobs never ended (job-0 waiting)');
    const repeat = /repeat: npm run -s emp -- sim run chaos --script (\S+)/.exec(broken.stdout)?.[1] ?? '';
    expect(broken.stderr).toContain('code: EMP-SIM-FOUND');
    expect(existsSync(repeat)).toBe(true);
    expect(JSON.parse(await readFile(repeat, 'utf8'))).toMatchObject({ version: 1, jobs: [{ after: null }] });
  });

  test.each([
    ['seeds that run backwards', ['--seeds', '5..2'], 'Write seeds as A..B with A not above B'],
    ['seeds that are none', ['--seeds', 'all'], 'Write seeds as A..B'],
    ['a seed and seeds', ['--seed', '1', '--seeds', '1..2'], 'cannot be used with'],
    ['a script and a size', ['--script', 'a.json', '--jobs', '5'], 'cannot be used with'],
    ['a broker that is none', ['--broker', 'kafka'], 'Allowed choices are memory, redis'],
    ['a kind that is none', ['--machine-kind', 'toy'], 'Allowed choices are production, model'],
    ['no machines', ['--machines', '0'], 'whole number from 1 to 200'],
    ['no threads', ['--workers', '0'], 'whole number from 1 to 64'],
    ['a flag of nobody', ['--speed', '5'], "unknown option '--speed'"],
    ['a script that is not there', ['--script', 'no/such.json'], 'no/such.json cannot be read'],
  ])('%s is refused by name with exit code 2', async (_what, args, message) => {
    const { code, stdout, stderr } = await chaos(...args);
    expect(stderr).toContain(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  test('a wrong script is refused by file and field', async () => {
    const path = join(dir, 'wrong.json');
    await writeFile(path, JSON.stringify({ ...hopeless(), faults: [{ atMs: 1, kind: 'link.cut' }] }));
    const { code, stderr } = await chaos('--script', path);
    expect(stderr).toContain(`${path} is no script of a chaos run: /faults/0/machine`);
    expect(code).toBe(2);
  });
});
