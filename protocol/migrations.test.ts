import { describe, expect, test } from 'vitest';
import { checkExpandThenContract, migrationsAhead, numberedMigrations } from './migrations.ts';

const files = (...names: string[]) => names.map((name) => ({ name, sql: `-- ${name}\nSELECT 1;` }));
const three = numberedMigrations('/m', files('0003_c.sql', '0001_a.sql', '0002_b.sql'));
const refused = (text: string) =>
  expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(text) });

describe('the folder', () => {
  test('is read in the order of numbers, each with the hash of its text', () => {
    expect(three.map(({ number, name }) => [number, name])).toEqual([
      [1, '0001_a.sql'],
      [2, '0002_b.sql'],
      [3, '0003_c.sql'],
    ]);
    expect(new Set(three.map(({ sha256 }) => sha256)).size).toBe(3);
    expect(three[0]?.sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  test.each([
    ['0002_a.sql'],
    ['0001_a.sql', '0003_b.sql'],
    ['1_a.sql'],
    ['0001_A.sql'],
    ['0001_a.sql', '0001_b.sql'],
  ])('is refused by name where a number is missing, twice or ill-formed: %s', (...names) => {
    expect(() => numberedMigrations('/m', files(...names))).toThrow(refused(names.at(-1) as string));
  });
});

describe('a store', () => {
  test('is brought from where it is to the newest', () => {
    expect(migrationsAhead('s', [], three)).toEqual(three);
    expect(migrationsAhead('s', three.slice(0, 2), three)).toEqual([three[2]]);
    expect(migrationsAhead('s', three, three)).toEqual([]);
  });

  test('that went further than we know is refused', () => {
    expect(() => migrationsAhead('s', three, three.slice(0, 2))).toThrow(
      refused('newer version of emp (migration 0003_c.sql)'),
    );
  });

  test.each([
    ['text', { sha256: 'f'.repeat(64) }],
    ['name', { name: '0002_other.sql' }],
    ['number', { number: 7 }],
  ])('whose history has another %s is refused', (_, over) => {
    const applied = three.map((each, n) => (n === 1 ? { ...each, ...over } : each));
    expect(() => migrationsAhead('s', applied, three)).toThrow(refused('0002_b.sql'));
  });
});

describe('expand, then contract', () => {
  const check = (sql: string, name = '0001_a.sql') =>
    checkExpandThenContract(numberedMigrations('/m', [{ name, sql }]));

  test.each([
    'ALTER TABLE t DROP COLUMN c;',
    'drop index i;',
    'ALTER TABLE t RENAME TO u;',
    'TRUNCATE t;',
    'ALTER TABLE t ALTER COLUMN c SET  NOT\nNULL;',
    'ALTER TABLE t ALTER COLUMN c SET DATA TYPE bigint;',
    'ALTER TABLE t ALTER COLUMN c TYPE bigint;',
  ])('%j takes away, and says so in its name or is refused', (sql) => {
    expect(() => check(sql)).toThrow(refused('NNNN_contract_what.sql'));
    check(sql, '0001_contract_a.sql');
  });

  test.each([
    '-- nothing is to DROP here\nCREATE TABLE t (c integer NOT NULL);',
    'ALTER TABLE t ADD COLUMN dropped boolean;',
    'CREATE INDEX renames ON t (c);',
  ])('%j only adds', (sql) => check(sql));
});
