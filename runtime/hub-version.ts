import { readFileSync } from 'node:fs';

/** Version of this package, as status and events name it. */
export const hubVersion: string = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
