import { describe, expect, test } from 'vitest';
import type { JsonObject } from '#protocol/json.ts';
import { repositoryRoot } from '#runtime/toolchain/repository.ts';
import { readText, sourceFiles } from '#runtime/toolchain/source-tree.ts';
import { knownVariables, unknownVariables, warnOfUnknown } from './unknown-variables.ts';

describe('variables that begin like ours', () => {
  test('what nothing reads is told by name, with the name that was probably meant', () => {
    const found = unknownVariables({
      EMP_LEASETTL: '4',
      EMP_HUB_URLS: 'http://a',
      EMP_REDIS_URL: 'redis://a',
      EMP_SOMETHING_ELSE_ALTOGETHER: '1',
      EMP_LEASE_TTL_MS: '4000',
      EMP_PORTS: '',
      PATH: '/bin',
    });
    expect(found).toEqual([
      { name: 'EMP_HUB_URLS', near: 'EMP_HUB_URL' },
      { name: 'EMP_LEASETTL', near: 'EMP_LEASE_TTL_MS' },
      { name: 'EMP_REDIS_URL', near: 'REDIS_URL' },
      { name: 'EMP_SOMETHING_ELSE_ALTOGETHER', near: null },
    ]);
  });

  test('a start warns of each and never repeats a value', () => {
    const said: JsonObject[] = [];
    warnOfUnknown(
      { EMP_DATABASE_URL: 'postgresql://u:secret@h/d', EMP_HUB_ID: 'a' },
      { warn: (event, fields) => said.push({ event, ...fields }) },
    );
    expect(said).toMatchObject([
      { event: 'variable.unknown', name: 'EMP_DATABASE_URL', near: 'DATABASE_URL' },
    ]);
    expect(JSON.stringify(said)).not.toContain('secret');
  });

  test('every variable that the source reads is known', () => {
    const read = sourceFiles(repositoryRoot)
      .filter((path) => path.endsWith('.ts') && path !== 'runtime/unknown-variables.test.ts')
      .flatMap((path) =>
        [
          ...(readText(repositoryRoot, path) ?? '').matchAll(
            /\b(?:env|variables)(?:\.|\[['"])(EMP_[A-Z0-9_]+)/g,
          ),
        ].map((match) => match[1] ?? ''),
      );
    expect(read.length).toBeGreaterThan(20);
    expect([...new Set(read)].filter((name) => !knownVariables.has(name))).toEqual([]);
  });
});
