import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { RunProgress } from '#protocol/connector.ts';
import type { Clock } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { JsonObject, JsonValue } from '#protocol/json.ts';
import { WorkerMessage } from './worker-messages.ts';

export interface WorkerOptions {
  /** The worker's TypeScript file; Node runs it as it stands. */
  script: URL;
  /** Added to the few harmless variables a worker gets; never secrets. */
  env: Record<string, string>;
  clock: Clock;
  /** How long the worker may take until it says it is ready, ms. */
  startLimitMs: number;
}

interface Pending {
  id: number;
  onProgress: (progress: RunProgress) => void;
  resolve: (result: JsonValue) => void;
  reject: (error: unknown) => void;
}

/** What a worker inherits. The machine's own variables hold its token. */
const inherited = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'TZ'];
const stderrLimit = 4_096;

/**
 * A child process that computes: pictures and networks must not block the machine's event loop, a
 * crash in native code must not take the machine along, and only a killed process surely stopped.
 */
export class WorkerProcess {
  /** Resolves with the reason when the process is gone. Never rejects. */
  readonly exited: Promise<string>;
  readonly #child: ChildProcess;
  #pending: Pending | null = null;
  #alive = true;
  #lastId = 0;
  #stderr = '';
  #reason: string | null = null;
  #onReady: () => void = () => {};

  /** Starts a worker and waits until it is ready; `CONNECTOR_FAILED` if it is not in time. */
  static async start(options: WorkerOptions, signal?: AbortSignal): Promise<WorkerProcess> {
    signal?.throwIfAborted();
    const worker = new WorkerProcess(options);
    await worker.#ready(options, signal);
    return worker;
  }

  private constructor({ script, env }: WorkerOptions) {
    const base = Object.fromEntries(
      inherited.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
    );
    this.#child = fork(fileURLToPath(script), [], {
      env: { ...base, ...env },
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.exited = new Promise((resolve) => {
      const gone = (reason: string) => {
        this.#alive = false;
        this.#fail(this.#reason ?? reason);
        resolve(this.#reason ?? reason);
      };
      this.#child.on('error', (error) => {
        // Other errors (a failed send, a failed kill) reach the caller of that operation.
        if (this.#child.pid === undefined) gone(`the worker could not be started: ${error.message}`);
      });
      this.#child.once('close', (code, signalName) =>
        gone(`the worker ended with ${signalName ?? `code ${code}`}`),
      );
    });
    this.#child.on('message', (message) => this.#receive(message));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-stderrLimit);
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /**
   * Sends one order and waits for its answer. Rejects with what the worker reported, with
   * `CONNECTOR_FAILED` if it died or spoke nonsense, or with the reason of `signal` after the process
   * was killed: its work has ended when this promise settles.
   */
  async request(
    method: string,
    params: JsonObject,
    {
      signal,
      onProgress = () => {},
    }: { signal?: AbortSignal; onProgress?: (progress: RunProgress) => void } = {},
  ): Promise<JsonValue> {
    signal?.throwIfAborted();
    if (!this.#alive) throw this.#failure('the worker has ended');
    if (this.#pending !== null)
      throw new EmpError('INTERNAL', { detail: 'a worker takes one order at a time' });
    const id = ++this.#lastId;
    const onAbort = () => void this.kill();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await new Promise<JsonValue>((resolve, reject) => {
        this.#pending = { id, onProgress, resolve, reject };
        this.#child.send({ id, method, params }, (error) => {
          if (error) void this.#killFor(`the worker cannot be reached: ${error.message}`);
        });
      });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw error;
    } finally {
      this.#pending = null;
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Ends the process at once; resolves when it is gone. Safe to call twice. */
  async kill(): Promise<void> {
    if (this.#alive && this.#child.pid !== undefined) this.#child.kill('SIGKILL');
    await this.exited;
  }

  async #ready({ clock, startLimitMs }: WorkerOptions, signal?: AbortSignal): Promise<void> {
    const limit = clock.setTimeout(
      () => void this.#killFor(`the worker was not ready within ${startLimitMs} ms`),
      startLimitMs,
    );
    const onAbort = () => void this.kill();
    signal?.addEventListener('abort', onAbort, { once: true });
    const ready = new Promise<null>((resolve) => {
      this.#onReady = () => resolve(null);
    });
    const ended = await Promise.race([ready, this.exited]);
    clock.clearTimeout(limit);
    signal?.removeEventListener('abort', onAbort);
    signal?.throwIfAborted();
    if (ended !== null) throw this.#failure(ended);
  }

  #receive(raw: unknown): void {
    const parsed = WorkerMessage.safeParse(raw);
    if (!parsed.success) return void this.#killFor('the worker sent a message of unknown form');
    const message = parsed.data;
    if (message.kind === 'ready') return this.#onReady();
    const pending = this.#pending;
    // After a kill the pipe may still hold messages of the ended order.
    if (pending === null || !this.#alive || this.#child.killed) return;
    if (message.id !== pending.id)
      return void this.#killFor('the worker answered an order that was not sent');
    if (message.kind === 'progress') {
      const { fraction, message: text, preview } = message;
      pending.onProgress({
        fraction,
        ...(text === undefined ? {} : { message: text }),
        ...(preview === undefined ? {} : { preview }),
      });
    } else if (message.kind === 'done') {
      pending.resolve(message.result);
    } else {
      const { code, detail, errors, trace } = message;
      pending.reject(
        new EmpError(code, { detail, errors, ...(trace === undefined ? {} : { cause: new Error(trace) }) }),
      );
    }
  }

  async #killFor(reason: string): Promise<void> {
    this.#reason ??= reason;
    await this.kill();
  }

  #fail(reason: string): void {
    this.#pending?.reject(this.#failure(reason));
  }

  /** The text on stderr may name files: it goes into the cause, for the machine's log, not to the submitter. */
  #failure(reason: string): EmpError {
    return new EmpError('CONNECTOR_FAILED', {
      detail: `${reason}; another try starts a new one`,
      ...(this.#stderr === '' ? {} : { cause: new Error(this.#stderr.trim()) }),
    });
  }
}
