import { createHash } from 'node:crypto';
import { type Clock, type Rng, sleep } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { Http, HttpBody } from '#protocol/http.ts';
import type { Buggify } from './buggify.ts';
import type { SimObjects } from './sim-objects.ts';

const chunkBytes = 65_536;
/** A slow upload takes this many times as long. */
const slowFactor = 20;

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
  buggify?: Buggify;
  /** Asked with each call: whether the store answers nobody, and whether a download gets a wrong byte. */
  weather?: { storeDown: boolean; corrupt: boolean };
  /** A download was given a wrong byte. */
  onCorrupted?: () => void;
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
    const { objects, clock, latencyMs, buggify } = this.#options;
    await sleep(clock, latencyMs, options.signal);
    const refused = this.#refused();
    if (refused !== null) return refusal(refused);
    const grant = objects.grant(options.url);
    if (grant?.method !== 'GET') return refusal(403);
    const info = await objects.head(grant.key);
    if (!info) return refusal(404);
    if (options.start > 0 && options.start >= info.bytes) return { ...refusal(416), totalBytes: info.bytes };
    const whole = this.#received(await objects.read(grant.key));
    const start = options.start > 0 && buggify?.fires('download.no range') ? 0 : options.start;
    return {
      status: start > 0 ? 206 : 200,
      start,
      totalBytes: info.bytes,
      body: this.#paced(whole, { start, signal: options.signal, pieceBytes: this.#pieceBytes(), factor: 1 }),
    };
  }

  /** The status of a store that does not serve now; null where it does. */
  #refused(): number | null {
    const { buggify, weather } = this.#options;
    if (weather?.storeDown || buggify?.fires('http.unavailable')) return 503;
    return buggify?.fires('http.expired') ? 403 : null;
  }

  #pieceBytes(): number {
    const { buggify } = this.#options;
    if (!buggify?.fires('download.short read')) return chunkBytes;
    return Math.round(buggify.amount('download.short read', 4_096, chunkBytes));
  }

  /** The bytes as they arrive: one of them wrong while the weather says so. */
  async *#received(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { weather, rng, onCorrupted } = this.#options;
    if (!weather?.corrupt) return yield* body;
    for await (const piece of body) {
      const bytes = piece.slice();
      const at = rng.int(0, Math.max(0, bytes.length - 1));
      if (bytes.length > 0) bytes[at] = (bytes[at] as number) ^ 0xff;
      onCorrupted?.();
      yield bytes;
    }
  }

  async put(options: Parameters<Http['put']>[0]): Promise<{ status: number; detail: string }> {
    const { objects, clock, latencyMs, buggify } = this.#options;
    await sleep(clock, latencyMs, options.signal);
    const refused = this.#refused();
    if (refused !== null) return { status: refused, detail: 'simulated: not now' };
    const grant = objects.grant(options.url);
    if (grant?.method !== 'PUT')
      return { status: 403, detail: 'the URL was not signed for this or has expired' };
    const chunks: Uint8Array[] = [];
    const factor = buggify?.fires('upload.slow') ? slowFactor : 1;
    const pace = { start: 0, signal: options.signal, pieceBytes: chunkBytes, factor };
    for await (const chunk of this.#paced(options.body, pace)) chunks.push(chunk);
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
    if (buggify?.fires('upload.answer lost')) throw broken();
    return { status: 200, detail: '' };
  }

  async *#paced(
    body: AsyncIterable<Uint8Array>,
    options: { start: number; signal: AbortSignal; pieceBytes: number; factor: number },
  ): AsyncGenerator<Uint8Array> {
    const { clock, rng, bytesPerMs, breakChance = 0 } = this.#options;
    let skip = options.start;
    for await (const piece of body) {
      const from = Math.min(skip, piece.length);
      skip -= from;
      for (let at = from; at < piece.length; at += options.pieceBytes) {
        const chunk = piece.subarray(at, at + options.pieceBytes);
        await sleep(clock, (chunk.length / bytesPerMs) * options.factor, options.signal);
        if (breakChance > 0 && rng.next() < breakChance) throw broken();
        yield chunk;
      }
    }
  }
}

const broken = () =>
  new EmpError('INPUT_UNAVAILABLE', { detail: 'simulated: the connection broke', retryable: true });

function refusal(status: number): HttpBody {
  return { status, start: 0, totalBytes: null, body: (async function* () {})() };
}
