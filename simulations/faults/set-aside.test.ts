import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { asideLimit, setAside } from './set-aside.ts';

function setup() {
  const dir = mkdtempSync(join(tmpdir(), 'emp-set-aside-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const folder = join(dir, 'run-006');
  const make = (text: string) => {
    mkdirSync(folder);
    writeFileSync(join(folder, 'history.jsonl'), text);
  };
  const kept = (number: number) =>
    readFileSync(join(dir, `run-006.before-${number}`, 'history.jsonl'), 'utf8');
  return { dir, folder, make, kept };
}

test('what lies there is kept under a name of its own, the oldest as 1', () => {
  const { folder, make, kept } = setup();
  for (const text of ['first', 'second']) {
    make(text);
    setAside(folder);
  }
  expect([existsSync(folder), kept(1), kept(2)]).toEqual([false, 'first', 'second']);
});

test('where nothing lies nothing is done', () => {
  const { dir, folder } = setup();
  setAside(folder);
  expect(readdirSync(dir)).toEqual([]);
});

test('no more are kept than the limit: the first ones and the last', () => {
  const { dir, folder, make, kept } = setup();
  for (let time = 1; time <= asideLimit + 3; time++) {
    make(`time ${time}`);
    setAside(folder);
  }
  expect(readdirSync(dir)).toHaveLength(asideLimit);
  expect([kept(1), kept(asideLimit - 1), kept(asideLimit)]).toEqual([
    'time 1',
    `time ${asideLimit - 1}`,
    `time ${asideLimit + 3}`,
  ]);
});
