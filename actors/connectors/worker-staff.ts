import type { Clock } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import { WorkerPool } from './worker-pool.ts';
import { WorkerProcess } from './worker-process.ts';

/** What whoever wires a connector with workers may choose. */
export interface StaffOptions {
  /** Most worker processes at once; as many as the slots of the connector. */
  workers?: number;
  /** How long an unused worker keeps its memory, ms. */
  idleLimitMs?: number;
}

interface StaffSetup extends StaffOptions {
  /** Name of the connector, for messages. */
  name: string;
  script: URL;
  /** Environment of the workers, made at each start. */
  env: () => Promise<Record<string, string>>;
  clock: Clock;
}

const startLimitMs = 30_000;

/** Start and stop of a connector that works through child processes: one pool for each start. */
export class WorkerStaff {
  readonly #setup: StaffSetup;
  #pool: WorkerPool | null = null;

  constructor(setup: StaffSetup) {
    this.#setup = setup;
  }

  get pids(): number[] {
    return this.#pool?.pids ?? [];
  }

  /** Makes the pool and one worker in it, so that a missing library shows here and not at a job. */
  async start(signal: AbortSignal): Promise<void> {
    if (this.#pool !== null) return await this.#pool.warm(signal);
    const { script, clock, workers = 1, idleLimitMs = 300_000 } = this.#setup;
    const env = await this.#setup.env();
    const pool = new WorkerPool({
      start: (startSignal) => WorkerProcess.start({ script, env, clock, startLimitMs }, startSignal),
      clock,
      limit: workers,
      idleLimitMs,
    });
    this.#pool = pool;
    try {
      await pool.warm(signal);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** The pool of the present start; `CONNECTOR_FAILED` while stopped. */
  pool(): WorkerPool {
    if (this.#pool !== null) return this.#pool;
    throw new EmpError('CONNECTOR_FAILED', {
      detail: `the ${this.#setup.name} connector is not started; call start first`,
    });
  }

  /** Ends the workers loaded with `key`; nothing to do while stopped. */
  async evict(key: string): Promise<void> {
    await this.#pool?.evict(key);
  }

  async stop(): Promise<void> {
    const pool = this.#pool;
    this.#pool = null;
    await pool?.close();
  }
}
