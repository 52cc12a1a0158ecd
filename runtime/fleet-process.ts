import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { EmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';
import { systemClock } from './env.ts';

const cliPath = fileURLToPath(new URL('./cli.ts', import.meta.url));

/** Lines of a child's stderr that are kept for the message when it fails. */
const tailLimit = 40;
/** Longest line that is read from a child, characters. */
const lineLimit = 100_000;

export interface ProcessOptions {
  /** For messages: `hub`, `machine fast-1`. */
  name: string;
  /** Arguments of `emp`. */
  args: string[];
  /** Added to this process's environment; undefined takes a variable away. */
  env?: Record<string, string | undefined>;
  /** Told of every line that the child writes to stderr. */
  onLog?: (line: string) => void;
}

export interface ProcessEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/**
 * A hub or machine as a child process, which says on stdout, as one JSON line, when it is ready. It
 * watches its stdin, a pipe from here: when this process ends, in whatever way, the pipe closes and
 * the child shuts down by itself. No orphan stays.
 */
export class FleetProcess {
  readonly name: string;
  /** The ready line; rejects with the child's last lines if it ends first. */
  readonly ready: Promise<JsonObject>;
  readonly ended: Promise<ProcessEnd>;
  readonly #child: ChildProcess;
  readonly #tail: string[] = [];
  readonly #startedAtMs = systemClock.monotonic();
  #end: ProcessEnd | null = null;
  #readyMs: number | null = null;

  constructor(options: ProcessOptions) {
    this.name = options.name;
    this.#child = spawn(
      process.execPath,
      [...process.execArgv, '--disable-warning=ExperimentalWarning', cliPath, ...options.args],
      {
        env: { ...process.env, ...options.env },
        stdio: ['pipe', 'pipe', 'pipe'],
        // Ctrl-C in a terminal reaches only us: we end machines before their hub.
        detached: true,
      },
    );
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null) => {
        this.#end ??= { code, signal };
        resolve(this.#end);
      };
      this.#child.once('close', end);
      this.#child.once('error', (error) => {
        this.#tail.push(error.message);
        if (this.#child.pid === undefined) end(null, null);
      });
    });
    eachLine(this.#child.stderr, (line) => {
      this.#tail.push(line);
      if (this.#tail.length > tailLimit) this.#tail.shift();
      options.onLog?.(line);
    });
    this.ready = new Promise((resolve, reject) => {
      eachLine(this.#child.stdout, (line) => {
        const message = readyLine(line);
        if (message === null) return options.onLog?.(line);
        this.#readyMs ??= systemClock.monotonic() - this.#startedAtMs;
        resolve(message);
      });
      void this.ended.then(() => reject(this.failure()));
    });
    // Whoever awaits it sees the failure; a child that nobody awaits may fail without ending us.
    this.ready.catch(() => undefined);
    // A child that ends while we write to its stdin is no error of ours.
    this.#child.stdin?.on('error', () => undefined);
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get isRunning(): boolean {
    return this.#end === null;
  }

  /** From the start of the process to its ready line, ms; null before. */
  get readyMs(): number | null {
    return this.#readyMs;
  }

  /** What the child said last, for people. */
  failure(): EmpError {
    const how =
      this.#end === null
        ? 'does not answer'
        : this.#end.signal === null
          ? `ended with code ${this.#end.code}`
          : `was ended by ${this.#end.signal}`;
    return new EmpError('INTERNAL', {
      detail: `${this.name} ${how}: ${this.#tail.slice(-8).join(' | ') || 'it said nothing'}`,
    });
  }

  /** Sends a signal to exactly this process; nothing if it has ended. */
  kill(signal: NodeJS.Signals): void {
    if (this.isRunning) this.#child.kill(signal);
  }

  /** SIGTERM, and SIGKILL after `limitMs`; resolves when the process is gone. */
  async stop(limitMs = 15_000): Promise<ProcessEnd> {
    this.kill('SIGCONT');
    this.kill('SIGTERM');
    const timer = systemClock.setTimeout(() => this.kill('SIGKILL'), limitMs);
    const end = await this.ended;
    systemClock.clearTimeout(timer);
    return end;
  }
}

function eachLine(stream: NodeJS.ReadableStream | null, onLine: (line: string) => void): void {
  let rest = '';
  stream?.setEncoding('utf8');
  stream?.on('data', (text: string) => {
    const lines = `${rest}${text}`.split('\n');
    rest = (lines.pop() ?? '').slice(0, lineLimit);
    for (const line of lines) onLine(line);
  });
  stream?.on('end', () => {
    if (rest !== '') onLine(rest);
  });
}

/** The document of a `….ready` line, null for any other. */
function readyLine(line: string): JsonObject | null {
  if (!line.startsWith('{')) return null;
  try {
    const value = JSON.parse(line) as JsonObject;
    return typeof value['kind'] === 'string' && value['kind'].endsWith('.ready') ? value : null;
  } catch {
    return null;
  }
}
