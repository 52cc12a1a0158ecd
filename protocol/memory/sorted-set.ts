/** Members per chunk at most; a full chunk splits in two. Keeps every splice short at a million members. */
const chunkLimit = 512;

interface Item {
  member: string;
  score: number;
}

/** Order of Redis's sorted sets: by score, equal scores by member. */
function isBefore(a: Item, b: Item): boolean {
  return a.score < b.score || (a.score === b.score && a.member < b.member);
}

/**
 * Members ordered by (score, member), as a Redis sorted set: the Lua has the same structure under
 * the same name. Chunks of sorted arrays with a map beside them; every operation is O(log n) plus
 * one splice of at most `chunkLimit`.
 */
export class SortedSet {
  readonly #scores = new Map<string, number>();
  readonly #chunks: Item[][] = [];

  get size(): number {
    return this.#scores.size;
  }

  score(member: string): number | null {
    return this.#scores.get(member) ?? null;
  }

  has(member: string): boolean {
    return this.#scores.has(member);
  }

  /** Adds the member or moves it to its new score. */
  set(member: string, score: number): void {
    const known = this.#scores.get(member);
    if (known === score) return;
    if (known !== undefined) this.#take({ member, score: known });
    this.#scores.set(member, score);
    this.#insert({ member, score });
  }

  /** True if the member was there. */
  delete(member: string): boolean {
    const score = this.#scores.get(member);
    if (score === undefined) return false;
    this.#scores.delete(member);
    this.#take({ member, score });
    return true;
  }

  first(): Item | null {
    return this.#chunks[0]?.[0] ?? null;
  }

  copy(): SortedSet {
    const copied = new SortedSet();
    for (const [member, score] of this.#scores) copied.#scores.set(member, score);
    for (const chunk of this.#chunks) copied.#chunks.push([...chunk]);
    return copied;
  }

  /** Members before this one; null if it is not there. */
  rank(member: string): number | null {
    const score = this.#scores.get(member);
    if (score === undefined) return null;
    return this.#before({ member, score });
  }

  /** Members of a smaller score. */
  below(score: number): number {
    return this.#before({ member: '', score });
  }

  #before(item: Item): number {
    const at = this.#chunkOf(item);
    let before = 0;
    for (let index = 0; index < at; index++) before += this.#chunks[index]?.length ?? 0;
    return before + placeIn(this.#chunks[at] ?? [], item);
  }

  /** The first `limit` members after the given place, in order; from the beginning when it is null. */
  slice(after: Item | null, limit: number): Item[] {
    const found: Item[] = [];
    let at = after === null ? 0 : this.#chunkOf(after);
    let place = after === null ? 0 : placeIn(this.#chunks[at] ?? [], after);
    for (; at < this.#chunks.length && found.length < limit; at++, place = 0) {
      const chunk = this.#chunks[at] as Item[];
      for (; place < chunk.length && found.length < limit; place++) {
        const item = chunk[place] as Item;
        if (after === null || isBefore(after, item)) found.push(item);
      }
    }
    return found;
  }

  /** Index of the first chunk whose last item is not before `item`, else the last chunk. */
  #chunkOf(item: Item): number {
    let low = 0;
    let high = Math.max(0, this.#chunks.length - 1);
    while (low < high) {
      const middle = (low + high) >> 1;
      const last = this.#chunks[middle]?.at(-1);
      if (last !== undefined && isBefore(last, item)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #insert(item: Item): void {
    const at = this.#chunkOf(item);
    const chunk = this.#chunks[at];
    if (chunk === undefined) {
      this.#chunks.push([item]);
      return;
    }
    chunk.splice(placeIn(chunk, item), 0, item);
    if (chunk.length > chunkLimit) this.#chunks.splice(at + 1, 0, chunk.splice(chunkLimit / 2));
  }

  #take(item: Item): void {
    const at = this.#chunkOf(item);
    const chunk = this.#chunks[at] as Item[];
    chunk.splice(placeIn(chunk, item), 1);
    if (chunk.length === 0) this.#chunks.splice(at, 1);
  }
}

/** Place of `item` in a sorted chunk: the number of items before it. */
function placeIn(chunk: Item[], item: Item): number {
  let low = 0;
  let high = chunk.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(chunk[middle] as Item, item)) low = middle + 1;
    else high = middle;
  }
  return low;
}
