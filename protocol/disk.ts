/**
 * The disk of a machine, behind a port so that simulations can bring their own: full, slow, lost.
 * Paths are absolute and use `/`. A write that finds no room rejects with `DISK_FULL`.
 */
export interface DiskEntry {
  name: string;
  kind: 'file' | 'folder';
  /** 0 for folders. */
  bytes: number;
}

/** An open file that grows at its end. */
export interface FileSink {
  write(chunk: Uint8Array): Promise<void>;
  /** Closes; with `sync` the bytes are on the device before it resolves. Idempotent. */
  close(options: { sync: boolean }): Promise<void>;
}

export interface Disk {
  /** Bytes that a write may still use on the file system of `path`. */
  freeBytes(path: string): Promise<number>;
  /** Makes the folder and its parents; one that is there is left as it is. */
  makeFolder(path: string): Promise<void>;
  /** Entries of a folder by name; an absent folder has none. */
  list(path: string): Promise<DiskEntry[]>;
  /** Size of a file, null if there is none. */
  fileBytes(path: string): Promise<number | null>;
  /** Reads from byte `start` to the end. */
  read(path: string, start: number): AsyncIterable<Uint8Array>;
  readText(path: string): Promise<string | null>;
  /** Replaces the file in one step: a reader sees the old text or the new, never a part. */
  writeText(path: string, text: string): Promise<void>;
  /** Opens for writing at `keepBytes`: the file keeps that many bytes (0 = empty) and grows from there. */
  append(path: string, keepBytes: number): Promise<FileSink>;
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or a folder with all it holds; what is absent is fine. */
  remove(path: string): Promise<void>;
}
