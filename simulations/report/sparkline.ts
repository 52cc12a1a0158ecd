const blocks = '▁▂▃▄▅▆▇█';

/** At most `width` samples, each the largest of those it stands for: a peak must not vanish. */
export function squeezed(values: readonly (number | null)[], width: number): (number | null)[] {
  if (values.length <= width) return [...values];
  return Array.from({ length: width }, (_, index) => {
    const from = Math.floor((index * values.length) / width);
    const until = Math.floor(((index + 1) * values.length) / width);
    const seen = values.slice(from, until).filter((value) => value !== null);
    return seen.length === 0 ? null : Math.max(...seen);
  });
}

/** One character per sample, blank where there is none; the highest block is `top`. */
export function sparkline(
  values: readonly (number | null)[],
  options: { width: number; top?: number },
): string {
  const samples = squeezed(values, options.width);
  const top = options.top ?? Math.max(0, ...samples.map((value) => value ?? 0));
  return samples
    .map((value) => {
      if (value === null) return ' ';
      if (top <= 0) return blocks[0];
      return blocks[Math.min(blocks.length - 1, Math.floor((value / top) * blocks.length))] ?? '';
    })
    .join('');
}

/** Sum over the pools, sample by sample. */
export function total(byName: Record<string, readonly number[]>): number[] {
  const lists = Object.values(byName);
  return (lists[0] ?? []).map((_, index) => lists.reduce((sum, list) => sum + (list[index] ?? 0), 0));
}
