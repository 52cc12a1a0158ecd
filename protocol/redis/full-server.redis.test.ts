import { expect, test } from 'vitest';
import { entryOf } from '#protocol/broker-fixture.conformance.ts';
import { beat, claim, connect, ready, submit } from './client.conformance.ts';
import { command, describeOnRedis } from './setup.conformance.ts';

describeOnRedis('a full server', (shared) => {
  test('T13: refuses a submit as unavailable and serves claim, beat, progress, exit and complete', async () => {
    const broker = await ready(shared());
    await submit(broker, 'a', 'b', 'c');
    await command(shared(), 'CONFIG', 'SET', 'maxmemory', '1mb');
    try {
      await expect(submit(broker, 'd')).rejects.toMatchObject({
        code: 'BROKER_UNAVAILABLE',
        retryable: true,
        fields: { full: true, step: 'submit' },
      });
      const first = await claim(broker, 1);
      if (first.kind !== 'leased') throw new Error(first.kind);
      const { jobId, token } = first.lease;
      expect(await beat(broker, [{ jobId, token }])).toMatchObject({ kind: 'ok', drop: [] });
      await broker.progress([{ jobId, token, fraction: 0.5 }]);
      const end = { jobId, token, fenceFloor: String(Number(token) + 1), attempts: 0, runs: 1 };
      expect(
        await broker.exit({ ...end, state: 'waiting', notBeforeMs: null, cancelRequested: false }),
      ).toMatchObject({
        kind: 'requeued',
      });
      expect(await broker.complete({ jobId: 'b', token: '0', fenceFloor: '0' })).toEqual({ kind: 'removed' });
      expect(await broker.cancel({ jobId: 'c', fenceFloor: '0' })).toEqual({ kind: 'removed' });
      expect(await broker.lapsed({ limit: 10 })).toMatchObject({ kind: 'ok' });
      expect((await broker.events({ after: 0, limit: 10 })).events.map((event) => event.kind)).toContain(
        'leased',
      );
    } finally {
      await command(shared(), 'CONFIG', 'SET', 'maxmemory', '0');
    }
    expect(await submit(broker, 'd')).toMatchObject({ kind: 'ok' });
  });

  test('that fills up in a long batch refuses it with parts of it taken, and a repeat brings the rest', async () => {
    const broker = await ready(shared());
    const body = { text: 'x'.repeat(7_000) };
    const entries = Array.from({ length: 1_000 }, (_, index) => ({ ...entryOf(`long-${index}`), body }));
    const { identity } = await broker.identity();
    const used = /used_memory:(\d+)/.exec(String(await command(shared(), 'INFO', 'memory')))?.[1];
    await command(shared(), 'CONFIG', 'SET', 'maxmemory', String(Number(used) + 3_000_000));
    try {
      await expect(broker.submit({ identity, entries })).rejects.toMatchObject({ fields: { full: true } });
    } finally {
      await command(shared(), 'CONFIG', 'SET', 'maxmemory', '0');
    }
    const again = await broker.submit({ identity, entries });
    if (again.kind !== 'ok') throw new Error(again.kind);
    const kinds = again.answers.map(({ kind }) => kind);
    const there = kinds.filter((kind) => kind === 'exists').length;
    expect(there).toBeGreaterThan(0);
    expect(there % 100).toBe(0);
    expect(kinds.filter((kind) => kind === 'added')).toHaveLength(1_000 - there);
    expect(await broker.stats()).toMatchObject({ waiting: 1_000 });
  });

  test('takes no library, and is served by scripts then', async () => {
    await ready(shared());
    await command(shared(), 'FUNCTION', 'FLUSH');
    await command(shared(), 'CONFIG', 'SET', 'maxmemory', '1mb');
    try {
      const late = await connect(shared());
      expect(await late.identity()).toMatchObject({ open: true });
    } finally {
      await command(shared(), 'CONFIG', 'SET', 'maxmemory', '0');
    }
  });

  test.each(['allkeys-lru', 'volatile-ttl', 'allkeys-random'])(
    'T12: that would drop keys by %s is refused with what to do',
    async (policy) => {
      await command(shared(), 'CONFIG', 'SET', 'maxmemory-policy', policy);
      try {
        await expect(connect(shared())).rejects.toMatchObject({
          code: 'CONFIG_INVALID',
          message: expect.stringContaining('CONFIG SET maxmemory-policy noeviction'),
          fields: { policy },
        });
      } finally {
        await command(shared(), 'CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
      }
    },
  );
});
