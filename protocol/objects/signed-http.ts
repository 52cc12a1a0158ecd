import type { Clock } from '#protocol/env.ts';
import { EmpError, ERROR_CODES } from '#protocol/errors.ts';
import type { ObjectInfo } from '#protocol/objects.ts';
import { parseRange } from './byte-range.ts';
import { type FolderFiles, fileFailure } from './folder-files.ts';
import { invalidField } from './object-key.ts';
import { type PutGrant, verifySignedUrl } from './signed-url.ts';

/** What a request with a signed URL is answered: the hub's route only passes it on. */

/** Answer to a signed GET or HEAD, ready for HTTP. `body` opens the file when it is first read. */
export type SignedGetAnswer =
  | {
      kind: 'ok';
      status: 200 | 206;
      headers: Record<string, string>;
      body: AsyncIterable<Uint8Array>;
      info: ObjectInfo;
    }
  | SignedRefusal;

export type SignedPutAnswer =
  /** `created` false: the same content was there already. */
  { kind: 'stored'; created: boolean; info: ObjectInfo } | SignedRefusal;

export interface SignedRefusal {
  kind: 'refused';
  /** HTTP status of the answer, and its headers beside the problem document's. */
  status: number;
  headers: Record<string, string>;
  error: EmpError;
}

export type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** What the answers are made from. */
export interface SignedStore {
  files: FolderFiles;
  secret: string;
  clock: Clock;
}

function refused(
  error: EmpError,
  over: { status?: number; headers?: Record<string, string> } = {},
): SignedRefusal {
  return {
    kind: 'refused',
    status: over.status ?? ERROR_CODES[error.code].status,
    headers: over.headers ?? {},
    error,
  };
}

const one = (value: string | string[] | undefined) => (Array.isArray(value) ? value[0] : value);

/** What the headers tell of an upload before its first byte; null if nothing speaks against it. */
function headerProblem(grant: PutGrant, headers: RequestHeaders): EmpError | null {
  const type = one(headers['content-type']);
  if (type !== undefined && type !== grant.mime)
    return invalidField('/content-type', `is ${grant.mime}, as the URL was signed for`);
  const encoding = one(headers['content-encoding']);
  if (encoding !== undefined && encoding !== 'identity')
    return invalidField('/content-encoding', 'is not taken: send the bytes as they are');
  const length = one(headers['content-length']);
  if (length === undefined) return null;
  if (!/^\d{1,15}$/.test(length)) return invalidField('/content-length', 'is a whole number');
  if (Number(length) > grant.limitBytes) {
    return new EmpError('BODY_TOO_LARGE', {
      detail: `The upload has ${length} bytes; the URL was signed for at most ${grant.limitBytes}.`,
    });
  }
  if (grant.bytes !== null && Number(length) !== grant.bytes)
    return invalidField('/content-length', `is ${grant.bytes}, as the URL was signed for`);
  return null;
}

/**
 * Headers of a stored object. Results come from customers' workflows: a browser that opens one must
 * not run it on the hub's origin.
 */
function objectHeaders(info: ObjectInfo, downloadName: string | null): Record<string, string> {
  return {
    'content-type': info.mime,
    'accept-ranges': 'bytes',
    etag: `"${info.sha256}"`,
    'cache-control': 'private, max-age=31536000, immutable',
    'x-content-type-options': 'nosniff',
    'content-security-policy':
      "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'",
    'cross-origin-resource-policy': 'same-origin',
    ...(downloadName === null ? {} : { 'content-disposition': `attachment; filename="${downloadName}"` }),
  };
}

export async function answerGet(
  store: SignedStore,
  url: string,
  rangeHeader: string | undefined,
): Promise<SignedGetAnswer> {
  const { files, secret, clock } = store;
  const verified = verifySignedUrl({ url, method: 'GET', secret, nowMs: clock.now() });
  if (verified.kind === 'refused') return refused(new EmpError('FORBIDDEN', { detail: verified.detail }));
  const { key, downloadName } = verified.grant;
  const info = await files.info(key);
  if (!info)
    return refused(new EmpError('NOT_FOUND', { detail: `Nothing is stored under ${key}.`, fields: { key } }));
  const range = parseRange(rangeHeader, info.bytes);
  const headers = objectHeaders(info, downloadName);
  if (range.kind === 'unsatisfiable') {
    const error = invalidField('/range', `begins before the ${info.bytes} bytes end`);
    return refused(error, { status: 416, headers: { 'content-range': `bytes */${info.bytes}` } });
  }
  if (range.kind === 'whole') {
    return {
      kind: 'ok',
      status: 200,
      headers: { ...headers, 'content-length': String(info.bytes) },
      body: files.read(key),
      info,
    };
  }
  const { start, end } = range;
  const part = {
    'content-length': String(end - start + 1),
    'content-range': `bytes ${start}-${end}/${info.bytes}`,
  };
  return {
    kind: 'ok',
    status: 206,
    headers: { ...headers, ...part },
    body: files.read(key, { start, end }),
    info,
  };
}

/** The client went away, or its body was cut: what came is not the upload. */
async function* wholeUpload(stream: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  try {
    yield* stream;
  } catch (error) {
    throw new EmpError('VALIDATION_FAILED', {
      detail: 'The upload ended before its last byte. Nothing was stored; send it again.',
      cause: error,
    });
  }
}

export async function answerPut(
  store: SignedStore,
  options: { url: string; stream: AsyncIterable<Uint8Array>; headers: RequestHeaders },
): Promise<SignedPutAnswer> {
  const { files, secret, clock } = store;
  const verified = verifySignedUrl({ url: options.url, method: 'PUT', secret, nowMs: clock.now() });
  if (verified.kind === 'refused') return refused(new EmpError('FORBIDDEN', { detail: verified.detail }));
  const problem = headerProblem(verified.grant, options.headers);
  if (problem) return refused(problem);
  try {
    return {
      kind: 'stored',
      ...(await files.publish(await files.stage(wholeUpload(options.stream), verified.grant))),
    };
  } catch (error) {
    const failure = fileFailure(error, files.dir);
    if (['VALIDATION_FAILED', 'BODY_TOO_LARGE', 'CONFLICT'].includes(failure.code)) return refused(failure);
    throw failure;
  }
}
