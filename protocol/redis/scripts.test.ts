import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { libraryRevision, libraryText, luaFile, scriptText, sharedNames, stepNames } from './scripts.ts';

/** Header between the brackets, and the code behind it. */
function parts(name: string): { header: string; body: string } {
  const text = luaFile(name);
  const end = text.indexOf(']]');
  return { header: text.slice(0, end), body: text.slice(end + 2) };
}

/** Kinds of keys that a piece of Lua names itself: `p .. ':job:' .. id` is `job:`, `p .. ':ids'` is `ids`. */
function namedKeys(lua: string): string[] {
  return [...lua.matchAll(/\bp \.\. ':([a-z]+:?)/g)].map((match) => match[1] ?? '');
}

function called(lua: string): string[] {
  return [...lua.matchAll(/\b([A-Za-z]+)\(/g)].map((match) => match[1] ?? '');
}

/** Shared functions with what each names and calls. */
const shared = new Map(
  sharedNames().flatMap((name) =>
    parts(name)
      .body.split(/^local function /m)
      .slice(1)
      .map((text): [string, string] => [text.slice(0, text.indexOf('(')), text]),
  ),
);

/** Keys that a step touches, in its body or through the shared functions that it calls. */
function touchedKeys(body: string): string[] {
  const seen = new Set<string>();
  const keys = new Set<string>();
  const walk = (lua: string) => {
    for (const key of namedKeys(lua)) keys.add(key);
    for (const name of called(lua)) {
      const text = shared.get(name);
      if (text === undefined || seen.has(name)) continue;
      seen.add(name);
      walk(text);
    }
  };
  walk(body);
  return [...keys].sort();
}

function headerKeys(header: string): string[] {
  const section = /^ {2}Touches ([\s\S]*?)(?:^ {2}[A-Z]|$(?![\s\S]))/m.exec(header)?.[1] ?? '';
  const words = section.trim().split(/\s+/);
  return words.map((word) => word.replace(/^([a-z]+:)<.*$/, '$1')).sort();
}

describe.each(stepNames)('%s', (step) => {
  const { header, body } = parts(step);

  test('its header names the keys that it touches, and no other', () => {
    expect(headerKeys(header)).toEqual(touchedKeys(body));
  });

  test('its header names the answers that it gives, and no other', () => {
    const given = [...body.matchAll(/\banswer\(s, ([^\n]*)/g)].flatMap(([, rest = '']) => {
      const first = rest.split(/,(?![^(]*\))/)[0] ?? '';
      return [...first.matchAll(/'([a-zA-Z]+)'/g)].map((match) => match[1]);
    });
    const named = [...header.matchAll(/\{now, '([a-zA-Z]+)'/g)].map((match) => match[1]);
    expect([...new Set(named)].sort()).toEqual([...new Set(given)].sort());
  });

  test('its header begins with its name and tells its arguments', () => {
    expect(header.startsWith(`--[[ ${step}: `)).toBe(true);
    expect(header).toContain('KEYS[1] shard prefix');
    expect(header).toContain('ARGV[1..3] as in identity'.slice(0, step === 'identity' ? 4 : undefined));
  });

  test('T12: no loop is without a bound, no key expires, no unordered read decides', () => {
    const code = `${body}\n${[...shared.values()].join('\n')}`.replaceAll(/--.*$/gm, '');
    expect(code).not.toMatch(/\bwhile\b|\brepeat\b|\bgoto\b/);
    expect(code).not.toMatch(/'(EXPIRE|PEXPIRE|EXPIREAT|PEXPIREAT|SETEX|PSETEX|GETEX)'/);
    expect(code).not.toMatch(/'(KEYS|SCAN|HSCAN|SSCAN|ZSCAN|SPOP|SRANDMEMBER|HVALS|RANDOMKEY)'/);
    expect(code).not.toMatch(/\bpairs\(/);
    // It drops or lists again all that it reads: no order decides there.
    if (step !== 'reconcile-start') expect(code).not.toMatch(/'(SMEMBERS|HKEYS|HGETALL)'/);
  });

  test('T13: only submit is refused by a full server, by both loaders', () => {
    const isAllowed = step !== 'submit';
    const registered = new RegExp(
      `function_name='emp1_${step.replaceAll('-', '_')}', callback=step, flags=\\{([^}]*)\\}`,
    );
    expect(registered.exec(libraryText())?.[1]).toBe(isAllowed ? "'allow-oom'" : '');
    expect(scriptText(step).text.startsWith(`#!lua flags=${isAllowed ? 'allow-oom' : ''}\n`)).toBe(true);
  });

  test('it stays short', () => {
    expect(luaFile(step).split('\n').length).toBeLessThanOrEqual(120);
  });
});

test('each shared file tells what it is for, and each shared function is used', () => {
  const all = [...stepNames.map((step) => parts(step).body), ...shared.values()].join('\n');
  for (const name of sharedNames()) expect(luaFile(name).startsWith('--[[ ')).toBe(true);
  const unused = [...shared.keys()].filter((name) => called(all).filter((each) => each === name).length < 2);
  expect(
    unused.filter((name) => !called(all.replaceAll(`local function ${name}(`, '')).includes(name)),
  ).toEqual([]);
});

test('the Lua of a revision never changes: a hub of another build would put its own in its place', () => {
  const sha256 = createHash('sha256').update(libraryText()).digest('hex');
  // Where this fails after a change of the Lua: raise libraryRevision, then write the new hash here.
  expect({ libraryRevision, sha256 }).toEqual({
    libraryRevision: 23,
    sha256: '9484d73d4c57d75645a3d865ee9f736cf11bf896dc8728061cacc4ba62b4b422',
  });
});
