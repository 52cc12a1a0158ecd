import { createHash } from 'node:crypto';
import type { Objects, SignPut } from './objects.ts';

/** One store under test, fresh and empty. */
export interface ObjectsUnderTest {
  objects: Objects;
  /** Where this store's signed URLs lead, for stores that the hub serves. */
  baseUrl: string;
  /** A real HTTP request to a signed URL. */
  request(
    url: string,
    init: { method: string; body?: Uint8Array; headers?: Record<string, string> },
  ): Promise<Response>;
  /** Lets `ms` pass on the clock by which this store's URLs expire; absent where nobody can. */
  elapse?: (ms: number) => Promise<void>;
  /** Writes a local file and answers its path. */
  localFile(bytes: Uint8Array): Promise<string>;
  close(): Promise<void>;
}

export type ObjectsSetup = () => Promise<ObjectsUnderTest>;

export const bytesOf = (text: string) => new TextEncoder().encode(text);
export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
export const text = 'the tide comes in';
export const content = bytesOf(text);

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts).toString('utf8');
}

/** Bytes that no two places share, `size` of them. */
export function pattern(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at++) bytes[at] = (at * 31 + (at >> 8) * 7) & 0xff;
  return bytes;
}

export type Store = ObjectsUnderTest & ReturnType<typeof verbs>;
export type Tracked = () => Promise<Store>;

export function verbs({ objects, baseUrl, request, localFile }: ObjectsUnderTest) {
  return {
    /** Signs and uploads; the terms are exactly the content's unless told otherwise. */
    async upload(
      key: string,
      body: Uint8Array,
      over: Partial<SignPut> = {},
      headers: Record<string, string> = {},
    ): Promise<Response> {
      const terms = {
        key,
        bytes: body.byteLength,
        sha256: sha256(body),
        limitBytes: 10_000_000,
        mime: 'text/plain',
        expiresInMs: 60_000,
        ...over,
      };
      const url = await objects.signPut({ ...terms, baseUrl });
      return request(url, { method: 'PUT', body, headers: { 'content-type': terms.mime, ...headers } });
    },
    async put(key: string, body: Uint8Array | string, mime = 'text/plain') {
      return objects.putFile({
        key,
        path: await localFile(typeof body === 'string' ? bytesOf(body) : body),
        mime,
      });
    },
    async get(key: string, headers: Record<string, string> = {}): Promise<Response> {
      return request(await objects.signGet({ key, expiresInMs: 60_000, baseUrl }), {
        method: 'GET',
        headers,
      });
    },
  };
}
