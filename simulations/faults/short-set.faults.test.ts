import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { digestOf } from './history.ts';
import { checkFile, missingServers, runFaults } from './session.ts';

/**
 * Of each family of faults some runs on real servers, short enough for every CI run; `emp chaos run all`
 * makes the rest. Times only bound the whole: what is asserted is what became of the jobs.
 */
const shortSet = [
  'kill-hub',
  'kill-machine',
  'kill-redis-empty',
  'kill-postgres',
  'pause-hub',
  'pause-machine',
  'pause-redis',
  'cut-machine-hub',
  'cut-hub-redis',
  'cut-hub-postgres',
  'redis-maxmemory',
  'redis-failover-lagging',
  'redis-two-primaries',
  'postgres-read-only',
  'clock-jump-machine',
] as const;

const inCi = process.env['CI'] === 'true';
const jobs = inCi ? 150 : 60;

test.for(shortSet)(
  '%s: every accepted job ends once with its effect',
  { timeout: 240_000 },
  async (name, context) => {
    const missing = missingServers();
    if (missing !== null && !inCi) return context.skip(missing);
    const outDir = await mkdtemp(join(tmpdir(), 'emp-chaos-out-'));
    const notes: string[] = [];
    const { signal } = new AbortController();
    const report = await runFaults({
      names: [name],
      runs: 1,
      jobs,
      seed: 1,
      outDir,
      fresh: true,
      resume: false,
      signal,
      note: (text) => notes.push(text),
    });
    // The folder stays where something was found: history and logs are what to look at.
    const found = report.findings.flatMap(({ what }) => what);
    expect(report.findings, [...found, ...notes].join('\n')).toEqual([]);
    expect(report.faults).toMatchObject([{ fault: name, runs: 1, ok: 1 }]);
    expect(report.faults[0]?.injections).toBeGreaterThanOrEqual(1);
    expect(report.faults[0]?.acknowledged).toBeGreaterThan(jobs / 2);
    await sameWhenCheckedAgain(join(outDir, name, 'run-001', 'history.jsonl'));
    await rm(outDir, { recursive: true, force: true });
  },
);

/**
 * The file that was written is clean when it is read again. With an end taken out it is not taken at all,
 * because of its digest; with a digest made anew it is no longer clean.
 */
async function sameWhenCheckedAgain(path: string): Promise<void> {
  expect(checkFile(path)).toMatchObject({ verdict: { ok: true }, what: [] });
  const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
  const at = lines.findIndex((line) => line.startsWith('{"kind":"job"'));
  const end = JSON.parse(lines.at(-1) ?? '') as { lines: number };
  const rows = lines.toSpliced(at, 1).slice(0, -1);
  const doctored = async (change: object) => {
    const last = JSON.stringify({ ...end, lines: end.lines - 1, ...change });
    await writeFile(`${path}.doctored`, `${[...rows, last].join('\n')}\n`);
  };
  await doctored({});
  expect(() => checkFile(`${path}.doctored`)).toThrow(/sha256 is not the digest of the lines before it/);
  await doctored({ sha256: digestOf(rows) });
  expect(checkFile(`${path}.doctored`)).toMatchObject({
    verdict: { ok: false, lost: [{ why: 'it has no row' }] },
  });
}
