import { expect, test } from 'vitest';
import { JobSubmission } from '#protocol/job.ts';
import { chaosCustomers, drawReserved, drawWelcome, drawWishes, mayRun, traitsOf } from './chaos-fleet.ts';
import { drawScript } from './chaos-script.ts';
import { seededRng } from './seeded-rng.ts';

const fleet = 'mixed';
const numbers = Array.from({ length: 10 }, (_, index) => index);

test('whatever is wished for, the machine that it was drawn for always has', () => {
  const rng = seededRng('wishes');
  const drawn = new Map<string, number>();
  for (let round = 0; round < 2_000; round++) {
    const index = rng.int(0, 9);
    const wishes = JobSubmission.parse({ service: 'simulation', ...drawWishes(rng, { index }) });
    expect(mayRun({ index, fleet }, wishes), JSON.stringify({ index, wishes })).toBe(true);
    for (const name of Object.keys(wishes.requirements)) drawn.set(name, (drawn.get(name) ?? 0) + 1);
  }
  expect(Math.min(...drawn.values())).toBeGreaterThan(50);
  expect(drawn.size).toBe(8);
});

test('every job of a drawn run has a machine that may always run it, and many have few of them', () => {
  for (const seed of [7, 8, 9]) {
    const { jobs, reserved } = drawScript({ seed });
    const fit = jobs.map(
      ({ submission }) => numbers.filter((index) => mayRun({ index, fleet, reserved }, submission)).length,
    );
    expect(Math.min(...fit)).toBeGreaterThan(0);
    expect(fit.filter((count) => count <= 2).length).toBeGreaterThan(20);
  }
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

test('a reserved machine runs what names one of its tags and nothing else, and the first one is never reserved', () => {
  const rng = seededRng('reserved');
  const often = new Map<number, number>();
  for (let round = 0; round < 300; round++) {
    const reserved = drawReserved(rng, numbers);
    for (const index of reserved) {
      often.set(index, (often.get(index) ?? 0) + 1);
      const { customer, requirements } = drawWelcome(rng, { index, reserved });
      const job = { service: 'simulation', customer };
      expect(mayRun({ index, fleet, reserved }, { ...job, requirements })).toBe(true);
      expect(mayRun({ index, fleet, reserved }, job)).toBe(false);
      const wishes = JobSubmission.parse({ service: 'simulation', ...drawWishes(rng, { index, reserved }) });
      expect(mayRun({ index, fleet, reserved }, wishes), JSON.stringify({ index, wishes })).toBe(true);
    }
  }
  expect([...often.keys()].sort()).toEqual(numbers.slice(1));
});

test('a fickle machine is reserved at every other start, any other at each, and no machine of a script that names none', () => {
  const starts = [1, 2, 3];
  const reservations = (index: number, reserved?: number[]) =>
    starts.map((each) => traitsOf({ index, starts: each, reserved }).reservedFor);
  expect(reservations(4, [4])).toEqual([undefined, ['kept'], undefined]);
  expect(reservations(3, [3])).toEqual(starts.map(() => ['kept', 'third-0']));
  expect(reservations(3)).toEqual([undefined, undefined, undefined]);
});
