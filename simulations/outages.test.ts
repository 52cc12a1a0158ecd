import { describe, expect, test } from 'vitest';
import { Stage, stageTtlMs } from './stage.ts';
import { embeddedStores } from './stores-embedded.ts';

const factory = embeddedStores({ leaseTtlMs: stageTtlMs });

describe('outages', () => {
  test('running work outlives an outage of Records: beats go on, the completion waits', async () => {
    const stage = await Stage.open(factory, 'records outage');
    const { h1, h2, clock } = stage;
    const m1 = await stage.machine('m1', h1);
    await h1.submit('a');
    expect((await m1.claim(h1.core)).kind).toBe('leased');
    await h1.record();
    const ends = [h1.records.outage(), h2.records.outage()];
    for (let beats = 0; beats < 12; beats++) {
      await clock.advanceBy(5_000);
      expect((await m1.beat(h1.core)).kind).toBe('ok');
    }
    const token = m1.held.get('a')!;
    await expect(m1.complete(h1.core, 'a', token)).rejects.toMatchObject({ code: 'RECORDS_UNAVAILABLE' });
    await expect(h1.submit('b')).rejects.toMatchObject({ code: 'RECORDS_UNAVAILABLE' });
    for (const end of ends) end();
    expect(await m1.complete(h1.core, 'a', token)).toBe('committed');
    expect(await stage.job('a')).toMatchObject({ attempts: 0, runs: 1 });
    await stage.finish();
    await stage.close();
  });

  test('while the Broker is down a submit is accepted, and the job runs once it is back', async () => {
    const stage = await Stage.open(factory, 'broker outage');
    const { h1, h2, clock } = stage;
    const ends = [h1.broker.outage(), h2.broker.outage()];
    expect((await h1.submit('a')).created).toBe(true);
    expect((await stage.job('a')).brokeredAtMs).toBeNull();
    for (const end of ends) end();
    await clock.advanceBy(10_000);
    expect((await stage.finish()).get('a')?.state).toBe('succeeded');
    await stage.close();
  });

  test('an exit whose Broker step is lost is finished, though its machine still names the lease', async () => {
    const stage = await Stage.open(factory, 'lost exit');
    const { h1, h2, clock } = stage;
    const m1 = await stage.machine('m1', h1);
    await h1.submit('a');
    await m1.claim(h1.core);
    await h1.record();
    const token = m1.held.get('a')!;
    h1.broker.refuse({ method: 'exit' });
    await m1.release(h1.core, 'a');
    m1.held.set('a', token);
    expect((await m1.beat(h1.core)).kind).toBe('ok');
    expect(await stage.entry('a')).toMatchObject({ state: 'leased', token });
    await clock.advanceBy(1_000);
    await h2.reconcile();
    expect(await stage.entry('a')).toMatchObject({ state: 'waiting' });
    expect(await m1.beat(h1.core)).toMatchObject({ drop: ['a'] });
    expect((await stage.finish()).get('a')).toMatchObject({ state: 'succeeded', attempts: 0 });
    await stage.close();
  });
});
