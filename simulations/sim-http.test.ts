import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { simEnv } from './sim-env.ts';
import { SimHttp } from './sim-http.ts';
import { SimObjects } from './sim-objects.ts';

function setup(options: { breakChance?: number; bytesPerMs?: number } = {}) {
  const { clock, rng } = simEnv({ seed: 2 });
  const objects = new SimObjects({ clock });
  const http = new SimHttp({
    objects,
    clock,
    rng,
    bytesPerMs: options.bytesPerMs ?? 1_000,
    latencyMs: 20,
    breakChance: options.breakChance ?? 0,
  });
  return { clock, objects, http, signal: new AbortController().signal };
}

const content = Buffer.from('0123456789'.repeat(20_000));
const sha256 = createHash('sha256').update(content).digest('hex');

async function* once(bytes: Uint8Array) {
  yield bytes;
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe('simulated http', () => {
  test('a download takes latency and time per byte, and a range begins where it was asked', async () => {
    const { clock, objects, http, signal } = setup();
    objects.store({ key: 'models/a', bytes: content, mime: 'application/octet-stream' });
    const url = await objects.signGet({ key: 'models/a', expiresInMs: 60_000 });
    const fetched: { status: number; start: number; bytes: Buffer }[] = [];
    void (async () => {
      for (const start of [0, 150_000]) {
        const answer = await http.get({ url, start, signal });
        fetched.push({ status: answer.status, start: answer.start, bytes: await collect(answer.body) });
      }
    })();
    await clock.advanceTo(219);
    expect(fetched).toHaveLength(0);
    await clock.advanceTo(1_000);
    expect(fetched.map(({ status, start }) => [status, start])).toEqual([
      [200, 0],
      [206, 150_000],
    ]);
    expect(fetched[0]!.bytes.equals(content)).toBe(true);
    expect(fetched[1]!.bytes.equals(content.subarray(150_000))).toBe(true);
  });

  test('an expired, foreign or wrong-method URL is refused by status, a missing object too', async () => {
    const { clock, objects, http, signal } = setup();
    objects.store({ key: 'a', bytes: content, mime: 'x' });
    const url = await objects.signGet({ key: 'a', expiresInMs: 1_000 });
    const gone = await objects.signGet({ key: 'absent', expiresInMs: 60_000 });
    const statuses: number[] = [];
    await clock.advanceTo(1_000);
    void (async () => {
      for (const each of [url, 'http://objects.sim/999', gone])
        statuses.push((await http.get({ url: each, start: 0, signal })).status);
      statuses.push(
        (await http.put({ url: gone, body: once(content), bytes: content.length, sha256, mime: 'x', signal }))
          .status,
      );
    })();
    await clock.advanceTo(2_000);
    expect(statuses).toEqual([403, 403, 404, 403]);
    await expect(objects.signGet({ key: 'a', expiresInMs: 900_001 })).rejects.toThrow('at most 900000 ms');
  });

  test('an upload is stored when size and hash are what was signed, else refused', async () => {
    const { clock, objects, http, signal } = setup();
    const sign = (bytes: number | null, hash: string | null) =>
      objects.signPut({
        key: 'r',
        bytes,
        sha256: hash,
        limitBytes: 1_000_000,
        mime: 'x',
        expiresInMs: 60_000,
        baseUrl: '',
      });
    const statuses: number[] = [];
    const put = async (url: string, named: string) =>
      statuses.push(
        (
          await http.put({
            url,
            body: once(content),
            bytes: content.length,
            sha256: named,
            mime: 'x',
            signal,
          })
        ).status,
      );
    void (async () => {
      await put(await sign(7, null), sha256);
      await put(await sign(content.length, sha256), 'f'.repeat(64));
      await put(await sign(null, 'f'.repeat(64)), sha256);
      expect(await objects.head('r')).toBeNull();
      await put(await sign(content.length, sha256), sha256);
    })();
    await clock.advanceTo(5_000);
    expect(statuses).toEqual([400, 400, 400, 200]);
    expect(await objects.head('r')).toMatchObject({ bytes: content.length, sha256 });
  });

  test('a broken connection rejects as retryable and an aborted one with its reason', async () => {
    const { clock, objects, http } = setup({ breakChance: 1 });
    objects.store({ key: 'a', bytes: content, mime: 'x' });
    const url = await objects.signGet({ key: 'a', expiresInMs: 60_000 });
    const abort = new AbortController();
    const fetch = async () => collect((await http.get({ url, start: 0, signal: abort.signal })).body);
    const broken = expect(fetch()).rejects.toMatchObject({ retryable: true });
    await clock.advanceBy(1_000);
    await broken;
    const aborted = expect(fetch()).rejects.toThrow('enough');
    abort.abort(new Error('enough'));
    await clock.advanceBy(1_000);
    await aborted;
  });
});
