import { expect, test } from 'vitest';
import { scenarioNamed } from './builtin-scenarios.ts';
import { describePlan } from './describe-plan.ts';
import { planDay } from './plan-day.ts';
import { Scenario } from './scenario.ts';

test('a plan is told in a few lines: jobs by kind, machines by pool, hours, money, models, losses', () => {
  const lines = describePlan(planDay({ scenario: scenarioNamed('poison+narrow-store'), seed: 1, load: 1 }));
  const text = lines.join('\n');
  expect(lines[0]).toBe('poison+narrow-store, seed 1, load 1: 50080 jobs over 24 h');
  for (const kind of ['llm', 'image', 'video', 'cpu'])
    expect(text).toMatch(new RegExp(`^  ${kind}: \\d+ \\(`, 'm'));
  for (const pool of ['fast-lane', 'standard', 'heavy'])
    expect(text).toMatch(new RegExp(`^  ${pool}: \\d+ rent`, 'm'));
  expect(text).toContain('of these 80 fail in every run');
  expect(text).toMatch(/machines wanted 10 to 50; \d+ rentals, \d+ machine-hours, \d+ USD/);
  expect(text).toMatch(/\d+ lost, \d+ not delivered/);
  expect(text).toMatch(/\d+ models, \d+ GB; store 2 Gbit\/s/);
});

test('the figures are those of the plan', () => {
  const scenario = Scenario.parse({
    name: 'tiny',
    spanHours: 10,
    fleet: { wanted: [{ atHour: 0, machines: 2 }], lostPerHour: 0, undeliveredShare: 0 },
    jobs: { count: 100, kinds: { llm: 0, image: 0, video: 0, cpu: 1 } },
  });
  const plan = planDay({ scenario, seed: 1, load: 1 });
  const usd = plan.machines.reduce((sum, one) => sum + 10 * one.usdPerHour, 0);
  const text = describePlan(plan).join('\n');
  expect(text).toContain('cpu: 100 (100 %)');
  expect(text).not.toContain('video');
  expect(text).toContain(`2 rentals, 20 machine-hours, ${Number(usd.toPrecision(3))} USD`);
  expect(text).toContain('0 lost, 0 not delivered');
  expect(text).toContain('store without a bound');
});

test('a plan without jobs and one without machines that start can be told', () => {
  const empty = planDay({
    scenario: Scenario.parse({ name: 'empty', jobs: { count: 0 } }),
    seed: 1,
    load: 1,
  });
  expect(describePlan(empty)[0]).toContain('0 jobs');
  expect(describePlan({ ...empty, machines: [] }).join('\n')).toContain('0 rentals, 0 machine-hours');
});

test('of a fleet that is chosen its bounds are told, and what runs as the day begins', () => {
  const lines = describePlan(planDay({ scenario: scenarioNamed('day-auto'), seed: 1, load: 0.01 }));
  expect(lines).toContain(
    'machines chosen every 60 s, 6 to 60; 10 run as the day begins (fast-lane 2, standard 5, heavy 3)',
  );
  expect(lines.join('\n')).not.toContain('machine-hours');
});
