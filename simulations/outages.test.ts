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

  test('running work outlives a silence of Records, in which every call hangs until its deadline', async () => {
    const stage = await Stage.open(factory, 'records silence');
    const { h1, h2, clock } = stage;
    const m1 = await stage.machine('m1', h1);
    await h1.submit('a');
    await m1.claim(h1.core);
    await h1.record();
    const ends = [h1, h2].map((hub) => hub.records.outage({ waitMs: 20_000 }));
    for (let beats = 0; beats < 12; beats++) {
      await clock.advanceBy(4_000);
      // It has free slots: what it might be given is looked up in directories that are read from Records.
      const beat = m1.beat(h1.core);
      await clock.advanceBy(1_000);
      expect((await beat).kind).toBe('ok');
    }
    for (const end of ends) end();
    await clock.advanceBy(25_000);
    expect(await m1.complete(h1.core, 'a')).toBe('committed');
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

  test('what was accepted while the Broker was away comes in at once, however much it is', async () => {
    const stage = await Stage.open(factory, 'backlog');
    const { h1, h2, clock } = stage;
    const end = h1.broker.outage();
    for (let job = 0; job < 2_100; job++) await h1.submit(`job-${job}`);
    await h1.submit('unwanted');
    expect(await h1.cancel('unwanted')).toBe('requested');
    end();
    await clock.advanceBy(10_000);
    await h2.reconcile();
    expect(await h2.core.hub.broker.stats()).toMatchObject({ waiting: 2_100 });
    expect((await stage.job('unwanted')).state).toBe('cancelled');
    await stage.close();
  });

  test.each([
    ['by the rounds of the reconciler', false],
    ['by a full reconcile', true],
  ])(
    'an entry whose row is gone goes, whatever its floor, %s: the records are an older copy',
    async (_, lost) => {
      const stage = await Stage.open(factory, 'ghosts');
      const { h1, h2 } = stage;
      await h1.submit('a');
      const [identity, view] = [await h2.core.hub.identity.get(), await stage.entry('a')];
      const { group } = view!;
      const entry = { customer: 'default', pool: 'standard', affinity: '-', priority: 50, costMs: 1_000 };
      const rest = { attempts: 0, runs: 0, notBeforeMs: null, body: {}, lease: null, group, ...entry };
      const entries = ['0', '5'].map((fenceFloor) => ({ jobId: `ghost-${fenceFloor}`, fenceFloor, ...rest }));
      await h2.core.hub.broker.submit({ identity, entries });
      expect(await stage.entry('ghost-5')).not.toBeNull();
      if (lost) await stage.rollback(await stage.stores.mark());
      await h2.reconcile();
      for (const { jobId } of entries) expect(await stage.entry(jobId)).toBeNull();
      expect(await stage.entry('a')).toMatchObject({ state: 'waiting' });
      await stage.close();
    },
  );
});
