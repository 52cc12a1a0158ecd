import type { Disk } from '#protocol/disk.ts';
import { type Clock, sleep } from '#protocol/env.ts';
import type { Buggify } from './buggify.ts';

const jitterLimitMs = 200;

/**
 * A machine's disk as one of its processes sees it: calls take the time that `callMs` says now. On the
 * clock of the process, so that a frozen one does not go on while its disk answers.
 */
export function slowDisk(
  disk: Disk,
  options: { clock: Clock; callMs: () => number; buggify?: Buggify },
): Disk {
  const { clock, callMs, buggify } = options;
  const wait = async () => {
    const jitterMs = buggify?.fires('disk.slow') ? buggify.amount('disk.slow', 0, jitterLimitMs) : 0;
    const delayMs = callMs() + jitterMs;
    if (delayMs > 0) await sleep(clock, delayMs);
  };
  const slow =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await wait();
      return await call(...args);
    };
  return {
    freeBytes: (path) => disk.freeBytes(path),
    makeFolder: slow((path) => disk.makeFolder(path)),
    list: slow((path) => disk.list(path)),
    fileBytes: (path) => disk.fileBytes(path),
    async *read(path, start) {
      await wait();
      yield* disk.read(path, start);
    },
    readText: slow((path) => disk.readText(path)),
    writeText: slow((path, text) => disk.writeText(path, text)),
    append: async (path, keepBytes) => {
      await wait();
      const sink = await disk.append(path, keepBytes);
      return { write: slow((chunk) => sink.write(chunk)), close: slow((how) => sink.close(how)) };
    },
    rename: slow((from, to) => disk.rename(from, to)),
    remove: slow((path) => disk.remove(path)),
  };
}
