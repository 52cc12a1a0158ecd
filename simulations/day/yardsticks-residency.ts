import type { DayLog, LoggedMachine, ResidencyEvent } from './run-log.ts';

/** What one machine had of one model, after each change; lists of equal length in order of time. */
interface History {
  atMs: number[];
  onDisk: boolean[];
  inMemory: boolean[];
  /** When the file was on disk next after this change; Infinity where it never was again. */
  nextMs: number[];
}

function historyOf(events: readonly ResidencyEvent[]): History {
  const history: History = { atMs: [], onDisk: [], inMemory: [], nextMs: [] };
  let [onDisk, inMemory] = [false, false];
  for (const { atMs, kind } of events) {
    if (kind === 'onDisk') onDisk = true;
    if (kind === 'loaded') onDisk = inMemory = true;
    if (kind === 'unloaded') inMemory = false;
    if (kind === 'evicted') onDisk = inMemory = false;
    history.atMs.push(atMs);
    history.onDisk.push(onDisk);
    history.inMemory.push(inMemory);
    history.nextMs.push(Infinity);
  }
  for (let index = events.length - 2; index >= 0; index--) {
    const next = events[index + 1];
    const isThere = next?.kind === 'onDisk' || next?.kind === 'loaded';
    history.nextMs[index] = (isThere ? next.atMs : history.nextMs[index + 1]) ?? Infinity;
  }
  return history;
}

/** When the file was on disk next after the change at position `at`; -1 = from the beginning. */
function arrivalAfter(history: History, at: number): number {
  if (at >= 0) return history.nextMs[at] ?? Infinity;
  return history.onDisk[0] === true ? (history.atMs[0] ?? Infinity) : (history.nextMs[0] ?? Infinity);
}

/** Position of the last change before `atMs`; -1 where there was none. */
function lastBefore(history: History, atMs: number): number {
  let low = 0;
  let high = history.atMs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((history.atMs[middle] ?? 0) < atMs) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Where the runner wrote no residency: what ran somewhere is there from then on, in memory until the next. */
function fromRuns(log: DayLog): ResidencyEvent[] {
  const models = new Map(log.plan.models.map((model, index) => [model.id, index]));
  const events: ResidencyEvent[] = [];
  const loaded = new Map<LoggedMachine, readonly string[]>();
  const runs = log.jobs
    .flatMap((job) => job.executions.map((run) => ({ ids: job.planned.models, run })))
    .filter(({ run }) => run.modelsReadyMs !== null)
    .sort((a, b) => (a.run.modelsReadyMs ?? 0) - (b.run.modelsReadyMs ?? 0));
  for (const { ids, run } of runs) {
    const atMs = run.modelsReadyMs ?? 0;
    const add = (id: string, kind: ResidencyEvent['kind']) => {
      const model = models.get(id);
      if (model !== undefined) events.push({ atMs, machine: run.machine, model, kind });
    };
    for (const id of loaded.get(run.machine) ?? [])
      if (ids.length > 0 && !ids.includes(id)) add(id, 'unloaded');
    for (const id of ids) {
      add(id, 'onDisk');
      add(id, 'loaded');
    }
    if (ids.length > 0) loaded.set(run.machine, ids);
  }
  return events;
}

/** What was where at any time, from the log: one history per machine and model. */
export class ResidencyHistory {
  readonly #log: DayLog;
  readonly #models: Map<string, number>;
  /** By machine × models + model. */
  readonly #histories = new Map<number, History>();

  constructor(log: DayLog) {
    this.#log = log;
    this.#models = new Map(log.plan.models.map((model, index) => [model.id, index]));
    const events = log.residency.length > 0 ? log.residency : fromRuns(log);
    const byPair = Map.groupBy(events, ({ machine, model }) => this.#key(machine, model));
    for (const [key, ofPair] of byPair) this.#histories.set(key, historyOf(ofPair));
  }

  #key(machine: LoggedMachine, model: number): number {
    return machine.index * this.#log.plan.models.length + model;
  }

  /**
   * When all models would be in the memory of the machine, were their loading begun at `freeMs`, its
   * link and disk used for nothing else. Infinity where they do not fit on its disk.
   */
  readyMs(machine: LoggedMachine, modelIds: readonly string[], freeMs: number): number {
    const { downBytesPerMs, diskBytesPerMs, diskBytes } = machine.planned;
    const rate = Math.min(downBytesPerMs, this.#log.plan.originBytesPerMs ?? Infinity);
    let arrivesMs = freeMs;
    let fetchMs = 0;
    let loadMs = 0;
    let bytes = 0;
    for (const id of modelIds) {
      const index = this.#models.get(id);
      const model = index === undefined ? undefined : this.#log.plan.models[index];
      if (index === undefined || model === undefined) continue;
      bytes += model.bytes;
      const history = this.#histories.get(this.#key(machine, index));
      const at = history === undefined ? -1 : lastBefore(history, freeMs);
      if (!history?.inMemory[at]) loadMs += model.bytes / diskBytesPerMs;
      if (history?.onDisk[at]) continue;
      // What was there sooner than a download begun now could be was on its way already.
      const arrival = history === undefined ? Infinity : arrivalAfter(history, at);
      const isUnderWay = arrival < freeMs + model.bytes / rate;
      if (isUnderWay) arrivesMs = Math.max(arrivesMs, arrival);
      else fetchMs += model.bytes / rate;
    }
    if (bytes > diskBytes) return Infinity;
    return Math.max(freeMs + fetchMs, arrivesMs) + loadMs;
  }
}
