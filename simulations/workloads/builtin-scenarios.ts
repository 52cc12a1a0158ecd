import { EmpError } from '#protocol/errors.ts';
import { Scenario, type ScenarioInput } from './scenario.ts';

/** What a scenario changes of the standard day. */
type Change = Omit<ScenarioInput, 'name' | 'summary'>;

interface Builtin {
  name: string;
  summary: string;
  change: Change;
}

const builtins: readonly Builtin[] = [
  { name: 'day', summary: '10, 50 and again 10 machines, about 50,000 jobs, SALAD-like losses', change: {} },
  {
    name: 'day-auto',
    summary: 'the day with a fleet that the autoscaler chooses, 6 to 60 machines',
    change: { fleet: { auto: {} } },
  },
  {
    name: 'viral',
    summary: 'in the late morning a crowd wants one model that lay in the tail',
    change: { events: [{ kind: 'viral', atHour: 10, hours: 3, jobs: 4_000 }] },
  },
  {
    name: 'flood',
    summary: 'one customer submits 3,000 images within a quarter of an hour',
    change: { events: [{ kind: 'flood', atHour: 13, hours: 0.25, jobs: 3_000 }] },
  },
  {
    name: 'poison',
    summary: 'a workflow that fails in every run comes again and again',
    change: { events: [{ kind: 'poison', atHour: 9, hours: 8, jobs: 80 }] },
  },
  {
    name: 'bursts',
    summary: 'batches of 40 like images within seconds, 60 times',
    change: { events: [{ kind: 'bursts', atHour: 6, hours: 16, bursts: 60, jobsPerBurst: 40 }] },
  },
  {
    name: 'churn',
    summary: 'machines are lost ten times as often',
    change: { fleet: { lostPerHour: 0.1 } },
  },
  {
    name: 'zombies',
    summary: 'machines are lost ten times as often, and half of them come back with their old state',
    change: { fleet: { lostPerHour: 0.1, zombieShare: 0.5 } },
  },
  {
    name: 'thin-links',
    summary: 'every link has 0.4 of its rate',
    change: { fleet: { linkFactor: 0.4 } },
  },
  {
    name: 'narrow-store',
    summary: 'the store of models delivers 2 Gbit/s to all machines together',
    change: { originGbps: 2 },
  },
  {
    name: 'hour',
    summary: 'an hour with 6, 10 and again 6 machines and 500 jobs, to try things out',
    change: {
      spanHours: 1,
      fleet: {
        wanted: [
          { atHour: 0, machines: 6 },
          { atHour: 0.5, machines: 10 },
          { atHour: 1, machines: 6 },
        ],
        stepMinutes: 5,
      },
      catalogue: { checkpoints: 40, loras: 60, controlnets: 6, llms: 6 },
      jobs: { count: 500, customers: 100 },
    },
  },
];

/** Scenarios that come with the program. Names joined by `+` are all of them at once: `scenarioNamed`. */
export const scenarios: readonly { name: string; summary: string; scenario: Scenario }[] = builtins.map(
  ({ name, summary, change }) => ({ name, summary, scenario: Scenario.parse({ name, summary, ...change }) }),
);

/**
 * The scenario of a name, or of several joined by `+`: changes are put together, events added up. Throws
 * `VALIDATION_FAILED` for an unknown name, a name that stands twice, and two that set one field differently.
 */
export function scenarioNamed(name: string): Scenario {
  const names = name.split('+');
  const parts = names.map((part) => {
    const found = builtins.find((one) => one.name === part);
    if (found !== undefined) return found;
    const known = builtins.map((one) => one.name).join(', ');
    throw refused(
      `there is no scenario "${part}"; take one of ${known}, several joined by +, or a JSON file`,
    );
  });
  if (new Set(names).size < names.length) throw refused(`a scenario stands twice in "${name}"`);
  let change: Record<string, unknown> = {};
  for (const part of parts) change = joined(change, part.change, { name, path: '' });
  const summary = parts.map((part) => part.summary).join('; ');
  const parsed = Scenario.safeParse({ name, summary, ...change });
  if (parsed.success) return parsed.data;
  const detail = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
  throw refused(`"${name}" do not go together: ${detail}`);
}

type Fields = Record<string, unknown>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function joined(left: Fields, right: Fields, at: { name: string; path: string }): Fields {
  const both: Fields = { ...left };
  for (const [field, value] of Object.entries(right)) {
    const known = both[field];
    const path = at.path === '' ? field : `${at.path}.${field}`;
    if (known === undefined) both[field] = value;
    else if (path === 'events' && Array.isArray(known) && Array.isArray(value))
      both[field] = [...known, ...value];
    else if (isFields(known) && isFields(value)) both[field] = joined(known, value, { ...at, path });
    else throw refused(`"${at.name}" do not go together: two of them set ${path}`);
  }
  return both;
}

function refused(detail: string): EmpError {
  return new EmpError('VALIDATION_FAILED', { detail });
}
