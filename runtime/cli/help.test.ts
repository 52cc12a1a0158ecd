import { expect, test } from 'vitest';
import { hubVariables } from '#runtime/hub-config.ts';
import { machineVariables } from '#runtime/machine-config.ts';
import { knownVariables } from '#runtime/unknown-variables.ts';
import { BENCH_NAMES } from './bench-list.ts';
import { runMain } from './run-main.fixture.ts';

const help = async (command: string) => (await runMain([command, '--help'])).stdout;

test('every bench has a line with the servers that it needs and the time that it takes', async () => {
  const text = await help('bench');
  for (const name of BENCH_NAMES)
    expect(text).toMatch(
      new RegExp(
        `^ +${name} +.+; .*(no server|redis-server|PostgreSQL).*; (under a minute|about \\d+ minutes?|\\d+ minutes or more)$`,
        'm',
      ),
    );
});

test.each([
  ['hub', hubVariables, ['REDIS_URL', 'DATABASE_URL', 'docs/hub.md']],
  ['machine', machineVariables, ['EMP_HUB_URL', 'EMP_JOIN_TOKEN', 'docs/machine.md']],
])(
  '%s names the variables that matter most, all of which it reads, and where the others are',
  async (command, read, must) => {
    const text = await help(command);
    for (const word of must) expect(text).toContain(word);
    const named = text.match(/\b(EMP_[A-Z_]+|REDIS_URL|DATABASE_URL)\b/g) ?? [];
    expect(named.length).toBeGreaterThan(4);
    expect(named.filter((name) => !read.includes(name) && !knownVariables.has(name))).toEqual([]);
  },
);
