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

test.each([[['sim', 'run', '--help']], [['sim', 'run', 'hour', '--help']], [['sim', 'run', 'hour', '-h']]])(
  'emp %j lists the flags of a day, and where those of chaos are',
  async (args) => {
    const { code, stdout } = await runMain(args);
    expect(code).toBe(0);
    for (const flag of ['--policy', '--report', '--seeds', 'emp sim run chaos --help'])
      expect(stdout).toContain(flag);
  },
);

test('emp sim run chaos lists flags of its own', async () => {
  const { stdout } = await runMain(['sim', 'run', 'chaos', '--help']);
  expect(stdout).toContain('--no-shrink');
  expect(stdout).not.toContain('--policy');
});

test.each([
  [['limits', 'set', 'w', '--waiting', '-3'], 'emp limits set', '--waiting'],
  [['--json', 'schedules', 'set', 'w', '--corn', '1'], 'emp schedules set', '--cron'],
  [['machines', 'token', '--ttl', 'soon'], 'emp machines token', '--ttl'],
  [['sim', 'diff'], 'emp sim diff', '--force'],
  [['sim', 'run', 'hour', '--load', 'x'], 'emp sim run', '--load'],
  [['jobs', '--since', 'yesterday'], 'emp jobs', '--since'],
  [['run', 'limits', '--set', '=1'], 'emp run', '--set'],
  [['jbos'], 'emp', 'jobs'],
])('the hint of %j names the command whose help has the answer', async (args, command, answer) => {
  const { code, stderr } = await runMain([...args, '--json']);
  expect(code).toBe(2);
  expect(JSON.parse(stderr).try).toBe(`${command} --help`);
  const { stdout } = await runMain([...command.split(' ').slice(1), '--help']);
  expect(stdout).toContain(answer);
});
