import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { JobSubmission } from '#protocol/job.ts';
import { HubConfig } from '#runtime/hub-config.ts';
import { endHttpRigs, httpRig } from './http-rig.ts';

afterEach(endHttpRigs);

const page = (name: string) => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');

describe('documentation', () => {
  test('api.md names every field of a submission, and no other', () => {
    const [, table = ''] = /\| field of a submission \|.*\n((?:\|.*\n)+)/.exec(page('api.md')) ?? [];
    const documented = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
    expect(documented.sort()).toEqual(Object.keys(JobSubmission.shape).sort());
  });

  test('api.md names every route of the hub, and no other', async () => {
    const { routes } = await httpRig();
    const documented = [...page('api.md').matchAll(/`(GET|POST|PUT|DELETE) (\/[^\s`?]*)[^`]*`/g)].map(
      ([, method, path]) => `${method} ${path}`,
    );
    // The socket of machines is no route: it is answered by an upgrade.
    const expected = new Set([...routes.filter((route) => !route.startsWith('HEAD')), 'GET /v1/link']);
    expect(new Set(documented)).toEqual(expected);
  });

  test('hub.md names every setting with its default', () => {
    const text = page('hub.md');
    const defaults = HubConfig.parse({}) as Record<string, unknown>;
    for (const field of Object.keys(HubConfig.shape)) {
      if (field === 'pools') continue;
      const name = field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
      // The stores have the names that everybody uses.
      const variable = ['redisUrl', 'databaseUrl'].includes(field) ? name : `EMP_${name}`;
      const shown = defaults[field] === null ? '(none|made up)' : `\`${String(defaults[field])}\``;
      expect(text).toMatch(new RegExp(`\\| \`${variable}\` \\| ${shown} \\|`));
    }
  });
});
