import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { scenarios } from './builtin-scenarios.ts';
import { traceFormats } from './read-trace.ts';
import { eventJobs, planLimits, Scenario, ScenarioEvent } from './scenario.ts';

const page = readFileSync(new URL('../../docs/workloads.md', import.meta.url), 'utf8');

/** Names of all fields of a schema, those of lists and choices too. */
function fieldsOf(schema: unknown, into = new Set<string>()): Set<string> {
  if (typeof schema !== 'object' || schema === null) return into;
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'properties') for (const name of Object.keys(value as object)) into.add(name);
    fieldsOf(value, into);
  }
  return into;
}

describe('docs/workloads.md', () => {
  test('it names every field of a scenario, every scenario and every kind of event', () => {
    const fields = fieldsOf(z.toJSONSchema(Scenario, { io: 'input' }));
    expect(fields.size).toBeGreaterThan(40);
    const named = (name: string) => new RegExp(`[\`".]${name}[\`".]`).test(page);
    const events = ScenarioEvent.options.map((option) => option.shape.kind.value);
    const names = [...fields, ...scenarios.map((one) => one.name), ...events];
    expect(names.filter((name) => !named(name))).toEqual([]);
  });

  test('it names the columns of every trace', () => {
    for (const { columns } of traceFormats) expect(page).toContain(columns.join(','));
  });

  test('its example is a scenario', () => {
    const example = /```json\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
    expect(Scenario.parse(JSON.parse(example))).toMatchObject({
      name: 'rough-evening',
      jobs: { count: 20_000 },
    });
  });

  test('its limits are those of plans', () => {
    for (const limit of [planLimits.jobs, planLimits.rentals, planLimits.machines]) {
      expect(page).toContain(limit.toLocaleString('en'));
    }
  });
});

test('jobs of an event: those it names, or all of its bursts', () => {
  const span = { atHour: 0, hours: 1 };
  expect(eventJobs(ScenarioEvent.parse({ kind: 'flood', ...span, jobs: 7 }))).toBe(7);
  expect(eventJobs(ScenarioEvent.parse({ kind: 'bursts', ...span, bursts: 6, jobsPerBurst: 7 }))).toBe(42);
});
