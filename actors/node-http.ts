import { Readable } from 'node:stream';
import { EmpError } from '#protocol/errors.ts';
import type { Http } from '#protocol/http.ts';

/** Any failure below HTTP may pass: a name that does not resolve, a refused or reset connection. */
function unreachable(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  const cause = (error as { cause?: { code?: string } }).cause?.code;
  return new EmpError('INPUT_UNAVAILABLE', {
    detail: `the connection failed${cause === undefined ? '' : ` (${cause})`}`,
    retryable: true,
    cause: error,
  });
}

async function* bodyOf(response: Response, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  try {
    for await (const chunk of response.body) yield chunk;
  } catch (error) {
    throw unreachable(error, signal);
  }
}

/** First byte and total size by a `Content-Range: bytes 5-9/10` header. */
export function parseContentRange(text: string | null): { start: number; totalBytes: number | null } | null {
  const match = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(text ?? '');
  if (match === null) return null;
  return { start: Number(match[1]), totalBytes: match[2] === '*' ? null : Number(match[2]) };
}

/**
 * How an upload names its hash: `content-digest` (RFC 9530), and S3's own header where the URL was
 * signed for it. S3 refuses any `x-amz-` header that is not part of the signature.
 */
function digestHeaders(url: string, sha256: string): Record<string, string> {
  const base64 = Buffer.from(sha256, 'hex').toString('base64');
  const signed = new URL(url).searchParams.get('X-Amz-SignedHeaders') ?? '';
  const headers: Record<string, string> = { 'content-digest': `sha-256=:${base64}:` };
  if (signed.split(';').includes('x-amz-checksum-sha256')) headers['x-amz-checksum-sha256'] = base64;
  return headers;
}

/** HTTP by Node's fetch. */
export const nodeHttp: Http = {
  async get({ url, start, signal }) {
    // Without identity a proxy may compress, and ranges would count other bytes than ours.
    const headers: Record<string, string> = { 'accept-encoding': 'identity' };
    if (start > 0) headers['range'] = `bytes=${start}-`;
    try {
      const response = await fetch(url, { headers, signal });
      const range = response.status === 206 ? parseContentRange(response.headers.get('content-range')) : null;
      const length = response.headers.get('content-length');
      return {
        status: response.status,
        start: range?.start ?? 0,
        totalBytes:
          range === null
            ? response.status === 200 && length !== null
              ? Number(length)
              : null
            : range.totalBytes,
        body: bodyOf(response, signal),
      };
    } catch (error) {
      throw unreachable(error, signal);
    }
  },
  async put({ url, body, bytes, sha256, mime, signal }) {
    try {
      const response = await fetch(url, {
        method: 'PUT',
        headers: { 'content-type': mime, 'content-length': String(bytes), ...digestHeaders(url, sha256) },
        body:
          bytes === 0
            ? new Uint8Array()
            : (Readable.toWeb(Readable.from(body)) as ReadableStream<Uint8Array>),
        duplex: 'half',
        signal,
      } as RequestInit);
      const detail = await response.text();
      return { status: response.status, detail };
    } catch (error) {
      throw unreachable(error, signal);
    }
  },
};
