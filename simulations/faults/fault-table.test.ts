import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { markdownTable, readTable, summarise } from './fault-table.ts';
import { type Planted, planted } from './planted-history.fixture.ts';

/** A folder with these histories of `kill-hub`, run by run; null is one that was cut. */
async function setup(histories: (Planted | null)[], fault = 'kill-hub'): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'emp-fault-table-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  for (const [index, history] of histories.entries()) {
    const folder = join(dir, 'kill-hub', `run-00${index + 1}`);
    await mkdir(folder, { recursive: true });
    const text = (history ?? planted()).begin({ fault, run: index + 1 }).text();
    await writeFile(join(folder, 'history.jsonl'), history === null ? text.slice(0, 40) : text);
  }
  return dir;
}

const pathOf = (dir: string, run: number) => join(dir, 'kill-hub', `run-00${run}`, 'history.jsonl');

test('runs of a fault are one line, with sums of counts and the worst times', async () => {
  const slow = planted().nemesis('inject', 1).nemesis('heal', 2).good('a');
  const quick = planted().good('a').good('b', 'info').nemesis('heal', 10).good('c');
  const { faults, notClean, refused } = readTable(await setup([slow, quick]));
  expect({ notClean, refused }).toEqual({ notClean: [], refused: [] });
  expect(faults).toMatchObject([
    { fault: 'kill-hub', runs: 2, jobs: 2, acknowledged: 3, recovered: 1, lost: 0, ok: 2, skipped: null },
  ]);
  expect(faults[0]).toMatchObject({ firstEffectMsMax: 28, allEndedMsMax: 80 });
});

test('a history that is not clean is counted, and named', async () => {
  const dir = await setup([planted().good('a'), planted().op('submit', 'b', 'ok')]);
  expect(readTable(dir)).toMatchObject({
    faults: [{ runs: 2, ok: 1, lost: 1 }],
    notClean: [pathOf(dir, 2)],
  });
});

test('a history that was cut is left out, and named with the reason', async () => {
  const dir = await setup([planted().good('a'), null]);
  expect(readTable(dir)).toMatchObject({
    faults: [{ runs: 1 }],
    refused: [{ history: pathOf(dir, 2), why: expect.stringContaining('line 1 is not JSON') }],
  });
});

test('a history of another fault than its folder says is left out', async () => {
  const dir = await setup([planted().good('a')], 'pause-hub');
  expect(readTable(dir)).toMatchObject({ faults: [], refused: [{ history: pathOf(dir, 1) }] });
});

test('a folder without histories has an empty table', async () => {
  expect(readTable(await setup([]))).toEqual({
    faults: [],
    notClean: [],
    madeAgain: [],
    apart: [],
    refused: [],
  });
});

test('runs that follow each other on a cluster leave no event between them; others are told', async () => {
  const after = (runsBefore: number, afterSeq: number) => planted().begin({ runsBefore, afterSeq }).good('a');
  expect(readTable(await setup([after(0, 0), after(1, 3)]))).toMatchObject({ apart: [], refused: [] });
  expect(readTable(await setup([after(0, 0), after(1, 4)]))).toMatchObject({
    apart: ['kill-hub: run 2 begins after event 4, run 1 ended at 3'],
    faults: [{ runs: 2, ok: 2 }],
  });
});

test('the table for readers has times in seconds, and a dash where there is none', () => {
  const verdict = planted().nemesis('heal', 10).good('a').check();
  const rows = [summarise('kill-hub', [verdict]), summarise('stop-hub', [planted().good('a').check()])];
  expect(markdownTable(rows).split('\n').slice(2)).toEqual([
    '| `kill-hub` | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0.0 s | 0.0 s | 0 | unknown |',
    '| `stop-hub` | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | – | – | 0 | unknown |',
  ]);
});

const cells = (dir: string) => {
  const [row] = readTable(dir).faults;
  return row === undefined ? [] : markdownTable([row]).split('\n')[2]?.split(' | ').slice(-2);
};
const versions = (sources: string) => ({ versions: { sources } });

test('a row tells the build of its runs, and that it mixes builds', async () => {
  const of = (build: string) => planted().begin(versions(build)).good('a');
  expect(cells(await setup([of('aaaaaaaa1111'), of('aaaaaaaa1111')]))).toEqual(['0', '`aaaaaaaa` |']);
  expect(
    cells(await setup([planted().good('a'), of('aaaaaaaa1111'), of('bbbbbbbb1111'), of('bbbbbbbb1111')])),
  ).toEqual(['0', 'mixed: unknown 1, `aaaaaaaa` 1, `bbbbbbbb` 2 |']);
});

test('a history that was set aside is no run, and the row tells why its run was made again', async () => {
  const dir = await setup([planted().good('a')]);
  const made = () => planted().begin({ fault: 'kill-hub' });
  const aside = [
    made().op('submit', 'b', 'ok').text(),
    made().good('a').text('timeout'),
    made().good('a').text().slice(0, -10),
    // It was clean: other settings were asked for since.
    made().good('a').text(),
  ];
  for (const [index, text] of aside.entries()) {
    const folder = join(dir, 'kill-hub', `run-001.before-${index + 1}`);
    await mkdir(folder);
    await writeFile(join(folder, 'history.jsonl'), text);
  }
  expect(cells(dir)).toEqual(['3', 'unknown |']);
  const { faults, madeAgain, notClean } = readTable(dir);
  expect({ runs: faults[0]?.runs, notClean }).toEqual({ runs: 1, notClean: [] });
  expect(madeAgain).toEqual([
    { history: join(dir, 'kill-hub', 'run-001.before-1', 'history.jsonl'), why: 'lost 1' },
    {
      history: join(dir, 'kill-hub', 'run-001.before-2', 'history.jsonl'),
      why: 'it did not settle: a reason',
    },
    { history: expect.stringContaining('before-3'), why: expect.stringContaining('is not JSON') },
  ]);
});

test('a row tells how many runs were not at rest, of those whose histories tell', async () => {
  const rest = async (...histories: Planted[]) => {
    const [row] = readTable(await setup(histories)).faults;
    return row === undefined ? '' : markdownTable([row]).split('\n')[2]?.split(' | ').at(10);
  };
  const former = () => planted().begin({ format: 2 }).good('a').rests(null);
  const left = () => planted().good('a').rests(['x']);
  expect(await rest(former())).toBe('–');
  expect(await rest(planted().good('a'), left())).toBe('1');
  expect(await rest(planted().good('a'), left(), former())).toBe('1 of 2');
});
