import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { ChaosReport } from './chaos.ts';
import { type ChaosScript, sizeOf } from './chaos-script.ts';
import type { Breach } from './chaos-shrink.ts';
import { missingMarks, sumMarks } from './chaos-sometimes.ts';
import type { WorkerAnswer, WorkerStores, WorkerTask } from './chaos-worker.ts';

export interface FarmOptions {
  scripts: readonly ChaosScript[];
  stores: WorkerStores;
  /** Threads; as many as there are cores unless told otherwise. */
  workers: number | null;
  shrink: boolean;
  signal: AbortSignal;
  /** Told of each run in the order of the scripts, as soon as those before it have ended. */
  onReport?: (report: ChaosReport) => void;
  note?: (text: string) => void;
}

export interface FarmFailure {
  /** Of the run that was asked for. */
  seed: number;
  checker: string;
  message: string;
  /** What it took after everything else was taken away; the whole script where nothing was shrunk. */
  script: ChaosScript;
  report: ChaosReport;
  /** Runs that the shrinking took; null: not shrunk. */
  tries: number | null;
}

export interface FarmResult {
  reports: ChaosReport[];
  failures: FarmFailure[];
  /** Runs whose second play gave another history. */
  unrepeatable: { seed: number; hashes: [string, string] }[];
  sometimes: Record<string, number>;
  /** Marks that so many runs should have reached. */
  missing: string[];
  traceHash: string;
}

/** So many failures are made smaller; they are of different invariants first. */
const shrinksLimit = 4;
const triesLimit = 400;

/**
 * Plays scripts in worker threads and judges them together. The first is played twice, on servers of
 * its own where there are servers: its history must be the same. Results come in the order of the scripts.
 */
export async function runFarm(options: FarmOptions): Promise<FarmResult> {
  const { scripts, stores, signal } = options;
  const threads = Math.min(options.workers ?? availableParallelism(), scripts.length + 1);
  const pool = new WorkerPool(threads, stores, signal);
  try {
    const inOrder = new InOrder(options.onReport ?? (() => {}));
    const playing = scripts.map(async (script, index) => {
      const report = await pool.play(script, { elsewhere: false });
      inOrder.put(index, report);
      return report;
    });
    const [first] = scripts;
    const repeating = first === undefined ? null : pool.play(first, { elsewhere: true });
    const reports = await Promise.all(playing);
    const again = await repeating;
    const failures = await smallest(pool, reports, options);
    const sometimes = sumMarks(reports.map((report) => report.sometimes));
    const differs = again !== null && again.hash !== reports[0]?.hash;
    return {
      reports,
      failures,
      unrepeatable: differs ? [{ seed: again.seed, hashes: [reports[0]?.hash ?? '', again.hash] }] : [],
      sometimes,
      missing: missingMarks(sometimes, reports.length),
      traceHash: hashOf(reports),
    };
  } finally {
    await pool.close();
  }
}

function hashOf(reports: readonly ChaosReport[]): string {
  const [only] = reports;
  if (reports.length === 1 && only !== undefined) return only.hash;
  const hash = createHash('sha256');
  for (const report of reports) hash.update(report.hash);
  return hash.digest('hex');
}

/** Failures with what they take: of each invariant the first one is made smaller, as far as the limit goes. */
async function smallest(
  pool: WorkerPool,
  reports: readonly ChaosReport[],
  { shrink, note }: FarmOptions,
): Promise<FarmFailure[]> {
  const shrunk = new Set<string>();
  return await Promise.all(
    reports
      .filter(({ problem }) => problem !== null)
      .map(async (report): Promise<FarmFailure> => {
        const { checker = '', message = '', jobId = null } = report.problem ?? {};
        const whole = { seed: report.seed, checker, message, script: report.script, report, tries: null };
        if (!shrink || shrunk.has(checker) || shrunk.size >= shrinksLimit) return whole;
        shrunk.add(checker);
        note?.(`seed ${report.seed} broke "${checker}": taking away what it does not take`);
        const { smaller, tries, report: last } = await pool.shrink(report.script, { checker, jobId });
        const size = sizeOf(smaller);
        const about = `found by seed ${report.seed}: ${last.problem?.message ?? message}`.slice(0, 2_000);
        note?.(`seed ${report.seed}: ${JSON.stringify(size)} after ${tries} runs`);
        return { ...whole, script: { ...smaller, about }, report: last, tries };
      }),
  );
}

/** Hands values on in their order, whatever the order in which they come. */
class InOrder {
  readonly #hand: (report: ChaosReport) => void;
  readonly #waiting = new Map<number, ChaosReport>();
  #next = 0;

  constructor(hand: (report: ChaosReport) => void) {
    this.#hand = hand;
  }

  put(index: number, report: ChaosReport): void {
    this.#waiting.set(index, report);
    for (let next = this.#waiting.get(this.#next); next !== undefined; next = this.#waiting.get(this.#next)) {
      this.#waiting.delete(this.#next++);
      this.#hand(next);
    }
  }
}

type Job = WorkerTask extends infer T ? (T extends unknown ? Omit<T, 'number'> : never) : never;
interface Queued {
  job: Job;
  resolve: (answer: WorkerAnswer) => void;
  reject: (error: unknown) => void;
}

/** Threads that take one task after the other. */
class WorkerPool {
  readonly #idle: Worker[] = [];
  readonly #all = new Set<Worker>();
  readonly #queue: Queued[] = [];
  readonly #busy = new Map<Worker, Queued>();
  #number = 0;
  #failure: unknown = null;

  constructor(threads: number, stores: WorkerStores, signal: AbortSignal) {
    for (let index = 0; index < threads; index++) {
      const worker = new Worker(new URL('./chaos-worker.ts', import.meta.url), { workerData: stores });
      this.#all.add(worker);
      this.#idle.push(worker);
      worker.on('message', (answer: WorkerAnswer) => this.#answered(worker, answer));
      worker.on('error', (error) => this.#fail(error));
      worker.on('exit', () => this.#all.delete(worker));
    }
    signal.addEventListener('abort', () => this.#fail(signal.reason), { once: true });
  }

  async play(script: ChaosScript, options: { elsewhere: boolean }): Promise<ChaosReport> {
    const answer = await this.#ask({ kind: 'play', script, ...options });
    if (!('report' in answer)) throw new Error('a worker answered a run without a report');
    return answer.report;
  }

  async shrink(
    script: ChaosScript,
    breach: Breach,
  ): Promise<{ smaller: ChaosScript; tries: number; report: ChaosReport }> {
    const answer = await this.#ask({ kind: 'shrink', script, breach, triesLimit });
    if (!('smaller' in answer)) throw new Error('a worker answered a shrink without a script');
    return answer;
  }

  /** Ends the threads after what they are doing now; at once where something failed. */
  async close(): Promise<void> {
    await Promise.all(
      [...this.#all].map(async (worker) => {
        if (this.#failure !== null) return void (await worker.terminate());
        const ended = new Promise((resolve) => worker.once('exit', resolve));
        worker.postMessage('end');
        await ended;
      }),
    );
  }

  #ask(job: Job): Promise<WorkerAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<WorkerAnswer>();
    if (this.#failure !== null) reject(this.#failure);
    else this.#queue.push({ job, resolve, reject });
    this.#feed();
    return promise;
  }

  #feed(): void {
    while (this.#queue.length > 0 && this.#idle.length > 0) {
      const worker = this.#idle.shift() as Worker;
      const queued = this.#queue.shift() as Queued;
      this.#busy.set(worker, queued);
      worker.postMessage({ ...queued.job, number: this.#number++ });
    }
  }

  #answered(worker: Worker, answer: WorkerAnswer): void {
    const queued = this.#busy.get(worker);
    this.#busy.delete(worker);
    this.#idle.push(worker);
    if ('error' in answer) queued?.reject(new Error(answer.error));
    else queued?.resolve(answer);
    this.#feed();
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    for (const { reject } of [...this.#busy.values(), ...this.#queue.splice(0)]) reject(error);
    this.#busy.clear();
  }
}
