import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { ChaosReport } from './chaos.ts';
import { type ChaosScript, sizeOf } from './chaos-script.ts';
import type { Breach } from './chaos-shrink.ts';
import { missingMarks, sumMarks } from './chaos-sometimes.ts';
import type { ChaosAnswer, ChaosTask, WorkerStores } from './chaos-worker.ts';
import { WorkerPool } from './worker-pool.ts';

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
  const pool = new ChaosPool(threads, stores, signal);
  try {
    const inOrder = new InOrder(options.onReport ?? (() => {}));
    const playing = scripts.map(async (script, index) => {
      const report = await pool.play(script, { elsewhere: false });
      inOrder.put(index, report);
      return report;
    });
    const [first] = scripts;
    const repeating = first === undefined ? null : pool.play(first, { elsewhere: true });
    // Together: an interrupt rejects all of them at once.
    const [reports, again] = await Promise.all([Promise.all(playing), repeating]);
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
  pool: ChaosPool,
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

/** The pool with the two things that it is asked for. */
class ChaosPool {
  readonly #pool: WorkerPool<ChaosTask, ChaosAnswer>;

  constructor(threads: number, stores: WorkerStores, signal: AbortSignal) {
    const script = new URL('./chaos-worker.ts', import.meta.url);
    this.#pool = new WorkerPool({ script, threads, data: stores, signal });
  }

  async play(script: ChaosScript, options: { elsewhere: boolean }): Promise<ChaosReport> {
    return (await this.#pool.ask({ kind: 'play', script, ...options })).report;
  }

  async shrink(
    script: ChaosScript,
    breach: Breach,
  ): Promise<{ smaller: ChaosScript; tries: number; report: ChaosReport }> {
    const answer = await this.#pool.ask({ kind: 'shrink', script, breach, triesLimit });
    if (!('smaller' in answer)) throw new Error('a worker answered a shrink without a script');
    return answer;
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}
