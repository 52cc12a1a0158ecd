import { createHash } from 'node:crypto';
import { type Clock, type Rng, sleep } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { Http, HttpBody } from '#protocol/http.ts';
import type { SimObjects } from './sim-objects.ts';

const chunkBytes = 65_536;

export interface SimHttpOptions {
  objects: SimObjects;
  /** The machine's own clock: a frozen machine fetches nothing. */
  clock: Clock;
  rng: Rng;
  bytesPerMs: number;
  /** Delay of the first byte, ms. */
  latencyMs: number;
  /** Chance per chunk that the connection breaks there. */
  breakChance?: number;
}

/**
 * The network between a machine and the object store: takes its time per byte, may break in the
 * middle, honours ranges, judges uploads by what was signed. Answers as the `Http` port says.
 */
export class SimHttp implements Http {
  readonly #options: SimHttpOptions;

  constructor(options: SimHttpOptions) {
    this.#options = options;
  }

  async get(options: { url: string; start: number; signal: AbortSignal }): Promise<HttpBody> {
    const { objects, clock, latencyMs } = this.#options;
    await sleep(clock, latencyMs, options.signal);
    const grant = objects.grant(options.url);
    if (grant?.method !== 'GET') return refusal(403);
    const info = await objects.head(grant.key);
    if (!info) return refusal(404);
    if (options.start > 0 && options.start >= info.bytes) return { ...refusal(416), totalBytes: info.bytes };
    const whole = await objects.read(grant.key);
    return {
      status: options.start > 0 ? 206 : 200,
      start: options.start,
      totalBytes: info.bytes,
      body: this.#paced(whole, options),
    };
  }

  async put(options: Parameters<Http['put']>[0]): Promise<{ status: number; detail: string }> {
    const { objects, clock, latencyMs } = this.#options;
    await sleep(clock, latencyMs, options.signal);
    const grant = objects.grant(options.url);
    if (grant?.method !== 'PUT')
      return { status: 403, detail: 'the URL was not signed for this or has expired' };
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.#paced(options.body, { start: 0, signal: options.signal }))
      chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const { put } = grant;
    const fits =
      bytes.length === options.bytes &&
      (put.bytes === null || put.bytes === bytes.length) &&
      bytes.length <= put.limitBytes;
    if (!fits)
      return {
        status: 400,
        detail: `${bytes.length} bytes, signed for ${put.bytes ?? `up to ${put.limitBytes}`}`,
      };
    if (sha256 !== options.sha256 || (put.sha256 !== null && put.sha256 !== sha256))
      return { status: 400, detail: 'the hash differs' };
    objects.store({ key: put.key, bytes, mime: put.mime });
    return { status: 200, detail: '' };
  }

  async *#paced(
    body: AsyncIterable<Uint8Array>,
    options: { start: number; signal: AbortSignal },
  ): AsyncGenerator<Uint8Array> {
    const { clock, rng, bytesPerMs, breakChance = 0 } = this.#options;
    let skip = options.start;
    for await (const piece of body) {
      const from = Math.min(skip, piece.length);
      skip -= from;
      for (let at = from; at < piece.length; at += chunkBytes) {
        const chunk = piece.subarray(at, at + chunkBytes);
        await sleep(clock, chunk.length / bytesPerMs, options.signal);
        if (breakChance > 0 && rng.next() < breakChance) {
          throw new EmpError('INPUT_UNAVAILABLE', {
            detail: 'simulated: the connection broke',
            retryable: true,
          });
        }
        yield chunk;
      }
    }
  }
}

function refusal(status: number): HttpBody {
  return { status, start: 0, totalBytes: null, body: (async function* () {})() };
}
