import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { allFaults } from './catalogue.ts';
import type { MetaLine } from './history.ts';
import { madeBefore } from './made-before.ts';
import { type Planted, planted } from './planted-history.fixture.ts';
import { historyPath, settingsOf } from './standing.ts';

const [fault, other] = allFaults;
if (fault === undefined || other === undefined) throw new Error('there are faults');
const asked = { fault, fresh: false, run: 3, seed: 7, jobs: 1 };

/** The answer about a history that lies there, with its first line as it was asked for unless `first` says otherwise. */
async function answer(
  options: { history?: Planted; first?: Partial<MetaLine>; cut?: number } = {},
): Promise<ReturnType<typeof madeBefore>> {
  const outDir = await mkdtemp(join(tmpdir(), 'emp-made-before-'));
  onTestFinished(() => rm(outDir, { recursive: true, force: true }));
  const history = options.history ?? planted().good('a');
  const { run, seed, jobs } = asked;
  const settings = settingsOf(asked);
  history.begin({ fault: fault?.name ?? '', run, seed, jobs, settings, ...options.first });
  const path = historyPath(outDir, run);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, history.text().slice(0, options.cut));
  return madeBefore({ ...asked, outDir });
}

test('a history that is whole, clean and as asked for is not made again', async () => {
  expect(await answer()).toMatchObject({ run: 3, seed: 7, ok: true, submits: { acknowledged: 1 } });
});

test('a history that tells no times of hubs, or another build, is not made again', async () => {
  const { hub: _, ...settings } = settingsOf(asked);
  expect(await answer({ first: { settings } })).toMatchObject({ ok: true });
  expect(await answer({ first: { versions: { sources: 'x' } } })).toMatchObject({ ok: true, build: 'x' });
});

test('where there is none, the run is to be made', () => {
  expect(madeBefore({ ...asked, outDir: join(tmpdir(), 'no-such-folder') })).toBeNull();
});

test.each<[string, Parameters<typeof answer>[0]]>([
  ['that was cut', { cut: -10 }],
  ['that is empty', { cut: 0 }],
  ['that is not clean, whatever its name says', { history: planted().op('submit', 'a', 'ok') }],
  ['of another fault', { first: { fault: other.name } }],
  ['of another run', { first: { run: 4 } }],
  ['of another seed', { first: { seed: 8 } }],
  ['of other jobs', { first: { jobs: 2 } }],
  ['of other times of hubs', { first: { settings: { ...settingsOf(asked), hub: {} } } }],
  ['of another cluster', { first: { settings: settingsOf({ fault, fresh: true }) } }],
])('a history %s is made again', async (_name, options) => {
  expect(await answer(options)).toBeNull();
});
