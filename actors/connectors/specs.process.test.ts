import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

test('the specs of all services load without any picture or network library', () => {
  const specs = ['image/image-spec.ts', 'upscale/upscale-spec.ts', 'simulation/simulation-spec.ts'];
  const script = `
    import { registerHooks } from 'node:module';
    const packages = new Set();
    registerHooks({ resolve(name, context, next) { if (!/^([.#]|file:|node:)/.test(name)) packages.add(name); return next(name, context); } });
    for (const url of ${JSON.stringify(specs.map((spec) => new URL(`./${spec}`, import.meta.url).href))}) await import(url);
    console.log(JSON.stringify([...packages].filter((name) => !name.startsWith('zod'))));`;
  const ended = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' });
  expect(ended.stderr).toBe('');
  expect(JSON.parse(ended.stdout)).toEqual([]);
});
