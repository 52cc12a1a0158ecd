import { createReadStream } from 'node:fs';
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  statfs,
  writeFile,
} from 'node:fs/promises';
import type { Disk, FileSink } from '#protocol/disk.ts';
import { EmpError } from '#protocol/errors.ts';

const code = (error: unknown) => (error as NodeJS.ErrnoException | null)?.code;

/** Runs a write and tells a full disk by its own code: the cache shrinks then instead of trying again. */
async function written<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (code(error) === 'ENOSPC' || code(error) === 'EDQUOT') {
      throw new EmpError('DISK_FULL', {
        detail: 'the disk has no room left; free some or lower EMP_DISK_BUDGET_MB',
        cause: error,
      });
    }
    throw error;
  }
}

/** The answer, or `otherwise` if nothing is there. */
async function present<T>(work: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (code(error) === 'ENOENT') return otherwise;
    throw error;
  }
}

function sinkOf(handle: FileHandle, startBytes: number): FileSink {
  let position = startBytes;
  let closed = false;
  return {
    async write(chunk) {
      for (let sent = 0; sent < chunk.byteLength; ) {
        const { bytesWritten } = await written(handle.write(chunk, sent, chunk.byteLength - sent, position));
        sent += bytesWritten;
        position += bytesWritten;
      }
    },
    async close({ sync }) {
      if (closed) return;
      closed = true;
      try {
        if (sync) await written(handle.sync());
      } finally {
        await handle.close();
      }
    },
  };
}

/** The machine's own disk. Symbolic links are not followed when a file is asked about: they may lead anywhere. */
export const nodeDisk: Disk = {
  async freeBytes(path) {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  },
  async makeFolder(path) {
    await written(mkdir(path, { recursive: true }));
  },
  async list(path) {
    const entries = await present(readdir(path, { withFileTypes: true }), []);
    const wanted = entries
      .filter((entry) => entry.isFile() || entry.isDirectory())
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    return await Promise.all(
      wanted.map(async (entry) => {
        if (entry.isDirectory()) return { name: entry.name, kind: 'folder' as const, bytes: 0 };
        return {
          name: entry.name,
          kind: 'file' as const,
          bytes: (await nodeDisk.fileBytes(`${path}/${entry.name}`)) ?? 0,
        };
      }),
    );
  },
  async fileBytes(path) {
    const stats = await present(lstat(path), null);
    return stats?.isFile() ? stats.size : null;
  },
  read: (path, start) => createReadStream(path, { start, highWaterMark: 262_144 }),
  readText: (path) => present<string | null>(readFile(path, 'utf8'), null),
  async writeText(path, text) {
    await written(writeFile(`${path}.new`, text));
    await rename(`${path}.new`, path);
  },
  async append(path, keepBytes) {
    const handle = await written(open(path, keepBytes === 0 ? 'w' : 'r+'));
    if (keepBytes > 0) await handle.truncate(keepBytes);
    return sinkOf(handle, keepBytes);
  },
  rename: (from, to) => rename(from, to),
  async remove(path) {
    await rm(path, { recursive: true, force: true });
  },
};
