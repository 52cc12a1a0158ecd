/**
 * Objects: inputs, results and models by key. Bytes travel by pre-signed URL, never over the link.
 * Keys are made by protocol functions (`resultObjectKey`, `modelObjectKey`) or by the hub.
 */

export interface ObjectInfo {
  key: string;
  bytes: number;
  sha256: string;
  mime: string;
  storedAtMs: number;
}

export interface SignPut {
  key: string;
  /** Exact size and hash the upload must have; null = anything up to `limitBytes`. */
  bytes: number | null;
  sha256: string | null;
  limitBytes: number;
  mime: string;
  /** At most 15 minutes. */
  expiresInMs: number;
}

export interface Objects {
  /** URL for one GET with ranges. `baseUrl` = how the caller reaches this hub (folder store only). */
  signGet(options: {
    key: string;
    expiresInMs: number;
    baseUrl: string;
    downloadName?: string;
  }): Promise<string>;
  signPut(options: SignPut & { baseUrl: string }): Promise<string>;
  /** What is stored under the key, null if nothing (complete) is. */
  head(key: string): Promise<ObjectInfo | null>;
  /** Stores a local file. Equal content under an existing key is left as it is. */
  putFile(options: { key: string; path: string; mime: string }): Promise<ObjectInfo>;
  /** The bytes, or those from `start` to `end`, both included, as in a `Range` header. */
  read(key: string, range?: { start: number; end: number }): Promise<AsyncIterable<Uint8Array>>;
  delete(key: string): Promise<void>;
  /** Keys under a prefix in order, at most 1 000 a page. */
  list(options: { prefix: string; after: string | null; limit: number }): Promise<ObjectInfo[]>;
  close(): Promise<void>;
}

/** Longest life of a pre-signed URL, ms. */
export const signedUrlLimitMs = 900_000;
/** Largest single object, bytes. */
export const objectLimitBytes = 64 * 1024 ** 3;
