import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { JobSubmission } from '#protocol/job.ts';
import { ImageOperation, imageSpec } from './image/image-spec.ts';
import { SimulationPayload, simulationSpec } from './simulation/simulation-spec.ts';
import { UpscalePayload, upscaleSpec } from './upscale/upscale-spec.ts';

const page = readFileSync(new URL('../../docs/connectors.md', import.meta.url), 'utf8');
const specs = [imageSpec, upscaleSpec, simulationSpec];
const examples = [...page.matchAll(/```json\n([\s\S]*?)```/g)].map((match) =>
  JobSubmission.parse(JSON.parse(match[1] ?? '')),
);

test.each(specs)('the page about connectors has an example of $service', ({ service }) => {
  expect(examples.map((example) => example.service)).toContain(service);
});

test.each(examples)('the payload of the $service example is accepted', ({ service, payload }) => {
  const spec = specs.find((candidate) => candidate.service === service);
  const parsed = spec?.payload.safeParse(payload);
  expect(parsed?.error).toBeUndefined();
  expect(parsed?.success).toBe(true);
});

test('the page names every operation and every field of every payload', () => {
  const operations = ImageOperation.options;
  const names = [
    ...operations.map(({ shape }) => shape.op.value),
    ...[...operations, UpscalePayload, SimulationPayload].flatMap(({ shape }) => Object.keys(shape)),
  ];
  const missing = names.filter((name) => name !== 'op' && !page.includes(`\`${name}\``));
  expect(missing).toEqual([]);
});
