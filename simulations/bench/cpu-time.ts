import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** Ticks of the clock in which Linux counts the time of processes: 100 on every platform that Node runs on. */
const ticksPerSecond = 100;

/** Time that a process has computed since its start, ms: in steps of 10 where /proc tells, else of 1 000. */
export async function cpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (stat === null) return await psMs(pid);
  // The second field is the program's name in brackets, which may hold blanks.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / ticksPerSecond;
}

/** `[[days-]hours:]minutes:seconds`, with a fraction on some systems. */
async function psMs(pid: number): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'time=', '-p', String(pid)]);
  const [days = '0', clock = ''] = stdout.includes('-') ? stdout.trim().split('-') : ['0', stdout.trim()];
  const seconds = clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
  return (Number(days) * 86_400 + seconds) * 1_000;
}
