import { afterAll, describe, expect, test } from 'vitest';
import { EmpError } from '#protocol/errors.ts';
import type { ModelManifest } from '#protocol/model.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ChartCoverage, chartRig, question } from './chart-rig.fixture.ts';
import { modelFetchChart, type SignedModel } from './model-fetch.ts';

const coverage = new ChartCoverage(modelFetchChart);
const good = 'a'.repeat(64);
const bad = 'b'.repeat(64);
const fileOf = (name: string) => ({ name, bytes: 50, sha256: good, sources: [] });
const manifest = (names: string[]): ModelManifest => ({
  id: 'm',
  service: 'test',
  kind: 'checkpoint',
  files: names.map(fileOf),
  memoryMb: 1,
  licence: 'MIT',
});
const signed = (urls: string[], names = ['w.bin']): SignedModel => ({
  manifest: manifest(names),
  files: names.map((name) => ({ ...fileOf(name), urls })),
});

interface FetchInput {
  modelId: string;
  name: string;
  bytes: number;
  url: string;
  doneBytes: number;
  totalBytes: number;
}

function setup(rounds = 2) {
  const clock = new VirtualClock();
  const describeModel = question<SignedModel, { modelId: string }>();
  const fetchFile = question<{ sha256: string }, FetchInput>();
  const discard = question<void, { modelId: string; name: string | null }>();
  const publish = question<void, { manifest: ModelManifest }>();
  const rig = chartRig({
    chart: modelFetchChart.provide({
      actors: {
        describe: describeModel.logic,
        fetchFile: fetchFile.logic,
        discard: discard.logic,
        publish: publish.logic,
      },
    }),
    clock,
    coverage,
    peers: ['reporter'],
    systemId: 'fetch/m',
    input: {
      modelId: 'm',
      settings: { rounds, retry: { baseMs: 1_000, limitMs: 1_000 } },
      rng: seededRng(1),
    },
  });
  return {
    clock,
    rig,
    describeModel,
    fetchFile,
    discard,
    publish,
    async granted(urls = ['http://a', 'http://b'], names?: string[]) {
      await describeModel.answer(signed(urls, names));
      rig.send({ type: 'fetch.go' });
    },
    output: () => rig.subject.getSnapshot().output,
    asked: () => fetchFile.asked.map(({ input }) => input.url),
  };
}

describe('model-fetch', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test('no byte is fetched before the cache has room for all of them', async () => {
    const { rig, describeModel, fetchFile } = setup();
    await describeModel.answer(signed(['http://a'], ['w.bin', 'c.json']));
    expect(rig.to('parent')).toEqual([{ type: 'fetch.sized', modelId: 'm', bytes: 100 }]);
    expect(fetchFile.asked).toHaveLength(0);
    rig.send({ type: 'fetch.go' });
    // Words that come twice, or too late, change nothing.
    rig.send({ type: 'fetch.go' });
    rig.send({ type: 'fetch.refused' });
    expect(fetchFile.asked).toHaveLength(1);
  });

  test('files come one after the other and are published together', async () => {
    const { granted, fetchFile, publish, output } = setup();
    await granted(['http://a'], ['w.bin', 'c.json']);
    await fetchFile.answer({ sha256: good });
    expect(fetchFile.asked[1]?.input).toMatchObject({ name: 'c.json', doneBytes: 50, totalBytes: 100 });
    expect(publish.asked).toHaveLength(0);
    await fetchFile.answer({ sha256: good });
    await publish.answer();
    expect(output()).toEqual({ kind: 'fetched', modelId: 'm', bytes: 100 });
  });

  test('a cache without room refuses it', async () => {
    const { rig, describeModel, output } = setup();
    await describeModel.answer(signed(['http://a']));
    rig.send({ type: 'fetch.refused', error: { code: 'DISK_FULL', message: 'no room', retryable: true } });
    expect(output()).toMatchObject({ kind: 'failed', error: { code: 'DISK_FULL' } });
  });

  test('a wrong hash is thrown away, reported, and the next source is asked', async () => {
    const { rig, granted, fetchFile, discard, publish, asked, output } = setup();
    await granted();
    await fetchFile.answer({ sha256: bad });
    expect(discard.asked[0]?.input).toEqual({ modelId: 'm', name: 'w.bin' });
    expect(rig.to('reporter')).toMatchObject([
      { type: 'incident', kind: 'model.refused', detail: expect.stringContaining(bad) },
    ]);
    await discard.answer();
    expect(asked()).toEqual(['http://a', 'http://b']);
    await fetchFile.answer({ sha256: good });
    await publish.answer();
    expect(output()).toMatchObject({ kind: 'fetched' });
  });

  test('wrong hashes everywhere fail by name, with what came and what is registered', async () => {
    const { granted, fetchFile, discard, output } = setup(1);
    await granted();
    await fetchFile.answer({ sha256: bad });
    await discard.answer();
    await fetchFile.fail(new EmpError('MODEL_UNAVAILABLE'));
    await discard.answer();
    expect(output()).toMatchObject({
      kind: 'failed',
      error: {
        code: 'MODEL_CHECKSUM_MISMATCH',
        message: expect.stringMatching(/model m: w\.bin.*b{64}.*a{64}/),
      },
    });
  });

  test('sources that fail are asked again in a new round, with fresh URLs', async () => {
    const { clock, granted, describeModel, fetchFile, publish, asked, output } = setup();
    await granted();
    await fetchFile.fail(new EmpError('MODEL_UNAVAILABLE'));
    await fetchFile.fail(new EmpError('MODEL_UNAVAILABLE'));
    await clock.advanceBy(1_000);
    await describeModel.answer(signed(['http://fresh']));
    await fetchFile.answer({ sha256: good });
    await publish.answer();
    expect(asked()).toEqual(['http://a', 'http://b', 'http://fresh']);
    expect(output()).toMatchObject({ kind: 'fetched' });
  });

  test('after the last round it fails and nothing of it stays', async () => {
    const { granted, fetchFile, discard, output } = setup(1);
    await granted(['http://a']);
    await fetchFile.fail(new EmpError('MODEL_UNAVAILABLE', { detail: 'status 503' }));
    expect(discard.asked[0]?.input).toEqual({ modelId: 'm', name: null });
    await discard.fail(new Error('busy'));
    expect(output()).toMatchObject({
      kind: 'failed',
      error: { code: 'MODEL_UNAVAILABLE', message: 'status 503' },
    });
  });

  test('a model that nobody registered is not asked for twice', async () => {
    const { describeModel, discard, output } = setup(5);
    await describeModel.fail(new EmpError('UNKNOWN_MODEL'));
    await discard.answer();
    expect(output()).toMatchObject({ kind: 'failed', error: { code: 'UNKNOWN_MODEL' } });
  });

  test.each([
    'LINK_CLOSED',
    'TIMEOUT',
    'INBOX_FULL',
    'RECORDS_UNAVAILABLE',
    'BROKER_UNAVAILABLE',
    'DRAINING',
  ] as const)('a hub that cannot be asked (%s) costs no round', async (code) => {
    const { clock, granted, describeModel } = setup(1);
    for (let cut = 0; cut < 5; cut++) {
      await describeModel.fail(new EmpError(code));
      await clock.advanceBy(1_000);
    }
    expect(describeModel.asked).toHaveLength(6);
    await granted();
  });

  test('a full disk ends it at once: other sources would not help', async () => {
    const { granted, fetchFile, discard, output } = setup();
    await granted();
    await fetchFile.fail(new EmpError('DISK_FULL'));
    await discard.answer();
    expect(fetchFile.asked).toHaveLength(1);
    expect(output()).toMatchObject({ kind: 'failed', error: { code: 'DISK_FULL' } });
  });

  test('a model that cannot be published is thrown away', async () => {
    const { granted, fetchFile, publish, discard, output } = setup();
    await granted();
    await fetchFile.answer({ sha256: good });
    await publish.fail(new EmpError('DISK_FULL'));
    await discard.answer();
    expect(output()).toMatchObject({ kind: 'failed', error: { code: 'DISK_FULL' } });
  });

  test('a part that cannot be thrown away does not stop the next source', async () => {
    const { granted, fetchFile, discard, asked } = setup();
    await granted();
    await fetchFile.answer({ sha256: bad });
    await discard.fail(new Error('busy'));
    expect(asked()).toEqual(['http://a', 'http://b']);
  });
});
