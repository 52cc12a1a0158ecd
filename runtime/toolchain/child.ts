import { spawn } from 'node:child_process';

export interface ChildOrder {
  command: string;
  args: string[];
  cwd: string;
  env?: NodeJS.ProcessEnv;
  /** How long it may run, ms; past it its whole process group is killed. */
  budgetMs: number;
}

export interface ChildEnd {
  /** Exit status; null where a signal ended it or it could not be started. */
  code: number | null;
  overran: boolean;
  elapsedMs: number;
}

/** Between the request to end and the kill, ms: time for a test runner to close its servers. */
const graceMs = 5_000;

/**
 * Runs a command with our stdout and stderr and no stdin, in a process group of its own. When it
 * ends, overruns, or we are told to stop, whatever is left in that group is killed: a test that
 * leaks a server must not disturb the next step.
 */
export async function runChild(order: ChildOrder): Promise<ChildEnd> {
  const startedMs = performance.now();
  const child = spawn(order.command, order.args, {
    cwd: order.cwd,
    env: { ...process.env, ...order.env },
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  });
  let overran = false;
  const stop = () => {
    signalGroup(child.pid, 'SIGTERM');
    setTimeout(() => signalGroup(child.pid, 'SIGKILL'), graceMs).unref();
  };
  const budget = setTimeout(() => {
    overran = true;
    stop();
  }, order.budgetMs);
  const forward = (signal: NodeJS.Signals) => {
    signalGroup(child.pid, 'SIGKILL');
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', forward).once('SIGTERM', forward);
  const code = await new Promise<number | null>((resolve) => {
    child.once('exit', resolve);
    child.once('error', (error) => {
      console.error(`${order.command} could not be started: ${error.message}`);
      resolve(null);
    });
  });
  clearTimeout(budget);
  process.off('SIGINT', forward).off('SIGTERM', forward);
  signalGroup(child.pid, 'SIGKILL');
  return { code, overran, elapsedMs: performance.now() - startedMs };
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // ESRCH: everybody in the group has ended, which is the usual case.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
