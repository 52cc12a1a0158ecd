import type { Disk, DiskEntry, FileSink } from '#protocol/disk.ts';
import { EmpError } from '#protocol/errors.ts';

interface SimFile {
  chunks: Uint8Array[];
  bytes: number;
  /** False once it was removed or replaced: who still has it open writes to nothing. */
  isThere: boolean;
  /** Bytes that survive a crash of the box. */
  syncedBytes: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * A machine's disk in memory: bounded, and honest about what survives. `crash` keeps what a power cut
 * keeps (synced bytes, replaced texts), `wipe` is a container that came back with an empty disk.
 */
export class SimDisk implements Disk {
  readonly #capacityBytes: number;
  /** Bytes that others have taken on the same device. */
  #takenBytes = 0;
  readonly #files = new Map<string, SimFile>();
  readonly #folders = new Set<string>(['/']);
  #highestUsed = 0;
  #used = 0;

  constructor(options: { capacityBytes: number }) {
    this.#capacityBytes = options.capacityBytes;
  }

  /** What this machine may use now: all, less what others have taken. */
  get capacityBytes(): number {
    return this.#capacityBytes - this.#takenBytes;
  }

  /** Others fill the device, so that `freeBytes` more may be written; null takes all of theirs away. */
  squeeze(freeBytes: number | null): void {
    const restBytes = this.#capacityBytes - this.usedBytes;
    this.#takenBytes = freeBytes === null ? 0 : Math.max(0, restBytes - freeBytes);
  }

  get usedBytes(): number {
    return this.#used;
  }

  get highestUsedBytes(): number {
    return this.#highestUsed;
  }

  /** Whether a file is there, for whoever looks from outside. */
  holds(path: string): boolean {
    return this.#files.has(normal(path));
  }

  /** Bytes of all files below a folder. */
  bytesUnder(folder: string): number {
    const prefix = `${normal(folder)}/`;
    let used = 0;
    for (const [path, file] of this.#files) if (path.startsWith(prefix)) used += file.bytes;
    return used;
  }

  /** Power cut: bytes that were not synced are gone. */
  crash(): void {
    for (const file of this.#files.values()) this.#used += truncate(file, file.syncedBytes);
  }

  /** The container came back without its disk. */
  wipe(): void {
    for (const path of [...this.#files.keys()]) this.#drop(path);
    this.#folders.clear();
    this.#folders.add('/');
  }

  async freeBytes(_path: string): Promise<number> {
    return Math.max(0, this.capacityBytes - this.usedBytes);
  }

  async makeFolder(path: string): Promise<void> {
    const parts = normal(path).split('/').slice(1);
    for (let depth = 1; depth <= parts.length; depth++) {
      const folder = `/${parts.slice(0, depth).join('/')}`;
      if (this.#files.has(folder))
        throw new EmpError('INTERNAL', { detail: `${folder} is a file, not a folder` });
      this.#folders.add(folder);
    }
  }

  async list(path: string): Promise<DiskEntry[]> {
    const prefix = normal(path) === '/' ? '/' : `${normal(path)}/`;
    const direct = (full: string) =>
      full.startsWith(prefix) && full !== '/' && !full.slice(prefix.length).includes('/');
    const files = [...this.#files]
      .filter(([full]) => direct(full))
      .map(
        ([full, file]): DiskEntry => ({ name: full.slice(prefix.length), kind: 'file', bytes: file.bytes }),
      );
    const folders = [...this.#folders]
      .filter(direct)
      .map((full): DiskEntry => ({ name: full.slice(prefix.length), kind: 'folder', bytes: 0 }));
    return [...files, ...folders].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async fileBytes(path: string): Promise<number | null> {
    return this.#files.get(normal(path))?.bytes ?? null;
  }

  async *read(path: string, start: number): AsyncIterable<Uint8Array> {
    const file = this.#files.get(normal(path));
    if (!file) throw new EmpError('INTERNAL', { detail: `there is no file ${path}` });
    let at = 0;
    for (const chunk of [...file.chunks]) {
      if (at + chunk.length > start) yield chunk.subarray(Math.max(0, start - at));
      at += chunk.length;
    }
  }

  async readText(path: string): Promise<string | null> {
    const file = this.#files.get(normal(path));
    return file ? decoder.decode(Buffer.concat(file.chunks)) : null;
  }

  async writeText(path: string, text: string): Promise<void> {
    const bytes = encoder.encode(text);
    this.#parentOf(path);
    this.#room(bytes.length - (this.#files.get(normal(path))?.bytes ?? 0));
    const file = { chunks: [bytes], bytes: bytes.length, syncedBytes: bytes.length, isThere: false };
    this.#put(normal(path), file);
  }

  async append(path: string, keepBytes: number): Promise<FileSink> {
    this.#parentOf(path);
    const known = this.#files.get(normal(path));
    const file = known ?? { chunks: [], bytes: 0, syncedBytes: 0, isThere: false };
    this.#used += truncate(file, keepBytes);
    if (known === undefined) this.#put(normal(path), file);
    let open = true;
    return {
      write: async (chunk) => {
        if (!open) throw new EmpError('INTERNAL', { detail: `${path} is closed` });
        this.#room(chunk.length);
        file.chunks.push(chunk.slice());
        file.bytes += chunk.length;
        if (file.isThere) this.#used += chunk.length;
        this.#highestUsed = Math.max(this.#highestUsed, this.#used);
      },
      close: async ({ sync }) => {
        open = false;
        if (sync) file.syncedBytes = file.bytes;
      },
    };
  }

  async rename(from: string, to: string): Promise<void> {
    const [source, target] = [normal(from), normal(to)];
    this.#parentOf(to);
    const file = this.#files.get(source);
    if (!file && !this.#folders.has(source))
      throw new EmpError('INTERNAL', { detail: `there is nothing at ${from}` });
    for (const [path, each] of [...this.#files]) {
      const moved = movedPath(path, source, target);
      if (moved === null) continue;
      this.#drop(path);
      this.#put(moved, each);
    }
    for (const path of [...this.#folders]) {
      const moved = movedPath(path, source, target);
      if (moved === null) continue;
      this.#folders.delete(path);
      this.#folders.add(moved);
    }
  }

  async remove(path: string): Promise<void> {
    const gone = normal(path);
    const inside = (full: string) => full === gone || full.startsWith(`${gone}/`);
    for (const full of [...this.#files.keys()]) if (inside(full)) this.#drop(full);
    for (const full of [...this.#folders]) if (full !== '/' && inside(full)) this.#folders.delete(full);
  }

  /** In place of what is there. */
  #put(path: string, file: SimFile): void {
    this.#drop(path);
    this.#files.set(path, file);
    file.isThere = true;
    this.#used += file.bytes;
  }

  #drop(path: string): void {
    const file = this.#files.get(path);
    if (file === undefined) return;
    this.#files.delete(path);
    file.isThere = false;
    this.#used -= file.bytes;
  }

  #parentOf(path: string): void {
    const parent = normal(path).split('/').slice(0, -1).join('/') || '/';
    if (!this.#folders.has(parent))
      throw new EmpError('INTERNAL', { detail: `there is no folder ${parent}` });
  }

  #room(bytes: number): void {
    const freeBytes = this.capacityBytes - this.usedBytes;
    if (bytes > freeBytes)
      throw new EmpError('DISK_FULL', {
        detail: `${bytes} bytes do not fit into ${freeBytes}`,
        fields: { bytes, freeBytes },
      });
  }
}

function normal(path: string): string {
  if (!path.startsWith('/'))
    throw new EmpError('INTERNAL', { detail: `a disk path is absolute, got ${path}` });
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new EmpError('INTERNAL', { detail: `a disk path has no .., got ${path}` });
  return `/${parts.join('/')}`;
}

function movedPath(path: string, from: string, to: string): string | null {
  if (path === from) return to;
  return path.startsWith(`${from}/`) ? `${to}${path.slice(from.length)}` : null;
}

/** Answers by how many bytes the file has changed, 0 or less. */
function truncate(file: SimFile, keepBytes: number): number {
  const before = file.bytes;
  const whole = Buffer.concat(file.chunks);
  const kept = new Uint8Array(whole.subarray(0, Math.min(keepBytes, whole.length)));
  file.chunks = kept.length > 0 ? [kept] : [];
  file.bytes = kept.length;
  file.syncedBytes = Math.min(file.syncedBytes, kept.length);
  return kept.length - before;
}
