import { describe, expect, test } from 'vitest';
import { repositoryRoot } from '#runtime/toolchain/repository.ts';
import { readText } from '#runtime/toolchain/source-tree.ts';

/** docs/queue-incidents.md against the tests that it names. */

const page = readText(repositoryRoot, 'docs/queue-incidents.md') ?? '';
const rows = [...page.matchAll(/^\| ([TR]\d+) \| (.+) \|$/gm)].map(([, number = '', cells = '']) => ({
  number,
  tests: [...cells.matchAll(/`([^`]+\.ts)`: “([^”]+)”/g)].map(([, file = '', title = '']) => ({
    file,
    title,
  })),
}));
const [shown = '', reasons = ''] = page.split('## Not of the queue');
const isIn = (part: string, number: string) => part.includes(`\n| ${number} | `);

/** Whether a string of this source begins with the title. */
const isTitle = (source: string, title: string) =>
  [`'${title}`, `"${title}`, `\`${title}`].some((quoted) => source.includes(quoted));

describe('docs/queue-incidents.md', () => {
  const numbers = [
    ...Array.from({ length: 30 }, (_, index) => `T${index + 1}`),
    ...Array.from({ length: 35 }, (_, index) => `R${index + 1}`),
  ];
  test.each(numbers)('%s is shown by a test or named with the reason', (number) => {
    const [row, ...more] = rows.filter((each) => each.number === number);
    expect(more).toEqual([]);
    expect(isIn(shown, number) !== isIn(reasons, number)).toBe(true);
    if (isIn(shown, number)) expect(row?.tests.length).toBeGreaterThan(0);
  });

  const named = rows.flatMap(({ number, tests }) => tests.map((each) => ({ number, ...each })));
  test.each(named)('$number: $file has the title', ({ number, file, title }) => {
    expect(title.startsWith(`${number}: `)).toBe(true);
    expect(isTitle(readText(repositoryRoot, file) ?? '', title)).toBe(true);
  });
});
