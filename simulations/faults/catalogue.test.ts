import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { allFaults } from './catalogue.ts';
import { markdownTable } from './fault-table.ts';
import { HistoryLine } from './history.ts';

const page = await readFile(new URL('../../docs/faults.md', import.meta.url), 'utf8');

test('docs/faults.md has a row for each fault with what it does, and for no other', () => {
  const section = page.slice(page.indexOf('## The faults'), page.indexOf('## The history'));
  const rows = [...section.matchAll(/^\| `([a-z-]+)` \| (.*) \|$/gm)].map(([, name, what]) => [name, what]);
  expect(rows).toEqual(allFaults.map(({ name, summary }) => [name, summary]));
});

test('the results in docs/faults.md have the columns of `emp chaos table`, and rows of known faults', () => {
  const section = page.slice(page.indexOf('## Results'));
  expect(section).toContain(markdownTable([]));
  const rows = [...section.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name]) => name);
  const known = allFaults.map(({ name }) => name);
  expect(rows.length).toBeGreaterThan(0);
  expect(rows).toEqual(known.filter((name) => rows.includes(name)));
});

test('docs/faults.md names every field of every line of a history', () => {
  const section = page.slice(page.indexOf('## The history'));
  for (const { shape } of HistoryLine.options) {
    const { value } = shape.kind;
    const row = section.split('\n').find((line) => line.startsWith(`| \`${value}\` |`)) ?? '';
    const named = [...row.matchAll(/`([A-Za-z0-9]+)`/g)].map(([, name]) => name);
    for (const field of Object.keys(shape).filter((name) => name !== 'kind'))
      expect(named, `${value}.${field}`).toContain(field);
  }
});

test('names are unique, and every fault is held for a while that ends', () => {
  expect(new Set(allFaults.map(({ name }) => name)).size).toBe(allFaults.length);
  for (const { name, holdMs } of allFaults) {
    expect(holdMs.min, name).toBeGreaterThan(0);
    expect(holdMs.max, name).toBeGreaterThan(holdMs.min);
  }
});
