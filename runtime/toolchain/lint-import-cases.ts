import type { LintViolation } from './lint-cases.ts';

const imports = 'lint/style/noRestrictedImports';

/** Who may import whom, and in which form. */
export const importViolations: LintViolation[] = [
  {
    name: 'a pure protocol file that imports a chart',
    files: { 'protocol/a1.ts': "import { chart } from '#machines/m1.ts';\nexport const a = chart;\n" },
    rule: imports,
    says: 'protocol/*.ts is pure',
  },
  {
    name: 'a pure protocol file that imports a client',
    files: { 'protocol/a2.ts': "import { memory } from './memory/m2.ts';\nexport const a = memory;\n" },
    rule: imports,
    says: 'protocol/*.ts is pure',
  },
  {
    name: 'a pure protocol file that reads files',
    files: { 'protocol/a3.ts': "import { readFileSync } from 'node:fs';\nexport const a = readFileSync;\n" },
    rule: imports,
    says: 'protocol/*.ts is pure',
  },
  {
    name: 'a pure protocol file that loads a server on demand',
    files: { 'protocol/a4.ts': "export const a = () => import('node:http');\n" },
    rule: imports,
    says: 'protocol/*.ts is pure',
  },
  {
    name: 'a pure protocol file that calls fetch',
    files: { 'protocol/a5.ts': "export const a = () => fetch('http://127.0.0.1');\n" },
    rule: 'lint/style/noRestrictedGlobals',
    says: 'fetch',
  },
  {
    name: 'a protocol client that imports an actor, as a type only',
    files: {
      'protocol/memory/a6.ts': "import type { A } from '#actors/a.ts';\nexport const a = (x: A): A => x;\n",
    },
    rule: imports,
    says: 'A client below protocol/',
  },
  {
    name: 'a chart that imports a protocol client',
    files: { 'machines/a7.ts': "import { m } from '#protocol/memory/m.ts';\nexport const a = m;\n" },
    rule: imports,
    says: 'machines/ decides',
  },
  {
    name: 'a chart that imports a package of its own choice',
    files: { 'machines/a8.ts': "import pino from 'pino';\nexport const a = pino;\n" },
    rule: imports,
    says: 'machines/ decides',
  },
  {
    name: 'a policy that starts processes',
    files: {
      'machines/policy/a9.ts': "import { spawn } from 'node:child_process';\nexport const a = spawn;\n",
    },
    rule: imports,
    says: 'machines/ decides',
  },
  {
    name: 'an actor that imports the runtime',
    files: { 'actors/a10.ts': "import { c } from '#runtime/config.ts';\nexport const a = c;\n" },
    rule: imports,
    says: 'actors/ may import',
  },
  {
    name: 'an actor that chooses a protocol client',
    files: {
      'actors/connectors/a11.ts': "import { m } from '#protocol/sqlite/s.ts';\nexport const a = m;\n",
    },
    rule: imports,
    says: 'actors/ take ports',
  },
  {
    name: 'the runtime that imports simulations',
    files: { 'runtime/a12.ts': "export const a = () => import('#simulations/day.ts');\n" },
    rule: imports,
    says: 'runtime/ ships without simulations/',
  },
  {
    name: 'the CLI that imports simulations at its start',
    files: { 'runtime/cli/a13.ts': "import { day } from '#simulations/day.ts';\nexport const a = day;\n" },
    rule: 'plugin',
    says: 'Reach simulations/ by `await import',
  },
  {
    name: 'a relative import across folders',
    files: { 'simulations/a14.ts': "import { c } from '../runtime/config.ts';\nexport const a = c;\n" },
    rule: imports,
    says: 'Import across folders as #folder/x.ts',
  },
  {
    name: 'an import without its extension',
    files: {
      'runtime/a15.ts': "import { b } from './a15-target';\nexport const a = b;\n",
      'runtime/a15-target.ts': 'export const b = 1;\n',
    },
    rule: 'lint/correctness/useImportExtensions',
    says: 'extension',
  },
  {
    name: 'an import cycle through subpath imports',
    files: {
      'runtime/a16.ts': "import { b } from '#runtime/a16b.ts';\nexport const a = (): number => b();\n",
      'runtime/a16b.ts': "import { a } from './a16.ts';\nexport const b = (): number => a();\n",
    },
    rule: 'lint/suspicious/noImportCycles',
    says: 'cycle',
  },
  {
    name: 'a package that package.json does not name',
    files: { 'runtime/a17.ts': "import lodash from 'lodash';\nexport const a = lodash;\n" },
    rule: 'lint/correctness/noUndeclaredDependencies',
    says: 'lodash',
  },
];
