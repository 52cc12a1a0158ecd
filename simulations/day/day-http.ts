import { type Clock, sleep } from '#protocol/env.ts';
import type { Http, HttpBody } from '#protocol/http.ts';
import type { SimObjects } from '#simulations/sim-objects.ts';
import type { PipeLink } from './shared-pipe.ts';

/** Delay of the first byte from a store, ms. */
const firstByteMs = 50;

export interface DayHttpOptions {
  objects: SimObjects;
  clock: Clock;
  link: PipeLink;
  /** Told of bytes that have arrived here. */
  onBytes: (bytes: number) => void;
}

/**
 * A machine's way to the store of models: objects arrive whole after the time that their bytes take on
 * a shared link. Uploads are small in a day, and take the first byte's delay.
 */
export function dayHttp(options: DayHttpOptions): Http {
  const { objects, clock, link, onBytes } = options;
  const partBytes = Math.max(1, Math.ceil(link.bytesPerMs * partMs));
  return {
    async get({ url, start, signal }): Promise<HttpBody> {
      await sleep(clock, firstByteMs, signal);
      const grant = objects.grant(url);
      if (grant?.method !== 'GET') return refusal(403);
      const info = await objects.head(grant.key);
      if (!info) return refusal(404);
      const body = await objects.read(grant.key, { start, end: info.bytes - 1 });
      return {
        status: start > 0 ? 206 : 200,
        start,
        totalBytes: info.bytes,
        body: inParts(body, { partBytes, link, signal, onBytes }),
      };
    },
    async put({ url, body, signal }) {
      await sleep(clock, firstByteMs, signal);
      const grant = objects.grant(url);
      if (grant?.method !== 'PUT')
        return { status: 403, detail: 'the URL was not signed for this or has expired' };
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(chunk);
      objects.store({ key: grant.put.key, bytes: Buffer.concat(chunks), mime: grant.put.mime });
      return { status: 200, detail: '' };
    },
  };
}

/** A part takes as long on an idle link, ms: well within what a machine waits for the next one, also where three share it. */
const partMs = 15_000;

async function* inParts(
  body: AsyncIterable<Uint8Array>,
  options: Pick<DayHttpOptions, 'link' | 'onBytes'> & { partBytes: number; signal: AbortSignal },
): AsyncGenerator<Uint8Array> {
  const { link, onBytes, partBytes, signal } = options;
  for await (const piece of body) {
    for (let at = 0; at < piece.length; at += partBytes) {
      const part = piece.subarray(at, at + partBytes);
      await link.transfer(part.length, signal);
      onBytes(part.length);
      yield part;
    }
  }
}

function refusal(status: number): HttpBody {
  return { status, start: 0, totalBytes: null, body: (async function* () {})() };
}
