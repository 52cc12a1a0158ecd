import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { describeProblem, playScript } from './chaos.ts';
import { readScript } from './chaos-script.ts';

/** Scripts that once broke an invariant, or found a planted bug: played as they are, they must hold. */
const folder = new URL('./regressions/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));

describe('regressions', () => {
  test('there are some, and nothing else lies there', () => {
    expect(files.length).toBeGreaterThan(0);
    expect(readdirSync(folder).filter((name) => !files.includes(name))).toEqual([]);
  });

  test.each(files)('%s holds', { timeout: 120_000 }, async (name) => {
    const path = `simulations/regressions/${name}`;
    const script = readScript(readFileSync(new URL(name, folder), 'utf8'), path);
    expect(script.about, 'a script says what it showed').not.toBe('');
    const report = await playScript(script);
    if (report.problem !== null)
      expect.fail(describeProblem(report, `npm run -s emp -- sim run chaos --script ${path}`));
    expect(Object.values(report.ended).reduce((sum, jobs) => sum + jobs, 0)).toBe(script.jobs.length);
  });
});
