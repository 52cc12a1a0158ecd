import { Worker } from 'node:worker_threads';

/** What a worker is sent; it answers with the same number. */
export interface Numbered {
  number: number;
}

export type PoolAnswer<A> = Numbered & ({ answer: A } | { error: string });

/** Charts make much that is dead at once: with three times the usual room for it, it is collected seldom. */
const resourceLimits = { maxYoungGenerationSizeMb: 192 };

interface Queued<T, A> {
  task: T;
  resolve: (answer: A) => void;
  reject: (error: unknown) => void;
}

/**
 * Tasks after which a thread makes room for a new one. What a killed process of a simulation was waiting for
 * stays: its signals are never aborted. That is some 30 MB for a run of chaos.
 */
const tasksPerThread = 25;

/** Threads that take one task after the other. A worker ends when it is sent `'end'`. */
export class WorkerPool<T extends object, A> {
  readonly #idle: Worker[] = [];
  readonly #all = new Set<Worker>();
  /** Tasks that each has done. */
  readonly #done = new WeakMap<Worker, number>();
  readonly #start: () => Worker;
  readonly #queue: Queued<T, A>[] = [];
  readonly #busy = new Map<Worker, Queued<T, A>>();
  #number = 0;
  #failure: unknown = null;
  #isClosed = false;

  /** `script`: the module that a thread runs. `data` reaches it as `workerData`. */
  constructor(options: { script: URL; threads: number; data?: unknown; signal: AbortSignal }) {
    const { script, threads, data, signal } = options;
    this.#start = () => {
      const worker = new Worker(script, { workerData: data, resourceLimits });
      this.#all.add(worker);
      worker.on('message', (answer: PoolAnswer<A>) => this.#answered(worker, answer));
      worker.on('error', (error) => this.#fail(error));
      worker.on('exit', () => this.#all.delete(worker));
      return worker;
    };
    for (let index = 0; index < threads; index++) this.#idle.push(this.#start());
    signal.addEventListener('abort', () => this.#fail(signal.reason), { once: true });
  }

  /** Resolves with what the worker answers; rejects with what it threw, with the reason of the signal, or once closed. */
  ask(task: T): Promise<A> {
    const { promise, resolve, reject } = Promise.withResolvers<A>();
    if (this.#failure !== null) reject(this.#failure);
    else if (this.#isClosed) reject(new Error('the threads have ended'));
    else this.#queue.push({ task, resolve, reject });
    this.#feed();
    return promise;
  }

  /** Ends the threads after what they are doing now, and leaves the rest undone; at once where something failed. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { reject } of this.#queue.splice(0)) reject(new Error('the threads have ended'));
    await Promise.all(
      [...this.#all].map(async (worker) => {
        if (this.#failure !== null) return void (await worker.terminate());
        const ended = new Promise((resolve) => worker.once('exit', resolve));
        worker.postMessage('end');
        await ended;
      }),
    );
  }

  #feed(): void {
    while (this.#queue.length > 0 && this.#idle.length > 0) {
      const worker = this.#idle.shift() as Worker;
      const queued = this.#queue.shift() as Queued<T, A>;
      this.#busy.set(worker, queued);
      worker.postMessage({ ...queued.task, number: this.#number++ });
    }
  }

  #answered(worker: Worker, answer: PoolAnswer<A>): void {
    const queued = this.#busy.get(worker);
    this.#busy.delete(worker);
    this.#idle.push(this.#rested(worker));
    if ('error' in answer) queued?.reject(new Error(answer.error));
    else queued?.resolve(answer.answer);
    this.#feed();
  }

  /** The worker that takes the next task in this one's place. */
  #rested(worker: Worker): Worker {
    const done = (this.#done.get(worker) ?? 0) + 1;
    this.#done.set(worker, done);
    if (done < tasksPerThread || this.#isClosed || this.#failure !== null) return worker;
    worker.postMessage('end');
    return this.#start();
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    for (const { reject } of [...this.#busy.values(), ...this.#queue.splice(0)]) reject(error);
    this.#busy.clear();
  }
}
