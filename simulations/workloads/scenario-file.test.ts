import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EmpError } from '#protocol/errors.ts';
import { scenarioNamed } from './builtin-scenarios.ts';
import { Scenario } from './scenario.ts';
import { parseScenario } from './scenario-file.ts';

function refusal(text: string): EmpError {
  try {
    parseScenario(text, 'mine.json');
  } catch (error) {
    if (error instanceof EmpError && error.code === 'VALIDATION_FAILED') return error;
    throw error;
  }
  throw new Error('nothing was refused');
}
/** A document as people write it, one field a line. */
const written = (document: unknown) => JSON.stringify(document, null, 2);

describe('a scenario file', () => {
  test('an empty document is the standard day under the name of the file', () => {
    expect(parseScenario('{}', 'folder/My own day.json')).toEqual({
      ...scenarioNamed('day'),
      name: 'my-own-day',
      summary: '',
    });
  });

  test('a file names what it changes, everything else stays', () => {
    const scenario = parseScenario(written({ fleet: { lostPerHour: 0.5 }, jobs: { count: 10 } }), 'a.json');
    const day = scenarioNamed('day');
    expect(scenario).toEqual({
      ...day,
      name: 'a',
      summary: '',
      fleet: { ...day.fleet, lostPerHour: 0.5 },
      jobs: { ...day.jobs, count: 10 },
    });
  });

  test('a scenario that was written out whole reads the same again', () => {
    const scenario = scenarioNamed('viral+flood+poison+bursts+churn+narrow-store');
    expect(parseScenario(written(scenario), 'x.json')).toEqual(scenario);
  });

  test('an unknown field is named with its file and line, and what to do', () => {
    const error = refusal(written({ name: 'a', fleet: { lostPerHours: 1 } }));
    expect(error.message).toBe(
      'mine.json:4: fleet.lostPerHours: this field is not known here; take it out, or see the list of fields in docs/workloads.md',
    );
    expect(error.errors).toMatchObject([{ pointer: '/fleet/lostPerHours' }]);
    expect(error.fields).toEqual({ file: 'mine.json', line: 4 });
  });

  test.each([
    ['a negative rate', { fleet: { lostPerHour: -0.1 } }, 'fleet.lostPerHour'],
    ['an absurd number of jobs', { jobs: { count: 3_000_000 } }, 'jobs.count'],
    [
      'an absurd number of machines',
      { fleet: { wanted: [{ atHour: 0, machines: 2_001 }] } },
      'fleet.wanted.0.machines',
    ],
    ['half a machine', { fleet: { wanted: [{ atHour: 0, machines: 1.5 }] } }, 'fleet.wanted.0.machines'],
    ['more than a week', { spanHours: 169 }, 'spanHours'],
    ['no time at all', { spanHours: 0 }, 'spanHours'],
    ['a share above 1', { jobs: { loraShare: 1.01 } }, 'jobs.loraShare'],
    ['text for a number', { jobs: { count: '10' } }, 'jobs.count'],
    [
      'shares that do not add up',
      { jobs: { kinds: { llm: 0.5, image: 0.5, video: 0.5, cpu: 0 } } },
      'jobs.kinds',
    ],
    ['a kind that is left out', { jobs: { kinds: { llm: 1 } } }, 'jobs.kinds.image'],
    [
      'an unknown pool',
      { fleet: { pools: { heavy: 1, 'fast-lane': 0, standard: 0, huge: 0 } } },
      'fleet.pools.huge',
    ],
    ['no point of wanted machines', { fleet: { wanted: [] } }, 'fleet.wanted'],
    ['a first point later than 0', { fleet: { wanted: [{ atHour: 1, machines: 1 }] } }, 'fleet.wanted'],
    ['an unknown event', { events: [{ kind: 'meteor', atHour: 1, hours: 1 }] }, 'events.0.kind'],
    ['an event without jobs', { events: [{ kind: 'flood', atHour: 1, hours: 1 }] }, 'events.0.jobs'],
    [
      'an event past the end',
      { events: [{ kind: 'flood', atHour: 23.5, hours: 1, jobs: 1 }] },
      'events.0.hours',
    ],
    ['a name with blanks', { name: 'my day' }, 'name'],
    ['a store that delivers nothing', { originGbps: 0 }, 'originGbps'],
    ['a store without end', { originGbps: 1e9 }, 'originGbps'],
  ])('%s is refused by the name of its field', (_, document, field) => {
    const error = refusal(written(document));
    expect(error.message).toMatch(/^mine\.json:\d+: /);
    expect(error.errors.map((one) => one.pointer.slice(1).replaceAll('/', '.'))).toContain(field);
  });

  test('points out of order are refused', () => {
    const wanted = [0, 5, 5].map((atHour) => ({ atHour, machines: 1 }));
    expect(refusal(written({ fleet: { wanted } })).message).toContain('points must be in order of time');
  });

  test('all wrong places are told, the first five in words', () => {
    const names = Array.from({ length: 9 }, (_, i) => [`wrong${i}`, 1]);
    const error = refusal(written(Object.fromEntries(names)));
    expect(error.errors).toHaveLength(9);
    expect(error.message.split('\n')).toHaveLength(6);
    expect(error.message).toContain('and 4 more');
  });

  test('bounds of a chosen fleet that contradict each other are refused by field', () => {
    const refused = (auto: unknown) => refusal(written({ fleet: { auto } })).message;
    expect(refused({ min: 9, max: 8 })).toBe('mine.json:5: fleet.auto.max: 8 is less than min, 9');
    expect(refused({ pools: { heavy: { min: 3, max: 2 } } })).toBe(
      'mine.json:7: fleet.auto.pools.heavy.max: 2 is less than min, 3',
    );
    expect(refused({ min: 0, max: 2 })).toContain(
      'fleet.auto.max: 2 is less than the pools have at least, 3',
    );
    expect(refused({ pools: { slow: {} } })).toContain('fleet.auto.pools.slow: this field is not known here');
    expect(refused({ targetDrainS: 1 })).toContain('fleet.auto.targetDrainS');
  });

  test('spares of a script and a chosen fleet do not go together', () => {
    const error = refusal(written({ fleet: { spareShare: 0.1, auto: {} } }));
    expect(error.message).toContain('fleet.spareShare: is of scripted fleets; with fleet.auto set');
    expect(
      parseScenario(written({ fleet: { spareShare: 0.1, auto: null } }), 'a.json').fleet.auto,
    ).toBeNull();
  });

  test('a broken text is refused with line and column', () => {
    expect(refusal('{\n "name": }').message).toBe('mine.json:2: column 10: a value is expected here');
    expect(refusal('{ "name": "a", "name": "b" }').message).toContain('stands twice');
  });

  test.each(['[]', 'null', '7', '"day"'])('%s is no scenario', (text) => {
    expect(refusal(text).message).toMatch(/^mine\.json:1: the document: /);
  });

  test('whatever a file says, it is a scenario that can be written and read again, or a refusal with a line', () => {
    const values = fc.oneof(
      fc.json({ maxDepth: 2 }).map((json) => JSON.parse(json) as unknown),
      fc.double(),
      fc.nat(),
    );
    const names = [...Object.keys(Scenario.shape), '__proto__', 'constructor', 'x'];
    const documents = fc.dictionary(fc.constantFrom(...names), values, { maxKeys: 4 });
    fc.assert(
      fc.property(documents, (document) => {
        const text = JSON.stringify(document);
        let scenario: Scenario;
        try {
          scenario = parseScenario(text, 'a.json');
        } catch (error) {
          expect(error).toMatchObject({ code: 'VALIDATION_FAILED', fields: { file: 'a.json', line: 1 } });
          return;
        }
        expect(parseScenario(JSON.stringify(scenario), 'a.json')).toEqual(scenario);
      }),
      { numRuns: 300 },
    );
  });
});
