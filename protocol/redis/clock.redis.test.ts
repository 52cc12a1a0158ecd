import { expect, test } from 'vitest';
import { brokerSettings } from '#protocol/broker-fixture.conformance.ts';
import { claim, ready, submit } from './client.conformance.ts';
import { command, describeOnRedis } from './setup.conformance.ts';

const meta = '{emp:0}:meta';
const alive = '{emp:0}:alive';
/** The first of the packed counters is the time of the last step. */
const readLast = "return struct.unpack('>d', redis.call('HGET', KEYS[1], 'counters'))";
const writeLast = `local counters = redis.call('HGET', KEYS[1], 'counters')
  return redis.call('HSET', KEYS[1], 'counters', struct.pack('>d', ARGV[1]) .. counters:sub(9))`;

describeOnRedis("the server's clock", (shared) => {
  /** Time of the last step, ms; what the steps remember, so moving it back is a jump of the clock ahead. */
  const lastNow = async () => Number(await command(shared(), 'EVAL', readLast, '1', meta));
  const remember = (ms: number) => command(shared(), 'EVAL', writeLast, '1', meta, String(ms));
  const endLeaseAt = (ms: number) => command(shared(), 'ZADD', alive, String(ms), 'm1/1');

  /** m1 holds a. */
  async function leased() {
    const broker = await ready(shared());
    await submit(broker, 'a');
    const answer = await claim(broker, 1);
    if (answer.kind !== 'leased') throw new Error(`the claim answered ${answer.kind}`);
    return { broker, lease: answer.lease };
  }

  /** What `lapsed` answers to a caller that expects the server's time to be `latest` at most. */
  const lapsed = (latest: number | '') =>
    command(shared(), 'FCALL', 'emp1_lapsed', '1', '{emp:0}', '', String(latest), '30000', '10');

  test('T18: is read in the step: a lease ends one TTL after its TIME', async () => {
    const before = (await command(shared(), 'TIME')) as [string, string];
    const { lease } = await leased();
    const after = (await command(shared(), 'TIME')) as [string, string];
    const ms = ([seconds, us]: [string, string]) => Number(seconds) * 1_000 + Math.floor(Number(us) / 1_000);
    expect(lease.expiresAtMs).toBeGreaterThanOrEqual(ms(before) + brokerSettings.leaseTtlMs);
    expect(lease.expiresAtMs).toBeLessThanOrEqual(ms(after) + brokerSettings.leaseTtlMs);
    expect(Number(lease.token)).toBeLessThanOrEqual((ms(after) + 1) * 1_000);
  });

  test('set back by more than 5 s gives every lease one TTL from then, and is counted', async () => {
    const { broker } = await leased();
    const now = await lastNow();
    await remember(now + 3_600_000);
    await endLeaseAt(now + 3_630_000);
    const answer = await broker.lapsed({ limit: 10 });
    const earliestMs = answer.kind === 'ok' ? answer.earliestExpiryMs : null;
    expect(earliestMs).toBe((await lastNow()) + brokerSettings.leaseTtlMs);
    expect(earliestMs).toBeLessThan(now + 3_600_000);
    expect(await broker.stats()).toMatchObject({ clockSteps: 1 });
  });

  test('set back by less stands still until it has caught up', async () => {
    const { broker } = await leased();
    const ahead = (await lastNow()) + 4_000;
    await remember(ahead);
    await broker.stats();
    expect(await lastNow()).toBe(ahead);
    expect(await broker.stats()).toMatchObject({ clockSteps: 0 });
  });

  test('set forward ends no lease: each gets one TTL, and it is counted', async () => {
    const { broker } = await leased();
    const back = (await lastNow()) - 3_600_000;
    await remember(back);
    await endLeaseAt(back + 30_000);
    expect(await lapsed(back + 5_000)).toMatchObject([expect.anything(), 'ok', [], expect.anything()]);
    expect(await broker.stats()).toMatchObject({ clockSteps: 1 });
    expect(await broker.lapsed({ limit: 10 })).toMatchObject({ kind: 'ok', leases: [] });
  });

  test.each(['', 'far'])('that went on in silence ends leases as it should (latest %s)', async (latest) => {
    const { broker, lease } = await leased();
    const back = (await lastNow()) - 3_600_000;
    await remember(back);
    await endLeaseAt(back + 30_000);
    const expected = latest === '' ? '' : (await lastNow()) + 3_700_000;
    expect(await lapsed(expected)).toMatchObject([
      expect.anything(),
      'ok',
      [['m1/1', 'a', lease.token, 0]],
      expect.anything(),
    ]);
    expect(await broker.stats()).toMatchObject({ clockSteps: 0 });
  });
});
