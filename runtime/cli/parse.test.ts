import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { EmpError, ERROR_CODES, type ErrorCode } from '#protocol/errors.ts';
import { isTerminal, JobState } from '#protocol/job.ts';
import { hubVersion } from '#runtime/hub-version.ts';
import { hasEnded, JOB_STATES } from '#runtime/job-states.ts';
import { CLI_ERRORS, CliError, type CliErrorCode, EXIT, reportError } from './errors.ts';
import { bar, bytes, duration } from './format.ts';
import { durationMs, pair, sinceMs, startTime, withSetting } from './parse.ts';
import { version } from './program.ts';

test('durations have units, and a plain number is seconds', () => {
  expect(['500ms', '30s', '5m', '1h', '2d', '90', '1.5s'].map(durationMs)).toEqual([
    500, 30_000, 300_000, 3_600_000, 172_800_000, 90_000, 1_500,
  ]);
  for (const bad of ['', '-1s', '0', '1w', '1 h', 's', '1e9', '99999999999999999d'])
    expect(() => durationMs(bad), bad).toThrow('Write a duration');
});

test('since is a duration ago or a time with its zone', () => {
  expect(sinceMs('1h', 10_000_000)).toBe(6_400_000);
  expect(sinceMs('1970-01-01T00:00:01Z', 5)).toBe(1_000);
  for (const long of ['99999d', '1960-01-01T00:00:00Z']) expect(sinceMs(long, 10_000_000), long).toBe(0);
});

test('a start is a duration from now or a time', () => {
  expect(startTime('90', 0)).toBe('1970-01-01T00:01:30.000Z');
  expect(startTime('2030-01-01T00:00:00+02:00', 0)).toBe('2030-01-01T00:00:00+02:00');
  for (const bad of ['soon', '99999999d', '-1h'])
    expect(() => startTime(bad, 0), bad).toThrow('Write a duration');
});

test('settings descend, replace what is no object, and leave the given payload alone', () => {
  const payload = { a: { b: 1 }, c: [1] };
  expect(withSetting(payload, 'a.d="5"')).toEqual({ a: { b: 1, d: '5' }, c: [1] });
  expect(withSetting(payload, 'c.x=null')).toEqual({ a: { b: 1 }, c: { x: null } });
  expect(withSetting(payload, 'text=a=b')).toMatchObject({ text: 'a=b' });
  expect(withSetting(payload, 'empty=')).toMatchObject({ empty: '' });
  expect(payload).toEqual({ a: { b: 1 }, c: [1] });
  for (const bad of ['a', '=1', 'a..b=1', '.=1', 'constructor.prototype.x=1'])
    expect(() => withSetting({}, bad), bad).toThrow();
  expect(pair('k=v=w')).toEqual(['k', 'v=w']);
});

test('numbers are written for people', () => {
  expect([0, 999, 1_000, 59_949, 61_000, 3_600_000, 90_000_000].map(duration)).toEqual([
    '0 ms',
    '999 ms',
    '1.0 s',
    '59.9 s',
    '1 m 1 s',
    '1 h 0 m',
    '1 d 1 h',
  ]);
  expect(duration(null)).toBe('-');
  expect([0, 999, 1_000, 12_345, 999_600, 29_042_960].map(bytes)).toEqual([
    '0 B',
    '999 B',
    '1.00 kB',
    '12.3 kB',
    '1.00 MB',
    '29.0 MB',
  ]);
  expect(bar(0.5, 4)).toBe('[##--]  50 %');
  expect(bar(7, 4)).toBe('[####] 100 %');
});

test('R17: the words for states are those of the protocol', () => {
  expect([...JOB_STATES]).toEqual(JobState.options);
  for (const state of JOB_STATES) expect(hasEnded(state)).toBe(isTerminal(state));
});

test('every code of the hub is printed with an exit code and advice', () => {
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    const report = reportError(new EmpError(code));
    expect(report.likely.length, code).toBeGreaterThan(10);
    expect(report.try.length, code).toBeGreaterThan(5);
    expect(Object.values(EXIT), code).toContain(report.exit);
  }
});

test('docs/cli.md has a row for each error of the command line, with its exit code', async () => {
  const page = await readFile(new URL('../../docs/cli.md', import.meta.url), 'utf8');
  for (const [code, { exit }] of Object.entries(CLI_ERRORS))
    expect(page, code).toMatch(new RegExp(`^\\| \`${code}\` \\| ${exit} \\|`, 'm'));
  for (const [, code] of page.matchAll(/^\| `(EMP-[A-Z-]+)`/gm))
    expect(Object.keys(CLI_ERRORS)).toContain(code);
});

test('whatever else is thrown is reported as a bug, with its message', () => {
  expect(reportError(new TypeError('x is not a function'))).toMatchObject({
    code: 'EMP-BUG',
    exit: 1,
    error: 'x is not a function',
  });
  expect(reportError('text')).toMatchObject({ code: 'EMP-BUG', error: 'text' });
  for (const code of Object.keys(CLI_ERRORS) as CliErrorCode[])
    expect(reportError(new CliError(code, 'm')).code).toBe(code);
});

test('the version that is printed is that of the package', () => expect(version).toBe(hubVersion));
