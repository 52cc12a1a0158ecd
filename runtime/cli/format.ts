/** Numbers as people read them. */

/** `850 ms`, `3.2 s`, `4 m 10 s`, `2 h 5 m`, `3 d 4 h`; `-` for null. */
export function duration(ms: number | null): string {
  if (ms === null || Number.isNaN(ms)) return '-';
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} m ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1_440) return `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Decimal units, as disks and networks are sold: `900 B`, `12.3 kB`, `4.5 GB`. */
export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1_000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(value < 9.95 ? 2 : value < 99.95 ? 1 : 0)} ${units[unit]}`;
}

/** `2026-11-21 08:00:00`, in the zone of the terminal. */
export function time(atMs: number | null): string {
  if (atMs === null) return '-';
  const at = new Date(atMs);
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** `[#####-----]  50 %` of a share from 0 to 1. */
export function bar(fraction: number, width = 20): string {
  const share = Math.min(1, Math.max(0, fraction));
  const full = Math.round(share * width);
  return `[${'#'.repeat(full)}${'-'.repeat(width - full)}] ${String(Math.round(share * 100)).padStart(3)} %`;
}
