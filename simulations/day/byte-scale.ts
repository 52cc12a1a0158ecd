/**
 * Models of a day weigh 2 to 24 GB; the cache that ships writes, hashes and renames their bytes for
 * real. So a day moves one byte for each mebibyte, and every rate, disk and budget is scaled alike:
 * durations and decisions stay what they are, because all of them are ratios of these.
 */
export const realBytesPerByte = 1_048_576;

/** Bytes of a day for real ones; never 0, because a file of nothing is no model. */
export function scaledBytes(realBytes: number): number {
  return Math.max(1, Math.round(realBytes / realBytesPerByte));
}

/** Bytes per ms of a day for a real rate. */
export function scaledRate(realBytesPerMs: number): number {
  return realBytesPerMs / realBytesPerByte;
}
