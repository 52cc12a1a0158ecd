import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** `emp` as a child process, for tests of what a shell sees. */

const cliPath = fileURLToPath(new URL('../cli.ts', import.meta.url));

export interface CliEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export class CliRun {
  readonly child: ChildProcess;
  readonly ended: Promise<CliEnd>;
  stdout = '';
  stderr = '';

  /** Starts it; `env` is added to this process's, without the variables that would name another hub. */
  constructor(args: string[], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', cliPath, ...args], {
      env: { ...process.env, EMP_HUB: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const name of ['stdout', 'stderr'] as const) {
      this.child[name]?.setEncoding('utf8').on('data', (text: string) => {
        this[name] += text;
      });
    }
    this.ended = once(this.child, 'close').then(() => ({
      code: this.child.exitCode,
      signal: this.child.signalCode,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
  }

  /** The first line on stdout as JSON; rejects with what it said if it ends before. */
  firstLine<T>(): Promise<T> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const [line, ...rest] = this.stdout.split('\n');
        if (line !== undefined && rest.length > 0) resolve(JSON.parse(line) as T);
      };
      this.child.stdout?.on('data', check);
      void this.ended.then(({ stderr }) => reject(new Error(`it ended before its first line: ${stderr}`)));
      check();
    });
  }
}

/** One process of one moment: the kernel gives its number to others later, its start time tells them apart. */
export interface Pid {
  pid: number;
  startedAt: string;
}

/** State and start time of a process, from what follows its name in `/proc/PID/stat`; null where none has the number. */
function stat(pid: number): { state: string; startedAt: string } | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', startedAt: fields[19] ?? '' };
  } catch {
    return null;
  }
}

/** Whether a process runs; one that has ended but that nobody collected (a container without an init) does not. */
export function isAlive({ pid, startedAt }: Pid): boolean {
  const now = stat(pid);
  return now !== null && now.startedAt === startedAt && !['Z', 'X'].includes(now.state);
}

/** Resolves when none of the processes is left; the test's time limit is the only one. */
export async function allGone(processes: Pid[]): Promise<void> {
  while (processes.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** All descendants of a process, as the kernel lists them now. */
export function descendants(pid: number): Pid[] {
  let children: number[] = [];
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter((text) => text !== '')
      .map(Number);
  } catch {
    // It has ended in the meantime: no children.
  }
  return children.flatMap((child) => {
    const found = stat(child);
    return found === null ? [] : [{ pid: child, startedAt: found.startedAt }, ...descendants(child)];
  });
}
