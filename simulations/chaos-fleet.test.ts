import { expect, test } from 'vitest';
import { JobSubmission } from '#protocol/job.ts';
import { chaosCustomers, drawWishes, mayRun, traitsOf } from './chaos-fleet.ts';
import { drawScript } from './chaos-script.ts';
import { seededRng } from './seeded-rng.ts';

const fleet = 'mixed';
const numbers = Array.from({ length: 10 }, (_, index) => index);

test('whatever is wished for, the machine that it was drawn for always has', () => {
  const rng = seededRng('wishes');
  const drawn = new Map<string, number>();
  for (let round = 0; round < 2_000; round++) {
    const index = rng.int(0, 9);
    const wishes = JobSubmission.parse({ service: 'simulation', ...drawWishes(rng, index) });
    expect(mayRun({ index, fleet }, wishes), JSON.stringify({ index, wishes })).toBe(true);
    for (const name of Object.keys(wishes.requirements)) drawn.set(name, (drawn.get(name) ?? 0) + 1);
  }
  expect(Math.min(...drawn.values())).toBeGreaterThan(50);
  expect(drawn.size).toBe(8);
});

test('every job of a drawn run has a machine that may always run it, and many have few of them', () => {
  const { jobs } = drawScript({ seed: 7 });
  const fit = jobs.map(
    ({ submission }) => numbers.filter((index) => mayRun({ index, fleet }, submission)).length,
  );
  expect(Math.min(...fit)).toBeGreaterThan(0);
  expect(fit.filter((count) => count <= 2).length).toBeGreaterThan(20);
});

test('each customer is shut out somewhere, and a machine may shut out after a restart whom it took before', () => {
  for (const customer of chaosCustomers)
    expect(numbers.every((index) => mayRun({ index, fleet }, { service: 'simulation', customer }))).toBe(
      false,
    );
  expect([1, 2, 3].map((starts) => traitsOf({ index: 4, starts }).customers)).toEqual([
    undefined,
    { deny: ['dune'] },
    undefined,
  ]);
});
