/**
 * Bytes by URL, behind a port: downloads of models and inputs, uploads of results. A connection that
 * fails rejects with a retryable `EmpError`; every status that was answered is a value.
 */
export interface HttpBody {
  status: number;
  /** First byte of the body within the object: > 0 only if the server honoured the range. */
  start: number;
  /** Size of the whole object where the server says so. */
  totalBytes: number | null;
  /** Must be read to its end or returned (a `for await` that leaves does so): a socket hangs on it. */
  body: AsyncIterable<Uint8Array>;
}

export interface Http {
  /** GET from byte `start` on (0 = all of it, without a range). */
  get(options: { url: string; start: number; signal: AbortSignal }): Promise<HttpBody>;
  /** PUT of exactly `bytes` bytes, whose SHA-256 is named to the server. */
  put(options: {
    url: string;
    body: AsyncIterable<Uint8Array>;
    bytes: number;
    sha256: string;
    mime: string;
    signal: AbortSignal;
  }): Promise<{ status: number; detail: string }>;
}
