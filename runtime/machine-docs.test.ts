import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { machineVariables, readMachineConfig } from './machine-config.ts';

const page = readFileSync(new URL('../docs/machine.md', import.meta.url), 'utf8');
/** Variable names of the first column, with the default of the second. */
const rows = [...page.matchAll(/^\| (`EMP_[^|]*) \| ([^|]*) \|/gm)].map(([, names = '', value = '']) => ({
  names: [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name as string),
  value: value.replaceAll('`', '').trim(),
}));

test('docs/machine.md lists every variable of a machine, and no other', () => {
  expect(rows.flatMap((row) => row.names).sort()).toEqual([...machineVariables].sort());
});

test('the defaults it names are those that hold', () => {
  const config: Record<string, unknown> = readMachineConfig({
    variables: { EMP_HUB_URL: 'http://a', EMP_JOIN_TOKEN: 'x' },
    flags: {},
    defaultServices: ['simulation'],
  });
  const named = rows.filter((row) => !['none', 'all', 'made once'].includes(row.value));
  const field = (variable: string) =>
    variable
      .slice('EMP_'.length)
      .toLowerCase()
      .replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  for (const { names, value } of named)
    expect(String(config[field(names[0] as string)]), names[0]).toBe(value);
  expect(named.length).toBeGreaterThan(8);
});
