/**
 * The smallest list, by deleting parts, for which `fails` still says true (ddmin). `fails` is true of
 * the whole list. Deterministic: the same predicate gives the same answer. `limit` bounds the tries.
 */
export async function shrink<T>(
  items: readonly T[],
  fails: (candidate: readonly T[]) => Promise<boolean>,
  limit = 400,
): Promise<T[]> {
  let current = [...items];
  let parts = 2;
  let tries = 0;
  while (current.length >= 2 && tries < limit) {
    const size = Math.ceil(current.length / parts);
    let smaller: T[] | null = null;
    for (let start = 0; start < current.length && smaller === null && tries < limit; start += size) {
      const rest = [...current.slice(0, start), ...current.slice(start + size)];
      tries++;
      if (await fails(rest)) smaller = rest;
    }
    if (smaller !== null) {
      current = smaller;
      parts = Math.max(2, parts - 1);
    } else if (size === 1) break;
    else parts = Math.min(current.length, parts * 2);
  }
  if (current.length === 1 && tries < limit && (await fails([]))) return [];
  return current;
}
