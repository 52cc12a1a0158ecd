import type { JobError } from '#protocol/job.ts';
import type { Residency } from '#protocol/model.ts';
import { type EvictionRule, planEviction } from './eviction.ts';

/**
 * Book-keeping of the model cache, pure: what is on disk or on its way, who needs it, and what must
 * move. `fetching` without `granted` waits to be sized or for room; it holds no bytes. Each function
 * answers the next ledger and the commands that make it true.
 */
export interface LedgerEntry {
  modelId: string;
  state: 'fetching' | 'resident' | 'evicting';
  /** Bytes that count against the limit: the full size as soon as room is granted. */
  bytes: number;
  /** Size once known, while it waits for room. */
  askedBytes: number | null;
  granted: boolean;
  /** Names of runs that need or use it. */
  pins: string[];
  uses: number;
  inflation: number;
  /** Share fetched, in tenths. */
  fraction: number;
  /** Writer's counter at the last change: what residency gossip carries. */
  version: number;
  /** Could not be removed from disk: never chosen again. */
  stuck: boolean;
}

export interface Want {
  run: string;
  models: string[];
}

export interface Ledger {
  limitBytes: number;
  entries: Readonly<Record<string, LedgerEntry>>;
  /** Runs that wait, oldest first. */
  wants: Want[];
  /** Models that wait for room, oldest first. */
  queue: string[];
  inflation: number;
  version: number;
  rule: EvictionRule;
}

export type CacheCommand =
  | { kind: 'fetch'; modelId: string }
  | { kind: 'go'; modelId: string }
  | { kind: 'refuse'; modelId: string; error: JobError }
  | { kind: 'evict'; modelId: string }
  | { kind: 'ready'; run: string; models: string[] }
  /** `here`: this machine lacks the room, though it was configured to have it. */
  | { kind: 'failed'; run: string; error: JobError; here?: boolean };

export interface Step {
  ledger: Ledger;
  commands: CacheCommand[];
}

export function emptyLedger(limitBytes: number, rule: EvictionRule = 'value'): Ledger {
  return { limitBytes, entries: {}, wants: [], queue: [], inflation: 0, version: 0, rule };
}

/** Bytes on disk or promised. Never above the limit by a decision of this ledger. */
export function usedBytes(ledger: Ledger): number {
  return Object.values(ledger.entries).reduce((sum, entry) => sum + entry.bytes, 0);
}

/** Resident models, most valuable first: what a claim offers as warm. */
export function residentModels(ledger: Ledger): string[] {
  return Object.values(ledger.entries)
    .filter((entry) => entry.state === 'resident')
    .sort((a, b) => b.uses - a.uses || b.inflation - a.inflation || (a.modelId < b.modelId ? -1 : 1))
    .map((entry) => entry.modelId);
}

export function residencyOf(entry: LedgerEntry): Residency {
  return {
    modelId: entry.modelId,
    state: entry.state,
    bytes: entry.bytes,
    fraction: entry.fraction,
    version: entry.version,
  };
}

/**
 * Whether the models of a run would fit into `budgetBytes` on a disk that is as it should be. If not,
 * this machine will never run it. Sizes that are not known yet count as nothing.
 */
export function fitsBudget(
  ledger: Ledger,
  { run, budgetBytes }: { run: string; budgetBytes: number },
): boolean {
  const models = ledger.wants.find((wish) => wish.run === run)?.models ?? [];
  const needed = Object.values(ledger.entries).filter(
    (entry) => entry.stuck || models.includes(entry.modelId),
  );
  return needed.reduce((sum, entry) => sum + (entry.askedBytes ?? entry.bytes), 0) <= budgetBytes;
}

/** A model found on disk at the start. */
export function found(ledger: Ledger, { modelId, bytes }: { modelId: string; bytes: number }): Ledger {
  return set(ledger, modelId, {
    ...newEntry(modelId, ledger),
    state: 'resident',
    bytes,
    granted: true,
    fraction: 1,
  });
}

/** A run needs models: they are pinned from now on, and fetched if need be. */
export function want(before: Ledger, { run, models }: Want): Step {
  let ledger: Ledger = {
    ...before,
    wants: [...before.wants.filter((other) => other.run !== run), { run, models }],
  };
  const commands: CacheCommand[] = [];
  for (const modelId of models) {
    const entry = ledger.entries[modelId];
    // One that is being evicted is fetched again when it is gone.
    if (entry === undefined) commands.push({ kind: 'fetch', modelId });
    const present = entry ?? newEntry(modelId, ledger);
    ledger = set(ledger, modelId, { ...present, pins: [...present.pins.filter((pin) => pin !== run), run] });
  }
  return advance(ledger, commands);
}

/** A run is over, or gave up: its pins go. A fetch under way goes on, the next job may need it. */
export function release(before: Ledger, { run }: { run: string }): Step {
  return advance(unpin(before, run), []);
}

function unpin(before: Ledger, run: string): Ledger {
  let ledger: Ledger = { ...before, wants: before.wants.filter((other) => other.run !== run) };
  for (const entry of Object.values(before.entries)) {
    if (!entry.pins.includes(run)) continue;
    ledger = set(ledger, entry.modelId, { ...entry, pins: entry.pins.filter((pin) => pin !== run) });
  }
  return ledger;
}

/** A fetch knows how large its model is and asks for room. */
export function sized(ledger: Ledger, { modelId, bytes }: { modelId: string; bytes: number }): Step {
  const entry = ledger.entries[modelId];
  if (entry === undefined || entry.state !== 'fetching') return { ledger, commands: [] };
  const next = set(ledger, modelId, { ...entry, askedBytes: bytes });
  return advance({ ...next, queue: [...next.queue.filter((other) => other !== modelId), modelId] }, []);
}

export function progressed(
  ledger: Ledger,
  { modelId, fraction }: { modelId: string; fraction: number },
): Step {
  const entry = ledger.entries[modelId];
  const tenths = Math.floor(fraction * 10) / 10;
  if (entry?.state !== 'fetching' || tenths <= entry.fraction) return { ledger, commands: [] };
  return { ledger: set(ledger, modelId, { ...entry, fraction: tenths }), commands: [] };
}

export function fetched(ledger: Ledger, { modelId, bytes }: { modelId: string; bytes: number }): Step {
  const entry = ledger.entries[modelId];
  if (entry === undefined) return { ledger, commands: [] };
  const present: LedgerEntry = {
    ...entry,
    state: 'resident',
    bytes,
    askedBytes: null,
    granted: true,
    fraction: 1,
    inflation: ledger.inflation,
  };
  return advance(set(ledger, modelId, present), []);
}

/** A fetch came to nothing: everyone who waits for the model is told, and its room is free. */
export function fetchFailed(before: Ledger, { modelId, error }: { modelId: string; error: JobError }): Step {
  const entry = before.entries[modelId];
  if (entry === undefined) return { ledger: before, commands: [] };
  const losers = before.wants.filter((other) => other.models.includes(modelId));
  let ledger = drop(before, modelId);
  for (const { run } of losers) ledger = unpin(ledger, run);
  return advance(
    ledger,
    losers.map(({ run }) => ({ kind: 'failed', run, error })),
  );
}

export function evicted(before: Ledger, { modelId }: { modelId: string }): Step {
  const entry = before.entries[modelId];
  if (entry === undefined) return { ledger: before, commands: [] };
  const ledger = drop(before, modelId);
  if (entry.pins.length === 0) return advance(ledger, []);
  return advance(set(ledger, modelId, { ...newEntry(modelId, ledger), pins: entry.pins, uses: entry.uses }), [
    { kind: 'fetch', modelId },
  ]);
}

/** The files would not go: the model stays, and is not tried again. */
export function evictFailed(ledger: Ledger, { modelId }: { modelId: string }): Step {
  const entry = ledger.entries[modelId];
  if (entry === undefined) return { ledger, commands: [] };
  return advance(set(ledger, modelId, { ...entry, state: 'resident', stuck: true }), []);
}

/** The disk has less room than configured, or has it again. */
export function limited(ledger: Ledger, { limitBytes }: { limitBytes: number }): Step {
  return advance({ ...ledger, limitBytes }, []);
}

function newEntry(modelId: string, { inflation, version }: Ledger): LedgerEntry {
  return {
    modelId,
    state: 'fetching',
    bytes: 0,
    askedBytes: null,
    granted: false,
    pins: [],
    uses: 0,
    inflation,
    fraction: 0,
    version,
    stuck: false,
  };
}

function set(ledger: Ledger, modelId: string, entry: LedgerEntry): Ledger {
  const before = ledger.entries[modelId];
  const told =
    before === undefined ||
    before.state !== entry.state ||
    before.bytes !== entry.bytes ||
    before.fraction !== entry.fraction;
  const version = told ? ledger.version + 1 : ledger.version;
  return {
    ...ledger,
    version,
    entries: { ...ledger.entries, [modelId]: told ? { ...entry, version } : entry },
  };
}

function drop(ledger: Ledger, modelId: string): Ledger {
  const { [modelId]: _, ...entries } = ledger.entries;
  return {
    ...ledger,
    entries,
    queue: ledger.queue.filter((other) => other !== modelId),
    version: ledger.version + 1,
  };
}

/** Gives room to who waits for it and models to runs whose models are all here. */
function advance(before: Ledger, commands: CacheCommand[]): Step {
  const room = makeRoom(before, commands);
  let { ledger } = room;
  const out = room.commands;
  for (const wish of ledger.wants) {
    if (!wish.models.every((modelId) => ledger.entries[modelId]?.state === 'resident')) continue;
    out.push({ kind: 'ready', run: wish.run, models: wish.models });
    ledger = { ...ledger, wants: ledger.wants.filter((other) => other !== wish) };
    for (const modelId of wish.models) {
      const entry = ledger.entries[modelId] as LedgerEntry;
      if (ledger.rule === 'lru') ledger = { ...ledger, inflation: ledger.inflation + 1 };
      ledger = set(ledger, modelId, { ...entry, uses: entry.uses + 1, inflation: ledger.inflation });
    }
  }
  return { ledger, commands: out };
}

function makeRoom(before: Ledger, commands: CacheCommand[]): Step {
  let ledger = before;
  const out = [...commands];
  for (let modelId = ledger.queue[0]; modelId !== undefined; modelId = ledger.queue[0]) {
    const entry = ledger.entries[modelId] as LedgerEntry;
    const wantedBytes = entry.askedBytes ?? 0;
    const models = Object.values(ledger.entries).map((other) => ({
      ...other,
      pinned: other.state !== 'resident' || other.pins.length > 0 || other.stuck,
    }));
    // What is on its way out will be room: it is not evicted twice.
    const leaving = Object.values(ledger.entries).reduce(
      (sum, other) => sum + (other.state === 'evicting' ? other.bytes : 0),
      0,
    );
    const plan = planEviction({
      models,
      usedBytes: usedBytes(ledger) - leaving,
      wantedBytes,
      limitBytes: ledger.limitBytes,
      inflation: ledger.inflation,
      rule: ledger.rule,
    });
    if (plan.fits && plan.evict.length === 0 && usedBytes(ledger) + wantedBytes <= ledger.limitBytes) {
      ledger = set({ ...ledger, queue: ledger.queue.slice(1) }, modelId, {
        ...entry,
        bytes: wantedBytes,
        askedBytes: null,
        granted: true,
      });
      out.push({ kind: 'go', modelId });
      continue;
    }
    ledger = { ...ledger, inflation: plan.inflation };
    for (const victim of plan.evict) {
      ledger = set(ledger, victim, { ...(ledger.entries[victim] as LedgerEntry), state: 'evicting' });
      out.push({ kind: 'evict', modelId: victim });
    }
    if (plan.fits || (wantedBytes <= ledger.limitBytes && someoneWillRelease(ledger))) break;
    const refused = wantedBytes > ledger.limitBytes ? modelId : (ledger.queue.at(-1) as string);
    ledger = { ...ledger, queue: ledger.queue.filter((other) => other !== refused) };
    out.push({ kind: 'refuse', modelId: refused, error: diskFull(refused, ledger) });
  }
  return { ledger, commands: out };
}

/**
 * Whether some run that pins bytes does not itself wait for room. If all of them do, waiting would be
 * for ever: two runs that hold one model each and want one more.
 */
function someoneWillRelease(ledger: Ledger): boolean {
  const blocked = new Set(
    ledger.wants
      .filter((wish) => wish.models.some((modelId) => ledger.queue.includes(modelId)))
      .map((wish) => wish.run),
  );
  return Object.values(ledger.entries).some(
    (entry) =>
      entry.bytes > 0 &&
      (entry.pins.some((run) => !blocked.has(run)) ||
        (entry.state === 'fetching' && entry.pins.length === 0)),
  );
}

function diskFull(modelId: string, ledger: Ledger): JobError {
  const asked = ledger.entries[modelId]?.askedBytes ?? 0;
  return {
    code: 'DISK_FULL',
    message: `model ${modelId} needs ${asked} bytes; the cache may use ${ledger.limitBytes}, and ${usedBytes(ledger)} of them are in use`,
    retryable: true,
  };
}
