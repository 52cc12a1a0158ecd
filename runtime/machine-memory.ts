const MiB = 1_048_576;

/**
 * Memory that this process may use, MiB: what the computer has, or the limit of the container where one
 * is set. `constrainedBytes` is `process.constrainedMemory()`: 0 where nothing limits it, and far more
 * than there is where the kernel writes "no limit" as a number.
 */
export function memoryMb(options: { totalBytes: number; constrainedBytes: number }): number {
  const { totalBytes, constrainedBytes } = options;
  const isLimit = Number.isFinite(constrainedBytes) && constrainedBytes >= MiB;
  return Math.floor(Math.min(totalBytes, isLimit ? constrainedBytes : totalBytes) / MiB);
}
