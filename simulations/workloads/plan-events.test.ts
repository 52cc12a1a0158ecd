import { describe, expect, test } from 'vitest';
import type { PlannedJob } from '#simulations/day/plan.ts';
import { hourMs } from './arrivals.ts';
import { planDay } from './plan-day.ts';
import { Scenario, type ScenarioInput } from './scenario.ts';

type Event = NonNullable<ScenarioInput['events']>[number];

/** Jobs of events alone: the day around them has none. */
function jobsOf(...events: Event[]): PlannedJob[] {
  const scenario = Scenario.parse({ name: 'events', jobs: { count: 0 }, events });
  return planDay({ scenario, seed: 1, load: 1 }).jobs;
}
const distinct = (jobs: PlannedJob[], of: (job: PlannedJob) => unknown) => new Set(jobs.map(of)).size;

describe('events', () => {
  test('a viral model: a crowd, one base model of the tail, a quick rise and a slow decay within its time', () => {
    const jobs = jobsOf({ kind: 'viral', atHour: 10, hours: 3, jobs: 4_000, rank: 60 });
    expect(jobs).toHaveLength(4_000);
    expect(distinct(jobs, (job) => job.models.join())).toBe(1);
    expect(jobs[0]?.models[0]).toMatch(/-060$/);
    expect(distinct(jobs, (job) => job.customer)).toBeGreaterThan(1_000);
    const thirds = [0, 0, 0];
    for (const { atMs } of jobs) thirds[Math.floor((atMs / hourMs - 10) / 1)]! += 1;
    expect(thirds[0]).toBeGreaterThan(thirds[1]!);
    expect(thirds[1]).toBeGreaterThan(thirds[2]!);
    const early = jobs.filter((job) => job.atMs < 10.1 * hourMs).length;
    const peak = jobs.filter((job) => job.atMs >= 10.4 * hourMs && job.atMs < 10.5 * hourMs).length;
    expect(peak).toBeGreaterThan(2 * early);
  });

  test('a rank beyond the catalogue is its last base model', () => {
    const [job] = jobsOf({ kind: 'viral', atHour: 1, hours: 1, jobs: 1, rank: 2_000 });
    expect(job?.models[0]).toMatch(/-105$/);
  });

  test('a flood: one customer, one set of models, evenly and without pause', () => {
    const jobs = jobsOf({ kind: 'flood', atHour: 13, hours: 0.5, jobs: 3_000 });
    expect(distinct(jobs, (job) => job.customer)).toBe(1);
    expect(distinct(jobs, (job) => job.models.join())).toBe(1);
    const halves = jobs.filter((job) => job.atMs < 13.25 * hourMs).length / jobs.length;
    expect(halves).toBeCloseTo(0.5, 1);
    expect(jobs.every((job) => job.atMs >= 13 * hourMs && job.atMs < 13.5 * hourMs)).toBe(true);
  });

  test.each(['llm', 'image', 'video', 'cpu'] as const)('a flood may be of kind %s', (jobKind) => {
    const jobs = jobsOf({ kind: 'flood', atHour: 1, hours: 1, jobs: 20, jobKind });
    expect(jobs.every((job) => job.kind === jobKind)).toBe(true);
    expect(jobs[0]?.models.length === 0).toBe(jobKind === 'cpu');
  });

  test('a poison workflow fails in every run', () => {
    const jobs = jobsOf({ kind: 'poison', atHour: 9, hours: 8, jobs: 80 });
    expect(jobs).toHaveLength(80);
    expect(jobs.every((job) => job.failRuns === 'poison')).toBe(true);
    expect(distinct(jobs, (job) => job.customer)).toBe(1);
  });

  test('bursts: each of one user with one set within seconds, together spread over the time', () => {
    const jobs = jobsOf({
      kind: 'bursts',
      atHour: 6,
      hours: 16,
      bursts: 50,
      jobsPerBurst: 40,
      withinSeconds: 5,
    });
    expect(jobs).toHaveLength(2_000);
    const bursts = Map.groupBy(jobs, (job) => job.customer);
    expect(bursts.size).toBe(50);
    for (const burst of bursts.values()) {
      expect(burst).toHaveLength(40);
      expect(distinct(burst, (job) => job.models.join())).toBe(1);
      expect(burst.at(-1)!.atMs - burst[0]!.atMs).toBeLessThanOrEqual(5_000);
    }
    expect(jobs.at(-1)!.atMs - jobs[0]!.atMs).toBeGreaterThan(12 * hourMs);
  });

  test('no job of an event that ends with the day comes after the day', () => {
    const jobs = jobsOf({
      kind: 'bursts',
      atHour: 23.9,
      hours: 0.1,
      bursts: 20,
      jobsPerBurst: 20,
      withinSeconds: 3_600,
    });
    expect(Math.max(...jobs.map((job) => job.atMs))).toBeLessThan(24 * hourMs);
  });

  test('two events of one kind are two streams', () => {
    const flood = { kind: 'flood', atHour: 1, hours: 1, jobs: 10 } as const;
    const jobs = jobsOf(flood, flood);
    expect(distinct(jobs, (job) => job.id)).toBe(20);
    expect(distinct(jobs, (job) => job.customer)).toBe(2);
    expect(distinct(jobs, (job) => job.atMs)).toBe(20);
  });
});
