import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { digestOf, readHistory } from './history.ts';
import { checkFile, missingServers, runFaults, tableOf } from './session.ts';

/** Two runs of one fault on one cluster: on real servers, as the short set. */

const inCi = process.env['CI'] === 'true';
const fault = 'redis-flush-scripts';

async function series(outDir: string, options: { runs: number; resume: boolean }): Promise<string[]> {
  const notes: string[] = [];
  const { signal } = new AbortController();
  const note = (text: string) => notes.push(text);
  const asked = { names: [fault], jobs: inCi ? 75 : 40, seed: 1, outDir, fresh: false, signal, note };
  const report = await runFaults({ ...asked, ...options });
  expect(report.findings, notes.join('\n')).toEqual([]);
  expect(report.faults).toMatchObject([{ fault, runs: options.runs, ok: options.runs }]);
  return notes;
}

/** A history without its last line that begins so, sealed anew. */
function without(history: string, start: string): string {
  const lines = history.trimEnd().split('\n');
  const end = JSON.parse(lines.at(-1) ?? '') as { lines: number };
  const at = lines.findLastIndex((line) => line.startsWith(start));
  const left = lines.toSpliced(at, 1).slice(0, -1);
  const last = JSON.stringify({ ...end, lines: end.lines - 1, sha256: digestOf(left) });
  return [...left, last].join('\n');
}

test('runs on one cluster follow each other, and a series that is whole is not made again, only what is not clean', {
  timeout: 240_000,
}, async (context) => {
  const missing = missingServers();
  if (missing !== null && !inCi) return context.skip(missing);
  const outDir = await mkdtemp(join(tmpdir(), 'emp-chaos-series-'));
  const path = (run: number) => join(outDir, fault, `run-00${run}`, 'history.jsonl');

  await series(outDir, { runs: 2, resume: false });
  const [first, second] = [readHistory(path(1)), readHistory(path(2))];
  const lastSeq = first.findLast((line) => line.kind === 'event')?.seq ?? 0;
  expect(first[0]).toMatchObject({ run: 1, clusterFrom: 1, runsBefore: 0, afterSeq: 0 });
  expect(first[0]).toMatchObject({ versions: { sources: expect.stringMatching(/^[0-9a-f]{12}$/) } });
  expect(second[0]).toMatchObject({ run: 2, clusterFrom: 1, runsBefore: 1, afterSeq: lastSeq });
  expect(lastSeq).toBeGreaterThan(0);
  const jobs = second.flatMap((line) => (line.kind === 'job' ? line.jobId : []));
  expect(jobs.filter((jobId) => !jobId.startsWith('chaos-2-'))).toEqual([]);
  expect(second.flatMap((line) => (line.kind === 'process' ? line.name : []))).toEqual([]);

  const notes = await series(outDir, { runs: 2, resume: true });
  expect(notes).toEqual([1, 2].map((run) => `${fault} run ${run} of 2, seed ${run}: made before, clean`));
  expect(tableOf(outDir)).toMatchObject({ faults: [{ fault, runs: 2, ok: 2 }], notClean: [], refused: [] });

  // The second run is no longer clean: its last job never had a row.
  await writeFile(path(2), without(await readFile(path(2), 'utf8'), '{"kind":"job"'));
  await series(outDir, { runs: 2, resume: true });
  const aside = join(outDir, fault, 'run-002.before-1', 'history.jsonl');
  expect(tableOf(outDir)).toMatchObject({
    faults: [{ fault, runs: 2, ok: 2, madeAgain: 1 }],
    madeAgain: [{ history: aside, why: 'lost 1' }],
    notClean: [],
  });
  expect(checkFile(aside)).toMatchObject({
    verdict: { ok: false },
    what: [expect.stringMatching(/^lost: /)],
  });
  await rm(outDir, { recursive: true, force: true });
});
