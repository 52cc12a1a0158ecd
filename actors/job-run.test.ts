import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import PQueue from 'p-queue';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createActor } from 'xstate';
import type { Assignment } from '#protocol/link.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { watchActor } from './actor-watch.ts';
import { ClaimNumbers } from './claim.ts';
import { checkResult, jobRunActors } from './job-run.ts';
import { nodeDisk } from './node-disk.ts';

const outDir = '/runs/j1.5/out';

describe('the result of a service', () => {
  test('its data is measured in bytes, as the hub measures it', () => {
    // Two bytes of quotes and two for each letter: few characters, many bytes.
    expect(() => checkResult({ outputs: [], data: 'é'.repeat(32_767) }, outDir)).not.toThrow();
    expect(() => checkResult({ outputs: [], data: 'é'.repeat(32_768) }, outDir)).toThrow(
      expect.objectContaining({
        code: 'JOB_FAILED',
        retryable: false,
        message: expect.stringContaining('65538 bytes'),
      }),
    );
  });

  test('an output outside of the folder of its run is refused', () => {
    const output = { name: 'a.txt', path: `${outDir}/../../secret`, mime: 'text/plain' };
    expect(() => checkResult({ outputs: [output], data: null }, outDir)).toThrow(
      expect.objectContaining({ code: 'CONNECTOR_FAILED', retryable: false }),
    );
  });
});

describe('the inputs of a run', () => {
  test('a store that falls silent is a missing input, where the hub’s silence would be asked again', async () => {
    const clock = new VirtualClock();
    const dir = await mkdtemp(`${tmpdir()}/emp-job-run-`);
    onTestFinished(() => rm(dir, { recursive: true, force: true }));
    const signed = { name: 'a.png', bytes: 3, sha256: null, mime: 'image/png', urls: ['http://store/a'] };
    const { stageInputs } = jobRunActors({
      env: { clock, rng: seededRng(1) },
      disk: nodeDisk,
      http: { get: () => new Promise(() => undefined), put: () => new Promise(() => undefined) },
      link: { request: async () => ({ kind: 'signed', files: [signed], manifest: null }) as never },
      numbers: new ClaimNumbers(),
      connectors: new Map(),
      uploads: new PQueue(),
      downloads: new PQueue(),
      requestMs: 10_000,
    });
    const assignment = { jobId: 'j1', token: '5', inputs: [{ name: 'a.png' }] } as unknown as Assignment;
    const actor = createActor(stageInputs, { input: { assignment, folder: dir } });
    const failed = new Promise((resolve) => watchActor(actor, { error: resolve }));
    actor.start();
    while (actor.getSnapshot().status === 'active') await clock.advanceBy(60_000);
    expect(await failed).toMatchObject({ code: 'INPUT_UNAVAILABLE', retryable: true });
  });
});
