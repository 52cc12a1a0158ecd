import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Clock } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import { Sha256 } from '#protocol/model.ts';
import { FileName } from '#protocol/names.ts';
import { type ObjectInfo, type Objects, objectLimitBytes, type SignPut } from '#protocol/objects.ts';
import { FolderFiles } from './folder-files.ts';
import { checkObjectKey, invalidField } from './object-key.ts';
import {
  answerGet,
  answerPut,
  type RequestHeaders,
  type SignedGetAnswer,
  type SignedPutAnswer,
} from './signed-http.ts';
import { signedUntilMs, signUrl } from './signed-url.ts';

export interface FolderObjects extends Objects {
  /** `url` is the request's path and query, or absolute. A HEAD is answered by the same headers without the body. */
  openSignedGet(url: string, rangeHeader?: string): Promise<SignedGetAnswer>;
  /** Stores a request's body as its URL was signed for; whatever does not fit is refused and removed. */
  acceptSignedPut(
    url: string,
    stream: AsyncIterable<Uint8Array>,
    headers: RequestHeaders,
  ): Promise<SignedPutAnswer>;
}

/** Shortest secret that signs: `Records.secret` makes 43 characters. */
const secretLimit = 32;
const mimeForm =
  /^[A-Za-z0-9!#$&^_.+-]{1,63}\/[A-Za-z0-9!#$&^_.+-]{1,63}(; ?[A-Za-z0-9-]+=[A-Za-z0-9._-]+)?$/;

function checkMime(mime: string): string {
  if (mimeForm.test(mime)) return mime;
  throw invalidField('/mime', 'is a media type such as image/png');
}

function checkPut(put: SignPut): void {
  checkMime(put.mime);
  const size = (bytes: number) => Number.isSafeInteger(bytes) && bytes >= 0 && bytes <= objectLimitBytes;
  if (!size(put.limitBytes))
    throw invalidField('/limitBytes', `is a whole number from 0 to ${objectLimitBytes}`);
  if (put.bytes !== null && (!size(put.bytes) || put.bytes > put.limitBytes))
    throw invalidField('/bytes', 'is a whole number from 0 to limitBytes, or null');
  if (put.sha256 !== null && !Sha256.safeParse(put.sha256).success)
    throw invalidField('/sha256', 'is 64 hex digits in lower case, or null');
}

async function checkSource(path: string): Promise<void> {
  const found = await stat(path).catch(() => null);
  if (!found?.isFile()) throw new EmpError('NOT_FOUND', { detail: `There is no file ${path} to store.` });
}

/**
 * Objects in a folder, for one machine: the hub serves its signed URLs. Keys are paths of safe
 * characters; content never changes under a key. Temporary files of crashed processes are swept when
 * the store is opened. `secret` is `Records.secret('object-urls')` or another of at least 32 characters.
 */
export function folderObjects(options: { dir: string; secret: string; clock: Clock }): FolderObjects {
  const { secret, clock } = options;
  if (secret.length < secretLimit) {
    const detail = `The secret that signs object URLs has at least ${secretLimit} characters: use the one that Records made.`;
    throw new EmpError('CONFIG_INVALID', { detail });
  }
  const files = new FolderFiles(options);
  const store = { files, secret, clock };

  return {
    async signGet({ key, expiresInMs, baseUrl, downloadName }) {
      if (downloadName !== undefined && !FileName.safeParse(downloadName).success)
        throw invalidField('/downloadName', 'is a plain file name');
      const untilMs = signedUntilMs(clock.now(), expiresInMs);
      return signUrl({
        baseUrl,
        secret,
        grant: { method: 'GET', key, untilMs, downloadName: downloadName ?? null },
      });
    },

    async signPut({ baseUrl, ...put }) {
      checkPut(put);
      const { key, bytes, sha256, limitBytes, mime } = put;
      const untilMs = signedUntilMs(clock.now(), put.expiresInMs);
      return signUrl({
        baseUrl,
        secret,
        grant: { method: 'PUT', key, untilMs, bytes, sha256, limitBytes, mime },
      });
    },

    head: async (key) => files.info(checkObjectKey(key)),

    async putFile({ key, path, mime }) {
      await checkSource(path);
      const wanted = {
        key: checkObjectKey(key),
        mime: checkMime(mime),
        bytes: null,
        sha256: null,
        limitBytes: objectLimitBytes,
      };
      const staged = await files.stage(createReadStream(path, { highWaterMark: 262_144 }), wanted);
      return (await files.publish(staged)).info;
    },

    async read(key, range) {
      const info = await files.info(checkObjectKey(key));
      if (!info)
        throw new EmpError('NOT_FOUND', { detail: `Nothing is stored under ${key}.`, fields: { key } });
      if (range) checkRange(range, info.bytes);
      return files.read(key, range);
    },

    delete: async (key) => files.remove(checkObjectKey(key)),

    async list({ prefix, after, limit }) {
      if (!Number.isInteger(limit) || limit < 1 || limit > 1_000)
        throw invalidField('/limit', 'is a whole number from 1 to 1000');
      const infos: ObjectInfo[] = [];
      for (const key of await files.keys({ prefix, after, limit })) {
        const info = await files.info(key);
        if (info) infos.push(info);
      }
      return infos;
    },

    openSignedGet: (url, rangeHeader) => answerGet(store, url, rangeHeader),
    acceptSignedPut: (url, stream, headers) => answerPut(store, { url, stream, headers }),
    close: async () => {},
  };
}

function checkRange({ start, end }: { start: number; end: number }, bytes: number): void {
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && end >= start && start < bytes)
    return;
  throw invalidField(
    '/range',
    `begins at 0 or later, ends where it begins or later, and begins before the ${bytes} bytes end`,
  );
}
