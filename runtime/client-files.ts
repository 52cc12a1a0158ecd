import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, openAsBlob } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { EmpError } from '#protocol/errors.ts';
import type { JobOutput } from '#protocol/job.ts';
import { asClientError, type HttpOptions, openRequest } from './client-http.ts';

const MIME_BY_EXTENSION: Readonly<Record<string, string>> = {
  '.avif': 'image/avif',
  '.gif': 'image/gif',
  '.jpeg': 'image/jpeg',
  '.jpg': 'image/jpeg',
  '.json': 'application/json',
  '.png': 'image/png',
  '.tif': 'image/tiff',
  '.tiff': 'image/tiff',
  '.txt': 'text/plain',
  '.webp': 'image/webp',
};

/** Type of a file by its name; what a service accepts it decides by looking at the bytes. */
export function mimeOf(name: string): string {
  return MIME_BY_EXTENSION[extname(name).toLowerCase()] ?? 'application/octet-stream';
}

/**
 * Name of a local file as an input of a job: every character outside `A-Za-z0-9._-` becomes `-`, a
 * leading one is cut, and at most 128 characters stay, the extension among them.
 */
export function inputName(path: string): string {
  const clean = basename(path)
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '');
  const extension = extname(clean);
  if (clean === '') return 'input';
  return clean.length <= 128 ? clean : `${clean.slice(0, 128 - extension.length)}${extension}`;
}

/** Size and SHA-256 of a file, read once. Rejects with `INPUT_INVALID` where it is no readable file. */
export async function measureFile(path: string): Promise<{ bytes: number; sha256: string }> {
  try {
    const info = await stat(path);
    if (!info.isFile()) throw new EmpError('INPUT_INVALID', { detail: `${path} is not a file` });
    if (info.size === 0) throw new EmpError('INPUT_INVALID', { detail: `${path} is empty` });
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
    return { bytes: info.size, sha256: hash.digest('hex') };
  } catch (error) {
    if (error instanceof EmpError) throw error;
    throw new EmpError('INPUT_INVALID', {
      detail: `cannot read ${path}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`,
      cause: error,
    });
  }
}

/** Sends a file to a signed URL of the hub's object store. */
export async function putFile(
  http: HttpOptions,
  options: { url: string; path: string; mime: string; signal?: AbortSignal | undefined },
): Promise<void> {
  const body = await openAsBlob(options.path, { type: options.mime });
  const response = await openRequest(http, {
    method: 'PUT',
    path: options.url,
    body,
    headers: { 'content-type': options.mime },
    signal: options.signal,
    // The time limit is for an answer; a big file on a slow link may take longer than that to send: 128 kB/s.
    holdMs: Math.ceil(body.size / 128),
  });
  await response.arrayBuffer();
}

/** A name that stays inside its folder: the form of `FileName`. */
const safeName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * Fetches one output of a job into `dir` and answers its path. Bytes are counted and hashed on the
 * way; what differs from the committed result never gets the final name (`OUTPUT_MISSING`).
 */
export async function downloadOutput(
  http: HttpOptions,
  options: {
    jobId: string;
    output: JobOutput;
    dir: string;
    fileName?: string;
    signal?: AbortSignal | undefined;
  },
): Promise<string> {
  const name = options.fileName ?? options.output.name;
  if (!safeName.test(name))
    throw new EmpError('OUTPUT_MISSING', {
      detail: `output name ${JSON.stringify(name)} would leave its folder`,
    });
  await mkdir(options.dir, { recursive: true });
  const path = join(options.dir, name);
  const part = `${path}.${options.jobId.slice(-12)}.part`;
  const signal = options.signal ?? new AbortController().signal;
  const response = await openRequest(http, {
    path: `/v1/jobs/${encodeURIComponent(options.jobId)}/outputs/${encodeURIComponent(options.output.name)}`,
    signal,
  });
  const hash = createHash('sha256');
  let bytes = 0;
  const measure = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      bytes += chunk.byteLength;
      hash.update(chunk);
      // Cut an endless answer as soon as it is longer than what was committed.
      done(
        bytes > options.output.bytes
          ? new EmpError('OUTPUT_MISSING', {
              detail: `${name} is longer than its ${options.output.bytes} bytes`,
            })
          : null,
        chunk,
      );
    },
  });
  try {
    await pipeline(
      Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]),
      measure,
      createWriteStream(part),
      { signal },
    );
    const sha256 = hash.digest('hex');
    if (bytes !== options.output.bytes || sha256 !== options.output.sha256) {
      throw new EmpError('OUTPUT_MISSING', {
        detail: `${name} does not have the committed size and SHA-256: try again`,
        fields: { expected: options.output.sha256, actual: sha256, bytes },
      });
    }
    await rename(part, path);
    return path;
  } catch (error) {
    await rm(part, { force: true });
    throw (error as NodeJS.ErrnoException).syscall === undefined
      ? asClientError(new URL(http.baseUrl).origin, error, signal)
      : error;
  }
}
