import type { Clock, TimerId } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { WorkerProcess } from './worker-process.ts';

export interface WorkerPoolOptions {
  /** Starts one worker that serves any key. */
  start: (signal?: AbortSignal) => Promise<WorkerProcess>;
  clock: Clock;
  /** Most worker processes at once, busy or idle. As many as the slots it serves. */
  limit: number;
  /** How long a worker without work keeps its memory, ms. Lower: memory is free sooner; higher:
   *  fewer jobs wait for a start and a load. */
  idleLimitMs: number;
}

interface Entry {
  worker: WorkerProcess;
  /** What the worker has loaded; null until its first use. */
  key: string | null;
  busy: boolean;
  /** To be ended when its present work is done. */
  retired: boolean;
  idleTimer: TimerId | null;
}

interface Waiter {
  key: string;
  grant: (entry: Entry | 'start') => void;
  refuse: (error: EmpError) => void;
}

/**
 * At most `limit` worker processes, each loaded with one key (a model). A worker with the key is
 * preferred, then an unused one, then a new one, and if the pool is full one that idles with another
 * key is replaced. A wasm heap never shrinks, so ending the process is the only way to unload.
 */
export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #entries = new Set<Entry>();
  readonly #waiters: Waiter[] = [];
  /** Places taken by workers that are starting or ending. */
  #reserved = 0;
  readonly #closing = new AbortController();
  /** Starts and kills under way: `close` waits for them, so that no process outlives it. */
  readonly #motions = new Set<Promise<unknown>>();

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
  }

  /** Process ids of the live workers, for health reports and tests. */
  get pids(): number[] {
    return [...this.#entries].flatMap(({ worker }) =>
      worker.alive && worker.pid !== undefined ? [worker.pid] : [],
    );
  }

  /** Starts a worker ahead of work, if none is there. */
  async warm(signal: AbortSignal): Promise<void> {
    if (this.#entries.size + this.#reserved > 0) return;
    this.#rest(await this.#start(null, signal));
  }

  /** Lends a worker for `key` to `work`; waits in order while all are busy. */
  async use<T>(key: string, signal: AbortSignal, work: (worker: WorkerProcess) => Promise<T>): Promise<T> {
    const entry = await this.#take(key, signal);
    try {
      return await work(entry.worker);
    } finally {
      await this.#settle(entry);
    }
  }

  /** Each idle worker answers `ping`, or `CONNECTOR_FAILED`; busy ones prove themselves by progress. */
  async probe(signal: AbortSignal): Promise<void> {
    const idle = [...this.#entries].filter(({ busy }) => !busy);
    await Promise.all(
      idle.map(async (entry) => {
        entry.busy = true;
        try {
          await entry.worker.request('ping', {}, { signal });
        } finally {
          // Not `#settle`: a probe is no use, the idle time goes on.
          entry.busy = false;
          if (entry.retired || !entry.worker.alive) await this.#drop(entry);
          else this.#wake();
        }
      }),
    );
  }

  /** Ends the workers that hold `key`; one that is at work ends after it. */
  async evict(key: string): Promise<void> {
    const holders = [...this.#entries].filter((entry) => entry.key === key);
    await Promise.all(holders.map((entry) => this.#retire(entry)));
  }

  /** Kills every worker and refuses whoever waits. */
  async close(): Promise<void> {
    this.#closing.abort(stopped());
    for (const waiter of [...this.#waiters]) waiter.refuse(stopped());
    for (const entry of [...this.#entries]) void this.#drop(entry);
    while (this.#motions.size > 0) await Promise.allSettled([...this.#motions]);
  }

  async #take(key: string, signal: AbortSignal): Promise<Entry> {
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const entry = this.#waiters.length === 0 ? this.#offer(key) : null;
    const granted = entry ?? (await this.#wait(key, signal));
    if (granted !== 'start') return granted;
    try {
      return await this.#start(key, signal);
    } catch (error) {
      this.#wake();
      throw error;
    }
  }

  /** An idle worker, or leave to start one (its place is reserved), or null while all are busy. */
  #offer(key: string): Entry | 'start' | null {
    const idle = [...this.#entries].filter((entry) => !entry.busy && entry.worker.alive);
    const found = idle.find((entry) => entry.key === key) ?? idle.find((entry) => entry.key === null);
    if (found !== undefined) {
      this.#occupy(found);
      found.key = key;
      return found;
    }
    if (this.#entries.size + this.#reserved < this.#options.limit) {
      this.#reserved += 1;
      return 'start';
    }
    // A Set keeps order of insertion and settling re-inserts: the first idle one is unused longest.
    const [oldest] = idle;
    if (oldest === undefined) return null;
    this.#occupy(oldest);
    this.#reserved += 1;
    void this.#drop(oldest);
    return 'start';
  }

  #wait(key: string, signal: AbortSignal): Promise<Entry | 'start'> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        signal.removeEventListener('abort', onAbort);
        const place = this.#waiters.indexOf(waiter);
        if (place !== -1) this.#waiters.splice(place, 1);
      };
      const onAbort = () => {
        leave();
        reject(signal.reason);
      };
      const waiter: Waiter = {
        key,
        grant: (entry) => {
          leave();
          resolve(entry);
        },
        refuse: (error) => {
          leave();
          reject(error);
        },
      };
      this.#waiters.push(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #wake(): void {
    for (let waiter = this.#waiters[0]; waiter !== undefined; waiter = this.#waiters[0]) {
      const entry = this.#offer(waiter.key);
      if (entry === null) return;
      waiter.grant(entry);
    }
  }

  /** Uses the place reserved by `#offer`, or one of its own for `warm`. The entry comes back busy. */
  async #start(key: string | null, signal: AbortSignal): Promise<Entry> {
    if (key === null) this.#reserved += 1;
    try {
      const worker = await this.#track(this.#options.start(AbortSignal.any([signal, this.#closing.signal])));
      const entry: Entry = { worker, key, busy: true, retired: false, idleTimer: null };
      this.#entries.add(entry);
      void worker.exited.then(() => this.#drop(entry));
      return entry;
    } finally {
      this.#reserved -= 1;
    }
  }

  #occupy(entry: Entry): void {
    entry.busy = true;
    if (entry.idleTimer !== null) this.#options.clock.clearTimeout(entry.idleTimer);
    entry.idleTimer = null;
  }

  async #settle(entry: Entry): Promise<void> {
    if (entry.retired || !entry.worker.alive) return await this.#drop(entry);
    this.#rest(entry);
  }

  #rest(entry: Entry): void {
    entry.busy = false;
    this.#entries.delete(entry);
    this.#entries.add(entry);
    const { clock, idleLimitMs } = this.#options;
    entry.idleTimer = clock.setTimeout(() => void this.#retire(entry), idleLimitMs);
    this.#wake();
  }

  async #retire(entry: Entry): Promise<void> {
    entry.retired = true;
    if (entry.busy) await entry.worker.exited;
    else await this.#drop(entry);
  }

  /** Ends the worker and forgets it; its place is free at once, since it may only compute until then. */
  async #drop(entry: Entry): Promise<void> {
    this.#occupy(entry);
    this.#entries.delete(entry);
    await this.#track(entry.worker.kill());
    this.#wake();
  }

  #track<T>(motion: Promise<T>): Promise<T> {
    const tracked = motion.finally(() => this.#motions.delete(tracked));
    this.#motions.add(tracked);
    return tracked;
  }
}

function stopped(): EmpError {
  return new EmpError('CONNECTOR_FAILED', {
    detail: 'the connector is stopped; start it again before it runs jobs',
  });
}
