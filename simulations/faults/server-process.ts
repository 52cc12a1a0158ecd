import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A server of a fault run that can be killed and started again on what it left behind. */
export interface ServerPost {
  readonly port: number;
  /** 0 while it does not run. */
  readonly pid: number;
  /** Starts it on its port and data; resolves when it is ready. */
  run(): Promise<void>;
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
  /** Ends it and removes what it wrote. */
  close(): Promise<void>;
}

/** A program that says in one line of its stdout that it is ready, such as a sentinel. */
export class ServerProcess implements ServerPost {
  readonly port: number;
  readonly #command: readonly [string, ...string[]];
  readonly #ready: string;
  readonly #remove: () => void;
  #child: ChildProcess | null = null;
  readonly #killWithUs = () => this.#child?.kill('SIGKILL');

  /** `ready` is part of the line; `remove` takes away the data at the close. */
  constructor(options: {
    port: number;
    command: readonly [string, ...string[]];
    ready: string;
    remove: () => void;
  }) {
    this.port = options.port;
    this.#command = options.command;
    this.#ready = options.ready;
    this.#remove = options.remove;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async run(): Promise<void> {
    const [program, ...args] = this.#command;
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    process.once('exit', this.#killWithUs);
    child.stderr.resume();
    const seen: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.includes(this.#ready)) {
        child.stdout.resume();
        return;
      }
      seen.push(line);
    }
    this.#child = null;
    throw new Error(`${program} ended before it was ready:\n${seen.slice(-5).join('\n')}`);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    process.off('exit', this.#killWithUs);
    if (child === null) return;
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }

  async close(): Promise<void> {
    await this.kill();
    this.#remove();
  }
}
