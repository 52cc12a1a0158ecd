/** What eviction knows of a model on disk. */
export interface CachedModel {
  modelId: string;
  bytes: number;
  /** Runs that used it since it came. */
  uses: number;
  /** The clock of `evictionValue` when it was last used. */
  inflation: number;
  /** Used by a run now, or not to be touched for another reason. */
  pinned: boolean;
}

/**
 * What goes first: the least valuable by `evictionValue`, or the least recently used. The latter is what
 * most caches do, and what ours is compared with.
 */
export type EvictionRule = 'value' | 'lru';

/** Bytes that a fetch of any size costs on top: the start of a transfer weighs more on small files. */
const fetchOverheadBytes = 8 * 1024 * 1024;

/**
 * Value of keeping a model, per byte (Greedy-Dual-Size-Frequency): uses × what fetching it again would
 * cost ÷ its size, on top of the value that the cache had when it was last used. That base rises with
 * each eviction, so that a model which was popular long ago does not stay for ever.
 */
export function evictionValue(model: CachedModel): number {
  return (
    model.inflation +
    (Math.max(1, model.uses) * (fetchOverheadBytes + model.bytes)) / Math.max(1, model.bytes)
  );
}

/** Under `lru` the clock counts uses, so that the last use alone tells models apart. */
function worth(model: CachedModel, rule: EvictionRule): number {
  return rule === 'lru' ? model.inflation : evictionValue(model);
}

export interface EvictionPlan {
  /** Least valuable first. Empty if there is room already, or never enough. */
  evict: string[];
  /** The cache's new base value. */
  inflation: number;
  /** Whether the room will be there after it. */
  fits: boolean;
}

/**
 * Models to evict so that `wantedBytes` more fit below `limitBytes`. Pinned ones are never among them.
 * If all that is not pinned would not suffice, none is: throwing away without gain only costs.
 */
export function planEviction(options: {
  models: readonly CachedModel[];
  usedBytes: number;
  wantedBytes: number;
  limitBytes: number;
  inflation: number;
  rule?: EvictionRule;
}): EvictionPlan {
  const { usedBytes, wantedBytes, limitBytes, rule = 'value' } = options;
  let missing = usedBytes + wantedBytes - limitBytes;
  let { inflation } = options;
  if (missing <= 0) return { evict: [], inflation, fits: true };
  const candidates = options.models
    .filter((model) => !model.pinned)
    .sort((a, b) => worth(a, rule) - worth(b, rule) || (a.modelId < b.modelId ? -1 : 1));
  const evict: string[] = [];
  for (const model of candidates) {
    if (missing <= 0) break;
    evict.push(model.modelId);
    missing -= model.bytes;
    inflation = Math.max(inflation, worth(model, rule));
  }
  return missing <= 0
    ? { evict, inflation, fits: true }
    : { evict: [], inflation: options.inflation, fits: false };
}
