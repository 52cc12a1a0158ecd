import { describe, expect, test } from 'vitest';
import { EmpError } from '#protocol/errors.ts';
import { scenarioNamed, scenarios } from './builtin-scenarios.ts';
import { planDay } from './plan-day.ts';
import { Scenario } from './scenario.ts';

describe('scenarios that come along', () => {
  test('each has a name of its own, a summary, and can be planned', () => {
    expect(scenarios.map((one) => one.name)).toEqual(
      expect.arrayContaining(['day', 'viral', 'flood', 'poison', 'bursts']),
    );
    expect(new Set(scenarios.map((one) => one.name)).size).toBe(scenarios.length);
    for (const { name, summary, scenario } of scenarios) {
      expect(summary).not.toBe('');
      expect(scenario).toEqual(scenarioNamed(name));
      expect(Scenario.parse(scenario)).toEqual(scenario);
      const plan = planDay({ scenario, seed: 1, load: 0.01 });
      expect(plan.jobs.length).toBeGreaterThan(0);
      expect(plan.machines.length).toBeGreaterThan(0);
    }
  });

  test('names joined by + are all of them at once', () => {
    const { events, fleet, originGbps } = scenarioNamed('viral+churn+poison+thin-links+narrow-store');
    expect(events.map((event) => event.kind)).toEqual(['viral', 'poison']);
    expect(fleet).toMatchObject({ lostPerHour: 0.1, linkFactor: 0.4 });
    expect(originGbps).toBe(2);
    const { fleet: chosen, spanHours } = scenarioNamed('hour+churn+day-auto');
    expect(chosen).toMatchObject({ lostPerHour: 0.1, auto: { min: 6, max: 60 } });
    expect(spanHours).toBe(1);
    expect(scenarioNamed('day+flood').events).toEqual(scenarioNamed('flood').events);
  });

  test.each([
    ['nonsense', 'take one of day, day-auto, viral'],
    ['day+', 'there is no scenario ""'],
    ['', 'there is no scenario ""'],
    ['viral+viral', 'stands twice'],
    ['hour+viral', 'the event ends after the scenario does'],
  ])('"%s" is refused', (name, detail) => {
    expect(() => scenarioNamed(name)).toThrow(EmpError);
    expect(() => scenarioNamed(name)).toThrow(detail);
  });
});
