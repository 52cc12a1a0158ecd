import { describe, expect, test } from 'vitest';
import { createActor } from 'xstate';
import type { Residency } from '#protocol/model.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { type ReporterEvent, reporterActors } from './reporter.ts';

function setup() {
  const clock = new VirtualClock();
  const sent: { type: string; body: Record<string, unknown> }[] = [];
  const state = { buffered: 0, open: true, room: Number.POSITIVE_INFINITY };
  const overflowed: string[] = [];
  const { reporter } = reporterActors({
    clock,
    settings: { gatherMs: 100, bufferLimitBytes: 1_000 },
    onOverflow: (event) => overflowed.push(event),
    link: {
      notify: (type, body) => {
        const taken = state.open && state.room > 0;
        state.room -= taken ? 1 : 0;
        if (taken) sent.push({ type, body: body as unknown as Record<string, unknown> });
        return taken;
      },
      bufferedBytes: () => state.buffered,
    },
  });
  const actor = createActor(reporter).start();
  const tell = (event: ReporterEvent) => actor.send(event);
  return {
    clock,
    sent,
    state,
    overflowed,
    actor,
    tell,
    of: (type: string) => sent.filter((frame) => frame.type === type).map((frame) => frame.body),
  };
}

const entry = (modelId: string, version: number, state: Residency['state'] = 'resident'): Residency => ({
  modelId,
  state,
  bytes: 5,
  fraction: 1,
  version,
});
const progress = (jobId: string, fraction: number): ReporterEvent => ({
  type: 'progress',
  jobId,
  token: '5',
  fraction,
  message: null,
});

describe('reporter', () => {
  test('progress is gathered, the newest of each job is sent', async () => {
    const { clock, tell, of } = setup();
    tell({ type: 'link.online' });
    for (let step = 1; step <= 10; step++) tell(progress('j1', step / 10));
    tell(progress('j2', 0.5));
    expect(of('progress')).toEqual([]);
    await clock.advanceBy(100);
    expect(of('progress')).toEqual([
      {
        items: [
          expect.objectContaining({ jobId: 'j1', fraction: 1 }),
          expect.objectContaining({ jobId: 'j2', fraction: 0.5 }),
        ],
      },
    ]);
    await clock.advanceBy(1_000);
    expect(of('progress')).toHaveLength(1);
  });

  test('residency is told whole on each new link, and what changed in between', async () => {
    const { clock, tell, of } = setup();
    tell({ type: 'residency', entries: [entry('m1', 1), entry('m2', 2)], present: ['m1', 'm2'], version: 2 });
    tell({ type: 'link.online' });
    await clock.advanceBy(100);
    tell({ type: 'residency', entries: [entry('m3', 3, 'fetching')], present: ['m1', 'm3'], version: 3 });
    await clock.advanceBy(100);
    tell({ type: 'link.offline' });
    tell({ type: 'link.online' });
    await clock.advanceBy(100);
    expect(of('residency')).toEqual([
      { full: true, entries: [entry('m1', 1), entry('m2', 2)] },
      {
        full: false,
        entries: [
          entry('m3', 3, 'fetching'),
          { modelId: 'm2', state: 'gone', bytes: 0, fraction: 0, version: 3 },
        ],
      },
      { full: true, entries: [entry('m1', 1), entry('m3', 3, 'fetching')] },
    ]);
  });

  test('more models than one notice takes are told in several, and those that were not sent follow', async () => {
    const { clock, tell, state, sent, of } = setup();
    const entries = Array.from({ length: 1_200 }, (_, index) => entry(`m${index}`, index));
    const names = (body: Record<string, unknown>) =>
      (body['entries'] as Residency[]).map(({ modelId }) => modelId);
    tell({ type: 'residency', entries, present: entries.map(({ modelId }) => modelId), version: 1_200 });
    tell({ type: 'link.online' });
    state.room = 1;
    await clock.advanceBy(100);
    expect(of('residency')).toHaveLength(1);
    state.room = Number.POSITIVE_INFINITY;
    await clock.advanceBy(100);
    expect(sent.map(({ body }) => body['full'])).toEqual([true, false, false]);
    expect(of('residency').map((body) => names(body).length)).toEqual([500, 500, 200]);
    expect(new Set(of('residency').flatMap(names))).toEqual(new Set(entries.map(({ modelId }) => modelId)));
    await clock.advanceBy(1_000);
    expect(of('residency')).toHaveLength(3);
  });

  test('more news than one notice takes are told whole, also of models that are gone', async () => {
    const { clock, tell, of } = setup();
    const entries = Array.from({ length: 600 }, (_, index) => entry(`m${index}`, index));
    tell({ type: 'link.online' });
    await clock.advanceBy(100);
    tell({ type: 'residency', entries, present: entries.map(({ modelId }) => modelId), version: 600 });
    await clock.advanceBy(100);
    tell({ type: 'residency', entries: [], present: [], version: 601 });
    await clock.advanceBy(100);
    const told = of('residency').map((body) => (body['entries'] as Residency[]).map(({ state }) => state));
    expect(told.map((states) => `${states.length} ${states[0] ?? 'none'}`)).toEqual([
      '0 none',
      '500 resident',
      '100 resident',
      '500 gone',
      '100 gone',
    ]);
  });

  test('a machine without models says so on a new link', async () => {
    const { clock, tell, of } = setup();
    tell({ type: 'link.online' });
    await clock.advanceBy(100);
    expect(of('residency')).toEqual([{ full: true, entries: [] }]);
  });

  test('incidents wait for a link; the oldest of too many are lost, and counted', async () => {
    const { clock, tell, of, overflowed } = setup();
    for (let incident = 0; incident < 105; incident++)
      tell({ type: 'incident', kind: 'actor.ended', detail: `${incident}`, jobId: null });
    expect(overflowed).toHaveLength(5);
    tell({ type: 'link.online' });
    await clock.advanceBy(100);
    expect(of('incident')).toHaveLength(100);
    expect(of('incident')[0]).toMatchObject({ detail: '5' });
  });

  test('an incident that could not be sent is sent later', async () => {
    const { clock, tell, state, of } = setup();
    tell({ type: 'link.online' });
    state.open = false;
    tell({ type: 'incident', kind: 'x', detail: 'a', jobId: null });
    await clock.advanceBy(100);
    state.open = true;
    tell({ type: 'incident', kind: 'x', detail: 'b', jobId: null });
    await clock.advanceBy(100);
    expect(of('incident').map((body) => body['detail'])).toEqual(['a', 'b']);
    expect(of('residency')).toHaveLength(1);
  });

  test('with a full socket nothing more is queued', async () => {
    const { clock, tell, state, sent } = setup();
    tell({ type: 'link.online' });
    state.buffered = 1_001;
    tell(progress('j1', 0.5));
    await clock.advanceBy(1_000);
    expect(sent).toEqual([]);
    state.buffered = 0;
    await clock.advanceBy(100);
    expect(sent.map((frame) => frame.type)).toEqual(['residency', 'progress']);
  });

  test('without a link progress and previews are not kept', async () => {
    const { clock, tell, sent } = setup();
    tell(progress('j1', 0.5));
    tell({ type: 'preview', jobId: 'j1', token: '5', mime: 'image/webp', base64: 'AA==' });
    tell({ type: 'link.online' });
    await clock.advanceBy(100);
    expect(sent.map((frame) => frame.type)).toEqual(['residency']);
  });

  test('only the last preview of a job is sent', async () => {
    const { clock, tell, of } = setup();
    tell({ type: 'link.online' });
    for (const base64 of ['AA==', 'AQ=='])
      tell({ type: 'preview', jobId: 'j1', token: '5', mime: 'image/webp', base64 });
    await clock.advanceBy(100);
    expect(of('preview')).toMatchObject([{ base64: 'AQ==' }]);
  });

  test('a stopped reporter leaves no timer', () => {
    const { clock, actor, tell } = setup();
    tell({ type: 'link.online' });
    actor.stop();
    expect(clock.pending).toBe(0);
  });
});
