import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import {
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join, sep } from 'node:path';
import { z } from 'zod';
import type { Clock } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import { Sha256 } from '#protocol/model.ts';
import type { ObjectInfo } from '#protocol/objects.ts';

/**
 * The files of the folder store. An object is a folder `<key>~object` with `data` and `meta.json`,
 * written and synced under `temporary/` and moved into place by one rename: it is there whole or not
 * at all, and a second one under its key cannot be moved over it. `~` is in no key, so that no key's
 * folder can be another's object. What a crash leaves lies under `temporary/`.
 */

/** Temporary folders of other hosts, whose processes we cannot ask about, are swept after this, ms. */
const foreignLeftoverMs = 86_400_000;
/** Tries to move an object into a folder that somebody else's delete just removed. */
const publishTries = 5;

const chunkBytes = 262_144;

/** Temporary folders in use by this process, over all stores on it. */
const inUse = new Set<string>();

const Meta = z.strictObject({
  key: z.string(),
  bytes: z.int().min(0),
  sha256: Sha256,
  mime: z.string(),
  storedAtMs: z.number(),
});

/** What an object in the making must turn out to be. */
export interface Expectation {
  key: string;
  mime: string;
  bytes: number | null;
  sha256: string | null;
  limitBytes: number;
}

export interface Staged {
  folder: string;
  info: ObjectInfo;
}

const isCode = (error: unknown, ...codes: string[]) =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code));

/** Our error for what the file system threw. */
export function fileFailure(error: unknown, dir: string): EmpError {
  if (error instanceof EmpError) return error;
  if (isCode(error, 'ENOSPC', 'EDQUOT', 'EFBIG')) {
    return new EmpError('DISK_FULL', {
      detail: `There is no room in the object folder ${dir}. Free space on its disk, then try again.`,
      cause: error,
    });
  }
  if (isCode(error, 'EACCES', 'EPERM', 'EROFS')) {
    return new EmpError('INTERNAL', {
      detail: `The object folder ${dir} cannot be used. Give this user the right to read and write it.`,
      cause: error,
    });
  }
  const text = error instanceof Error ? error.message : String(error);
  return new EmpError('INTERNAL', {
    detail: `The object folder ${dir} failed: ${text}`,
    retryable: true,
    cause: error,
  });
}

const mismatch = (pointer: string, detail: string) =>
  new EmpError('VALIDATION_FAILED', {
    detail: `The upload ${detail}. Nothing was stored.`,
    errors: [{ pointer, detail }],
  });

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export class FolderFiles {
  readonly dir: string;
  readonly #objects: string;
  readonly #temporary: string;
  readonly #clock: Clock;
  readonly #owner = `${hostname().replaceAll(/[^A-Za-z0-9.-]/g, '-')}~${process.pid}~`;

  /** Makes the folders and sweeps what crashed processes left. Throws `CONFIG_INVALID` if it cannot. */
  constructor(options: { dir: string; clock: Clock }) {
    this.dir = options.dir;
    this.#clock = options.clock;
    this.#objects = join(options.dir, 'objects');
    this.#temporary = join(options.dir, 'temporary');
    try {
      for (const folder of [this.#objects, this.#temporary]) mkdirSync(folder, { recursive: true });
      for (const name of readdirSync(this.#temporary)) {
        const path = join(this.#temporary, name);
        if (this.#isLeftover(name, path)) rmSync(path, { recursive: true, force: true });
      }
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      throw new EmpError('CONFIG_INVALID', {
        detail: `The object folder ${this.dir} cannot be used: ${text}. Name a folder that this user may write.`,
        cause: error,
      });
    }
  }

  #isLeftover(name: string, path: string): boolean {
    const [host, pid] = name.split('~');
    if (`${host}~${pid}~` === this.#owner) return !inUse.has(path);
    if (this.#owner.startsWith(`${host}~`)) return !isAlive(Number(pid));
    return this.#clock.now() - statSync(path).mtimeMs > foreignLeftoverMs;
  }

  pathOf(key: string): string {
    return `${join(this.#objects, ...key.split('/'))}~object`;
  }

  /** The bytes, or those from `start` to `end`, both included. The file is opened at the first read. */
  async *read(key: string, range?: { start: number; end: number }): AsyncIterable<Uint8Array> {
    try {
      yield* createReadStream(join(this.pathOf(key), 'data'), { ...range, highWaterMark: chunkBytes });
    } catch (error) {
      throw fileFailure(error, this.dir);
    }
  }

  /** What is stored under the key, or null. */
  async info(key: string): Promise<ObjectInfo | null> {
    const folder = this.pathOf(key);
    try {
      const meta = Meta.parse(JSON.parse(await readFile(join(folder, 'meta.json'), 'utf8')));
      const { size } = await stat(join(folder, 'data'));
      // A disk that takes `A` and `a` for one name answers with the other key's object.
      if (meta.key !== key) return null;
      if (meta.bytes === size) return meta;
      throw new Error(`it has ${size} bytes instead of ${meta.bytes}`);
    } catch (error) {
      if (isCode(error, 'ENOENT', 'ENOTDIR')) return null;
      if (isCode(error)) throw fileFailure(error, this.dir);
      const text = error instanceof Error ? error.message : String(error);
      throw new EmpError('INTERNAL', {
        detail: `The object ${key} is damaged: ${text}. Remove ${folder} and store it again.`,
        cause: error,
        fields: { key },
      });
    }
  }

  async makeTemporary(): Promise<string> {
    const folder = await mkdtemp(join(this.#temporary, this.#owner));
    inUse.add(folder);
    return folder;
  }

  async dropTemporary(folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true });
    inUse.delete(folder);
  }

  /** Writes a stream to a temporary folder while it hashes it; on any refusal nothing is left. */
  async stage(source: AsyncIterable<Uint8Array>, wanted: Expectation): Promise<Staged> {
    const folder = await this.makeTemporary();
    try {
      const { bytes, sha256 } = await writeHashed(join(folder, 'data'), source, wanted.limitBytes);
      if (wanted.bytes !== null && bytes !== wanted.bytes)
        throw mismatch('/bytes', `has ${bytes} bytes, ${wanted.bytes} were signed for`);
      if (wanted.sha256 !== null && sha256 !== wanted.sha256)
        throw mismatch('/sha256', `has the SHA-256 ${sha256}, ${wanted.sha256} was signed for`);
      const info = { key: wanted.key, bytes, sha256, mime: wanted.mime, storedAtMs: this.#clock.now() };
      await writeFile(join(folder, 'meta.json'), JSON.stringify(info), { flag: 'wx', flush: true });
      await syncFolder(folder);
      return { folder, info };
    } catch (error) {
      await this.dropTemporary(folder);
      throw fileFailure(error, this.dir);
    }
  }

  /** Moves a staged object to its place; equal content that is there already stays, other content is a conflict. */
  async publish(staged: Staged): Promise<{ info: ObjectInfo; created: boolean }> {
    const { key } = staged.info;
    try {
      if (await this.#moveIn(staged)) return { info: staged.info, created: true };
      const present = await this.info(key);
      if (present?.sha256 === staged.info.sha256) return { info: present, created: false };
      throw new EmpError('CONFLICT', {
        detail: `Other content is stored under ${key} already. Objects never change: use another key.`,
        fields: { key },
      });
    } catch (error) {
      throw fileFailure(error, this.dir);
    } finally {
      await this.dropTemporary(staged.folder);
    }
  }

  /** False if something is there already. */
  async #moveIn(staged: Staged): Promise<boolean> {
    const target = this.pathOf(staged.info.key);
    const parent = dirname(target);
    for (let tried = 1; ; tried++) {
      const made = await mkdir(parent, { recursive: true });
      try {
        await rename(staged.folder, target);
        await this.#syncParents(parent, made);
        return true;
      } catch (error) {
        if (isCode(error, 'ENOTEMPTY', 'EEXIST')) return false;
        if (!isCode(error, 'ENOENT') || tried === publishTries) throw error;
      }
    }
  }

  /** The new entry is durable once its folder is; so are folders that were made for it. */
  async #syncParents(parent: string, firstMade: string | undefined): Promise<void> {
    const last = firstMade === undefined ? parent : dirname(firstMade);
    for (let folder = parent; ; folder = dirname(folder)) {
      await syncFolder(folder);
      if (folder === last || folder.length <= this.#objects.length) return;
    }
  }

  /** Gone in one step for every reader who has not opened it. */
  async remove(key: string): Promise<void> {
    const target = this.pathOf(key);
    const folder = await this.makeTemporary();
    try {
      await rename(target, join(folder, 'removed'));
      await this.#removeEmptyParents(dirname(target));
    } catch (error) {
      if (!isCode(error, 'ENOENT', 'ENOTDIR')) throw fileFailure(error, this.dir);
    } finally {
      await this.dropTemporary(folder);
    }
  }

  async #removeEmptyParents(from: string): Promise<void> {
    for (let folder = from; folder.startsWith(this.#objects + sep); folder = dirname(folder)) {
      try {
        await rmdir(folder);
      } catch (error) {
        if (isCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT')) return;
        throw error;
      }
    }
  }

  /** Keys under a prefix after `after`, in order of their characters, at most `limit`. */
  async keys(options: { prefix: string; after: string | null; limit: number }): Promise<string[]> {
    const found: string[] = [];
    await this.#collect('', options, found);
    return found;
  }

  async #collect(
    path: string,
    options: { prefix: string; after: string | null; limit: number },
    found: string[],
  ): Promise<void> {
    const { prefix, after, limit } = options;
    for (const entry of await this.#entries(path)) {
      if (found.length >= limit) return;
      const key = path + entry;
      if (entry.endsWith('/')) {
        const inPrefix = key.startsWith(prefix) || prefix.startsWith(key);
        // All keys below begin with this path: they can come after `after` only if the path does or leads to it.
        if (inPrefix && (after === null || key > after || after.startsWith(key)))
          await this.#collect(key, options, found);
      } else if (key.startsWith(prefix) && (after === null || key > after)) found.push(key);
    }
  }

  /** Objects as `name`, folders as `name/`, so that sorting entries sorts keys. */
  async #entries(path: string): Promise<string[]> {
    try {
      const names = await readdir(join(this.#objects, path));
      return names
        .map((name) => (name.endsWith('~object') ? name.slice(0, -'~object'.length) : `${name}/`))
        .sort();
    } catch (error) {
      if (isCode(error, 'ENOENT')) return [];
      throw fileFailure(error, this.dir);
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return isCode(error, 'EPERM');
  }
}

async function writeHashed(
  path: string,
  source: AsyncIterable<Uint8Array>,
  limitBytes: number,
): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  const file: FileHandle = await open(path, 'wx');
  try {
    for await (const chunk of source) {
      bytes += chunk.byteLength;
      if (bytes > limitBytes)
        throw new EmpError('BODY_TOO_LARGE', {
          detail: `The upload is larger than the ${limitBytes} bytes that were signed for. Nothing was stored.`,
        });
      hash.update(chunk);
      await file.writeFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}
