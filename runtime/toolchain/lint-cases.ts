/** Files planted together, and the diagnostic that they must raise. */
export interface LintViolation {
  name: string;
  /** Path in a repository → content. */
  files: Record<string, string>;
  /** Biome's category, `plugin` for the rules in lint/. */
  rule: string;
  /** Part of the message: one rule often stands for several of our laws. */
  says: string;
}

const lines = (count: number, line: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => line(index)).join('\n');

const restrictedGlobal = 'lint/style/noRestrictedGlobals';
const restrictedProperty = 'lint/nursery/noJsRestrictedProperties';

/** One expression each, planted in an actor's file. */
const impure: [name: string, expression: string, rule: string, says: string][] = [
  ['Date.now', 'Date.now()', restrictedProperty, 'Date.now'],
  ['Date.now passed on', 'Date.now', restrictedProperty, 'Date.now'],
  ['new Date()', 'new Date()', 'plugin', 'new Date()'],
  ['Date()', 'Date()', 'plugin', 'Date()'],
  ['Math.random', 'Math.random()', restrictedProperty, 'Math.random'],
  ['performance.now', 'performance.now()', restrictedGlobal, 'performance'],
  ['process.hrtime', 'process.hrtime.bigint()', restrictedProperty, 'process.hrtime'],
  ['setTimeout', 'setTimeout(() => 1, 5)', restrictedGlobal, 'setTimeout'],
  ['globalThis.setTimeout', 'globalThis.setTimeout(() => 1, 5)', restrictedProperty, 'globalThis.setTimeout'],
  ['setInterval', 'setInterval(() => 1, 5)', restrictedGlobal, 'setInterval'],
  ['setImmediate', 'setImmediate(() => 1)', restrictedGlobal, 'setImmediate'],
  ['crypto.randomUUID', 'crypto.randomUUID()', restrictedGlobal, 'crypto'],
  ['AbortSignal.timeout', 'AbortSignal.timeout(5)', restrictedProperty, 'AbortSignal.timeout'],
];

/** One import each, planted in an actor's file. */
const impureImports: [name: string, statement: string, says: string][] = [
  [
    'randomUUID of node:crypto',
    "import { randomUUID as a } from 'node:crypto';",
    'Chance that cannot be repeated',
  ],
  [
    'randomBytes among others',
    "import { createHash, randomBytes as a } from 'node:crypto';",
    'Chance that cannot',
  ],
  ['node:timers/promises', "import { setTimeout as a } from 'node:timers/promises';", 'reads the system'],
  ['node:perf_hooks', "import { performance as a } from 'node:perf_hooks';", 'reads the system'],
  ['waitFor of xstate', "import { createActor, waitFor as a } from 'xstate';", 'waitFor uses the system'],
];

const clocksAndChance: LintViolation[] = [
  ...impure.map(([name, expression, rule, says], index) => ({
    name: `${name} outside Env`,
    files: { [`actors/b${index}.ts`]: `export const a = () => ${expression};\n` },
    rule,
    says,
  })),
  ...impureImports.map(([name, statement, says], index) => ({
    name: `${name} outside Env`,
    files: { [`actors/c${index}.ts`]: `${statement}\nexport const b = a;\n` },
    rule: 'plugin',
    says,
  })),
  {
    name: 'a unit test that sleeps',
    files: { 'actors/b.test.ts': 'export const a = (): unknown => setTimeout(() => 1, 5);\n' },
    rule: restrictedGlobal,
    says: 'setTimeout',
  },
];

const actorRules: LintViolation[] = [
  {
    name: 'a raw subscribe on an actor',
    files: {
      'runtime/d1.ts':
        "import type { AnyActorRef } from 'xstate';\nexport const a = (b: AnyActorRef) => b.subscribe(() => 1);\n",
    },
    rule: 'plugin',
    says: 'Raw subscribe',
  },
  {
    name: "a bare '*' transition at a chart's root",
    files: {
      'machines/d2.ts':
        "import { setup } from 'xstate';\nexport const a = setup({}).createMachine({ on: { '*': '.b' }, states: { b: {} } });\n",
    },
    rule: 'plugin',
    says: "A bare '*' transition",
  },
  {
    name: "a bare '*' transition with a target object",
    files: {
      'machines/d3.ts':
        "import { setup } from 'xstate';\nexport const a = setup({}).createMachine({ on: { 'a.*': '.b', ['*']: { target: '.b' } }, states: { b: {} } });\n",
    },
    rule: 'plugin',
    says: "A bare '*' transition",
  },
];

const promises: LintViolation[] = [
  {
    name: 'a floating promise, from a function of another file',
    files: {
      'actors/e1.ts': "import { load } from './e1-target.ts';\nexport const a = () => {\n  load();\n};\n",
      'actors/e1-target.ts': 'export const load = async (): Promise<number> => 1;\n',
    },
    rule: 'lint/nursery/noFloatingPromises',
    says: 'floating',
  },
  {
    name: 'a promise used as a condition',
    files: {
      'actors/e2.ts':
        'const ready = async (): Promise<boolean> => true;\nexport const a = () => {\n  if (ready()) return 1;\n  return 2;\n};\n',
    },
    rule: 'lint/nursery/noMisusedPromises',
    says: 'Promise',
  },
  {
    name: 'an empty catch block',
    files: {
      'actors/e3.ts': 'export const a = (b: () => void) => {\n  try {\n    b();\n  } catch {}\n};\n',
    },
    rule: 'plugin',
    says: 'Empty catch',
  },
  {
    name: 'a catch that swallows a rejection',
    files: { 'actors/e4.ts': 'export const a = (b: Promise<void>) => b.catch(() => {});\n' },
    rule: 'plugin',
    says: 'Empty catch',
  },
  {
    name: 'a switch that forgets a case',
    files: {
      'actors/e5.ts':
        "export const a = (kind: 'x' | 'y') => {\n  switch (kind) {\n    case 'x':\n      return 1;\n  }\n  return 2;\n};\n",
    },
    rule: 'lint/nursery/useExhaustiveSwitchCases',
    says: 'exhaustive',
  },
];

const forms: LintViolation[] = [
  {
    name: 'export *',
    files: {
      'runtime/f1.ts': "export * from './f1-target.ts';\n",
      'runtime/f1-target.ts': 'export const a = 1;\n',
    },
    rule: 'lint/performance/noReExportAll',
    says: '',
  },
  {
    name: 'a barrel',
    files: {
      'runtime/f2.ts': "export { a } from './f2-target.ts';\n",
      'runtime/f2-target.ts': 'export const a = 1;\n',
    },
    rule: 'lint/performance/noBarrelFile',
    says: 'barrel',
  },
  {
    name: 'an enum',
    files: { 'runtime/f3.ts': "export enum Kind {\n  A = 'a',\n}\n" },
    rule: 'lint/style/noEnum',
    says: 'enum',
  },
  {
    name: 'a parameter property',
    files: { 'runtime/f4.ts': 'export class A {\n  constructor(readonly b: number) {}\n}\n' },
    rule: 'lint/style/noParameterProperties',
    says: 'parameter property',
  },
  {
    name: 'a namespace',
    files: { 'runtime/f5.ts': 'export namespace A {\n  export const b = 1;\n}\n' },
    rule: 'lint/style/noNamespace',
    says: 'namespace',
  },
  {
    name: 'a default export',
    files: { 'runtime/f6.ts': 'export default function a() {\n  return 1;\n}\n' },
    rule: 'lint/style/noDefaultExport',
    says: 'default export',
  },
  {
    name: 'any',
    files: { 'runtime/f7.ts': 'export const a = (b: any) => b;\n' },
    rule: 'lint/suspicious/noExplicitAny',
    says: 'any',
  },
  {
    name: 'a value import of a type',
    files: {
      'runtime/f8.ts': "import { Logger } from 'pino';\nexport const a = (b: Logger): Logger => b;\n",
    },
    rule: 'lint/style/useImportType',
    says: 'type',
  },
  {
    name: 'an unused variable',
    files: { 'runtime/f9.ts': 'const forgotten = 1;\nexport const a = 2;\n' },
    rule: 'lint/correctness/noUnusedVariables',
    says: 'forgotten',
  },
  {
    name: 'a non-null assertion outside tests',
    files: { 'runtime/f10.ts': 'export const a = (b: number[]) => b[0]!;\n' },
    rule: 'lint/style/noNonNullAssertion',
    says: 'non-null',
  },
  {
    name: 'console in a library',
    files: { 'runtime/f11.ts': "export const a = () => console.log('a');\n" },
    rule: 'lint/suspicious/noConsole',
    says: 'console',
  },
  {
    name: 'a file name in camel case',
    files: { 'runtime/camelCase.ts': 'export const a = 1;\n' },
    rule: 'lint/style/useFilenamingConvention',
    says: 'kebab-case',
  },
  {
    name: 'a file of 401 lines',
    files: { 'runtime/f13.ts': `${lines(401, (index) => `export const a${index} = 1;`)}\n` },
    rule: 'lint/style/noExcessiveLinesPerFile',
    says: '400',
  },
  {
    name: 'a function of 71 lines',
    files: {
      'runtime/f14.ts': `export function a(b: (n: number) => void) {\n${lines(71, (index) => `  b(${index});`)}\n}\n`,
    },
    rule: 'lint/complexity/noExcessiveLinesPerFunction',
    says: '70',
  },
  {
    name: 'a focused test',
    files: { 'runtime/f15.test.ts': "import { test } from 'vitest';\ntest.only('a', () => 1);\n" },
    rule: 'lint/suspicious/noFocusedTests',
    says: 'focus',
  },
  {
    name: 'a test that is switched off',
    files: { 'runtime/f16.test.ts': "import { test } from 'vitest';\ntest.skip('a', () => 1);\n" },
    rule: 'lint/suspicious/noSkippedTests',
    says: 'disable tests',
  },
];

/** Every law but the import direction, which has `importViolations`. */
export const lintViolations: LintViolation[] = [...clocksAndChance, ...actorRules, ...promises, ...forms];

/** What the rules above must leave alone: the exemptions, and look-alikes of each refusal. */
export const wellBehaved: { name: string; files: Record<string, string> }[] = [
  {
    name: 'each folder importing what stands to its left',
    files: {
      'protocol/z1.ts':
        "import { createHash } from 'node:crypto';\nimport { z } from 'zod';\nimport { b } from './z1b.ts';\n\nexport const a = () => [createHash, z, b];\n",
      'protocol/z1b.ts': 'export const b = 1;\n',
      'protocol/memory/z1.ts': "import { a } from '#protocol/z1.ts';\n\nexport const memory = a;\n",
      'machines/z1.ts':
        "import { setup } from 'xstate';\nimport { a } from '#protocol/z1.ts';\n\nexport const chart = [setup, a];\n",
      'machines/policy/z1.ts': "import { chart } from '#machines/z1.ts';\n\nexport const score = chart;\n",
      'actors/z1.ts': "import { chart } from '#machines/z1.ts';\n\nexport const actor = chart;\n",
      'runtime/z1.ts':
        "import { readFileSync } from 'node:fs';\nimport { actor } from '#actors/z1.ts';\nimport { memory } from '#protocol/memory/z1.ts';\n\nexport const wired = [actor, memory, readFileSync];\n",
      'simulations/z1.ts': "import { wired } from '#runtime/z1.ts';\n\nexport const proved = wired;\n",
    },
  },
  {
    name: 'the one dynamic import of simulations by the CLI',
    files: { 'runtime/cli.ts': "export const run = async () => await import('#simulations/z1.ts');\n" },
  },
  {
    name: 'a test that imports anything and asserts that a value is there',
    files: {
      'machines/z3.test.ts':
        "import { expect, test } from 'vitest';\nimport { wired } from '#runtime/z1.ts';\n\ntest('a', () => expect(wired[0]!).toBeDefined());\n",
    },
  },
  {
    name: 'time and chance in Env, in process tests and from a given time',
    files: {
      'runtime/env.ts':
        "import { randomUUID } from 'node:crypto';\n\nexport const now = () => [Date.now(), randomUUID(), performance.now(), new Date()];\nexport const later = (fn: () => void) => setTimeout(fn, 1);\n",
      'runtime/z4.process.test.ts': 'export const a = (): unknown => setTimeout(() => Date.now(), 5);\n',
      'actors/z4.ts':
        'interface Clock {\n  now(): number;\n  setTimeout(fn: () => void, ms: number): unknown;\n}\nexport const a = (clock: Clock) => [\n  new Date(clock.now()).toISOString(),\n  clock.setTimeout(() => 1, 5),\n];\nexport const b = () => queueMicrotask(() => 1);\n',
    },
  },
  {
    name: "a transition on a prefix, and '*' where it is no transition",
    files: {
      'machines/z5.ts':
        "import { setup } from 'xstate';\n\nexport const weights = { '*': 1 };\nexport const a = setup({}).createMachine({ on: { 'job.*': '.b' }, states: { b: {} } });\n",
    },
  },
  {
    name: 'the watch helper itself',
    files: {
      'actors/actor-watch.ts':
        "import type { AnyActorRef } from 'xstate';\n\nexport const watch = (actor: AnyActorRef) => actor.subscribe({ next: () => 1, error: () => 2 });\n",
    },
  },
  {
    name: 'a default that does nothing, and a catch that says why',
    files: {
      'actors/z7.ts':
        'export const a = (kill: () => void, done: () => void = () => {}) => {\n  try {\n    kill();\n  } catch {\n    // The process has gone already, which is what we wanted.\n  }\n  done();\n};\n',
    },
  },
];
