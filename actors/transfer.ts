import { createHash } from 'node:crypto';
import type { Disk } from '#protocol/disk.ts';
import type { Clock, Env } from '#protocol/env.ts';
import { EmpError, type ErrorCode } from '#protocol/errors.ts';
import type { Http, HttpBody } from '#protocol/http.ts';
import { withDeadline, withRetries } from './deadline.ts';

export interface TransferPorts {
  env: Pick<Env, 'clock' | 'rng'>;
  disk: Disk;
  http: Http;
}

/** Silence for this long ends a transfer, ms: a socket of a vanished peer would wait for ever. */
const silenceLimitMs = 60_000;
const retry = { tries: 4, delays: { baseMs: 250, limitMs: 5_000 }, except: ['DISK_FULL'] as const };

const transient = (status: number) => status === 408 || status === 425 || status === 429 || status >= 500;

export interface Download {
  url: string;
  path: string;
  /** Exact size if known. */
  bytes: number | null;
  /** More than this is refused, bytes. */
  limitBytes: number;
  /** Code of the error when it cannot be had. */
  code: ErrorCode;
  signal: AbortSignal;
  /** Bytes of the file that are here. */
  onBytes?: (bytes: number) => void;
}

/**
 * One file from one source to disk, hashed while it streams; answers size and SHA-256. A part that is
 * there is hashed and continued by a range; a server without ranges starts over. Transient failures
 * are retried here with what came so far; the part stays for the next source.
 */
export function download(
  ports: TransferPorts,
  options: Download,
): Promise<{ bytes: number; sha256: string }> {
  return withRetries(ports.env, { ...retry, signal: options.signal }, () => attempt(ports, options));
}

async function attempt(ports: TransferPorts, options: Download): Promise<{ bytes: number; sha256: string }> {
  const { disk } = ports;
  const part = await partOf(disk, options);
  if (part.bytes > 0 && part.bytes === options.bytes)
    return { bytes: part.bytes, sha256: part.hash.digest('hex') };
  const answer = await get(ports, options, part.bytes);
  let { hash, bytes } = part;
  if (answer.start !== bytes) {
    hash = createHash('sha256');
    bytes = 0;
  }
  const sink = await disk.append(options.path, bytes);
  let complete = false;
  try {
    for await (const chunk of spoken(ports.env.clock, answer.body, options.signal)) {
      options.signal.throwIfAborted();
      bytes += chunk.byteLength;
      if (bytes > (options.bytes ?? options.limitBytes)) throw tooLong(options, bytes);
      hash.update(chunk);
      await sink.write(chunk);
      options.onBytes?.(bytes);
    }
    complete = true;
  } finally {
    await sink.close({ sync: complete });
  }
  const wanted = options.bytes ?? answer.totalBytes;
  if (wanted !== null && bytes < wanted) {
    throw new EmpError(options.code, {
      detail: `${hostOf(options.url)} ended after ${bytes} of ${wanted} bytes`,
      retryable: true,
    });
  }
  return { bytes, sha256: hash.digest('hex') };
}

async function partOf(disk: Disk, { path, bytes: wanted }: Download) {
  const bytes = (await disk.fileBytes(path)) ?? 0;
  const hash = createHash('sha256');
  if (bytes === 0 || (wanted !== null && bytes > wanted)) return { bytes: 0, hash };
  for await (const chunk of disk.read(path, 0)) hash.update(chunk);
  return { bytes, hash };
}

async function get(ports: TransferPorts, options: Download, start: number): Promise<HttpBody> {
  const { url, signal, code, path } = options;
  const answer = await withDeadline(
    ports.env.clock,
    { limitMs: silenceLimitMs, what: `the answer of ${hostOf(url)}`, signal },
    (limited) => ports.http.get({ url, start, signal: limited }),
  );
  if (answer.status === 200 || answer.status === 206) {
    if (answer.status === 200 || answer.start === start) return answer;
    await discardBody(answer);
    throw new EmpError(code, {
      detail: `${hostOf(url)} answered another range than asked for`,
      retryable: false,
    });
  }
  await discardBody(answer);
  if (answer.status === 416 && start > 0) {
    // The part reaches beyond the object: it belongs to another one.
    await ports.disk.remove(path);
    throw new EmpError(code, {
      detail: `${hostOf(url)} has fewer bytes than the part that was here`,
      retryable: true,
    });
  }
  throw new EmpError(code, {
    detail: `${hostOf(url)} answered status ${answer.status}`,
    retryable: transient(answer.status),
  });
}

async function discardBody({ body }: HttpBody): Promise<void> {
  for await (const _ of body) break;
}

/** The chunks of a body, refusing a silence between them. */
async function* spoken(
  clock: Clock,
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const iterator = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await withDeadline(
        clock,
        { limitMs: silenceLimitMs, what: 'a part of the transfer', signal },
        () => iterator.next(),
      );
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    // Not awaited: a source that hangs would hang its reader, too.
    void Promise.resolve(iterator.return?.()).catch((error: unknown) => error);
  }
}

const tooLong = ({ code, url, bytes, limitBytes }: Download, got: number) =>
  new EmpError(code, {
    detail: `${hostOf(url)} sent ${got} bytes or more, expected are ${bytes ?? `at most ${limitBytes}`}`,
    retryable: false,
  });

/** Pre-signed URLs are secrets: errors and logs name the host alone. */
export function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'an invalid URL';
}

/** Size and SHA-256 of a file; null if there is none. */
export async function hashFile(disk: Disk, path: string): Promise<{ bytes: number; sha256: string } | null> {
  if ((await disk.fileBytes(path)) === null) return null;
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of disk.read(path, 0)) {
    hash.update(chunk);
    bytes += chunk.byteLength;
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** PUTs a file of known size and hash, retrying what may pass. */
export function upload(
  ports: TransferPorts,
  options: { url: string; path: string; bytes: number; sha256: string; mime: string; signal: AbortSignal },
): Promise<void> {
  const { url, path, signal, ...rest } = options;
  // A minute, and what the bytes need at 100 kB/s: slower than that is no link to work with.
  const limitMs = silenceLimitMs + rest.bytes / 100;
  return withRetries(ports.env, { ...retry, signal }, async () => {
    const { status, detail } = await withDeadline(
      ports.env.clock,
      { limitMs, what: `the upload to ${hostOf(url)}`, signal },
      (limited) => ports.http.put({ ...rest, url, body: ports.disk.read(path, 0), signal: limited }),
    );
    if (status >= 200 && status < 300) return;
    throw new EmpError('OUTPUT_MISSING', {
      detail: `${hostOf(url)} answered an upload with status ${status}: ${detail.slice(0, 200)}`,
      retryable: transient(status),
    });
  });
}
